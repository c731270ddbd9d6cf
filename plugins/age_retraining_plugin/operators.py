"""Airflow tasks that are command lines of `age_tasks`, and nothing of what those do."""

import ast
import json
import os
import shlex
import sys
from functools import cached_property
from pathlib import Path
from typing import Any

from airflow.providers.standard.hooks.subprocess import SubprocessHook, SubprocessResult
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from age_retraining_plugin.form import SETTINGS
from age_tasks.errors import LabelsError, MissingInputError, SettingsError, TooFewNewError, WeightsError

PROJECT = Path(__file__).resolve().parents[2]
TRYING_AGAIN_IS_NO_USE = frozenset(
    error.exit_code for error in (SettingsError, LabelsError, MissingInputError, WeightsError)
)
# `airflow tasks test` makes up a run that never was; the stage then takes the newest run that has its inputs.
BY_HAND = "run_id.startswith('__airflow_temporary_run_')"
RUN = f"{{{{ '' if {BY_HAND} else run_id }}}}"
AGAIN = f"{{{{ 'true' if params.again or {BY_HAND} else 'false' }}}}"
WHO = "{{ dag_run.triggering_user_name or 'Airflow, by schedule' }}"
# What people type into the trigger form travels by environment, never through a shell line.
FORM = {
    "AGE_RECIPE": "{{ params.recipe }}",
    "AGE_SET": SETTINGS,
    "AGE_LABELS": "{{ params.labels or '' }}",
    "AGE_IMAGES": "{{ params.images or '' }}",
}


class RememberingHook(SubprocessHook):
    """A subprocess whose exit code and last line of output can still be asked for when it has ended."""

    result = SubprocessResult(exit_code=0, output="")

    def run_command(self, *arguments: Any, **options: Any) -> SubprocessResult:
        self.result = super().run_command(*arguments, **options)
        return self.result


class CommandOperator(BashOperator):
    """`python -m age_tasks <command>` in a process of its own; its exit code says how the task ends.

    Too few new labels skip it and what follows, the reason being its XCom; what trying again can't help fails at once.

    Args:
        command: may name variables of `env` as "$NAME", which no shell takes apart.
    """

    ui_color = "#dcebf0"

    def __init__(self, *, command: str, env: dict[str, str], **options: Any):
        super().__init__(
            bash_command=f"exec {shlex.quote(sys.executable)} -m age_tasks {command}",
            cwd=str(PROJECT),
            env={"AGE_WHO": WHO, **env},
            append_env=True,
            skip_on_exit_code=TooFewNewError.exit_code,
            **options,
        )

    @cached_property
    def subprocess_hook(self) -> RememberingHook:
        return RememberingHook()

    def execute(self, context: Context) -> Any:
        try:
            return super().execute(context)
        except AirflowSkipException:
            reason = self.subprocess_hook.result.output
            context["ti"].xcom_push(key="return_value", value={"skipped": reason})
            raise AirflowSkipException(reason) from None
        except AirflowException:
            if self.subprocess_hook.result.exit_code in TRYING_AGAIN_IS_NO_USE:
                raise AirflowFailException(
                    f"{self.task_id} can't succeed by trying again; the lines above say what to correct"
                ) from None
            raise


def stage_task(
    stage: str, *, from_form: bool = False, env: dict[str, str] | None = None, **options: Any
) -> CommandOperator:
    """The task of a stage, in the runtime that `AGE_RUNTIME` names; its XCom is its last line of output, a summary.

    Args:
        from_form: pass on what the trigger form holds; later stages read it from the run.
        env: further variables of the stage.
        options: of the operator, such as `retries`.

    Raises:
        AirflowException: an unknown runtime.
    """
    runtime = os.environ.get("AGE_RUNTIME") or "local"
    if runtime != "local":
        raise AirflowException(f"AGE_RUNTIME={runtime}: the one runtime there is, is 'local'")
    form = FORM if from_form else {"AGE_RECIPE": "", "AGE_SET": ""}
    env, documentation = {"AGE_RUN": RUN, "AGE_AGAIN": AGAIN, **form, **(env or {})}, _documentation(stage)
    return CommandOperator(
        task_id=stage, command=stage, env=env, output_processor=json.loads, doc_md=documentation, **options
    )


def _documentation(stage: str) -> str | None:
    """The stage's own description, read without importing it."""
    return ast.get_docstring(ast.parse((PROJECT / "age_tasks" / "stages" / f"{stage}.py").read_text()))
