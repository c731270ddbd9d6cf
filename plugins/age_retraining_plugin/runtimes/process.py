"""A command in a process of its own, beside Airflow."""

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, ClassVar

from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import BaseOperator, Context

from age_retraining_plugin.runtimes.outcome import CommandFailedError, Outcome
from age_tasks.environment import working_folder


class _CommandInProcess(BaseOperator):
    """Runs the command; `Outcome` is not yet in it."""

    template_fields: Sequence[str] = ("env",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"env": "json"}
    ui_color = "#dcebf0"

    def __init__(
        self,
        *,
        command: str,
        env: dict[str, str] | None = None,
        parse: Callable[[str], Any] = str,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.command = command
        self.env = env or {}
        self.parse = parse

    @property
    def command_line(self) -> str:
        """What bash executes."""
        return f"exec {shlex.quote(sys.executable)} -m age_tasks {self.command}"

    @cached_property
    def hook(self) -> SubprocessHook:
        """Airflow's hook: it logs what the process prints, and ends the whole process group."""
        return SubprocessHook()

    def execute(self, context: Context) -> Any:
        result = self.hook.run_command(
            ["bash", "-c", self.command_line], env={**os.environ, **self.env}, cwd=str(working_folder())
        )
        if result.exit_code:
            raise CommandFailedError(
                result.exit_code, f"the command ended with exit code {result.exit_code}:\n{result.output}"
            )
        return self.parse(result.output)

    def on_kill(self) -> None:
        """End the process when Airflow ends the task."""
        self.hook.send_sigterm()


class CommandOperator(Outcome, _CommandInProcess):
    """`python -m age_tasks <command>` in a process of its own.

    Args:
        command: a sub-command and its options. It may name variables of `env` as "$NAME": what people type into a form
            travels by the environment, never as text of a shell line.
        env: variables of the process, beside those of the worker; templated.
        parse: makes the XCom of the last line of output.
        options: of the operator, such as `retries`.
    """
