"""Airflow tasks that are command lines of `age_tasks`, and nothing of what those do."""

import ast
import json
import shlex
import sys
from functools import cached_property
from typing import Any

from airflow.providers.standard.hooks.subprocess import SubprocessHook, SubprocessResult
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from age_retraining_plugin.form import SETTINGS
from age_retraining_plugin.stage_metrics import send_numbers
from age_tasks.environment import PROJECT, RuntimeVariables, working_folder
from age_tasks.errors import LabelsError, MissingInputError, SettingsError, TooFewNewError, WeightsError

TRYING_AGAIN_IS_NO_USE = frozenset(
    error.exit_code for error in (SettingsError, LabelsError, MissingInputError, WeightsError)
)
SKIPPED_ON = TRYING_AGAIN_IS_NO_USE | {TooFewNewError.exit_code}
# The stages that compute with the network take turns: the pool has as many slots as there are GPUs for them.
ON_THE_GPU = frozenset({"baseline", "finetune", "evaluate"})
GPU_POOL = "gpu"
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


class Outcome:
    """What becomes of a command, the same in every runtime; its operator skips on the exit codes of `SKIPPED_ON`.

    Too few new labels skip the task and what follows, the reason being its XCom; what trying again can't help fails at
    once.
    """

    def execute(self, context: Context) -> Any:
        try:
            summary = super().execute(context)
        except AirflowSkipException as error:
            if f"exit code {TooFewNewError.exit_code}" in str(error):
                reason = self.last_line(error)
                context["ti"].xcom_push(key="return_value", value={"skipped": reason})
                raise AirflowSkipException(reason) from None
            raise AirflowFailException(
                f"{self.task_id} can't succeed by trying again: {str(error).removesuffix(' Skipping.')}\n"
                "The lines above say what to correct."
            ) from None
        send_numbers(self.task_id, summary)
        return summary

    def last_line(self, error: AirflowSkipException) -> str:
        """The last that the command said, as the runtime's error tells it."""
        return str(error).splitlines()[-1]


class RememberingHook(SubprocessHook):
    """A subprocess whose last line of output can still be asked for when it has ended."""

    result = SubprocessResult(exit_code=0, output="")

    def run_command(self, *arguments: Any, **options: Any) -> SubprocessResult:
        self.result = super().run_command(*arguments, **options)
        return self.result


class CommandOperator(Outcome, BashOperator):
    """`python -m age_tasks <command>` in a process of its own.

    Args:
        command: may name variables of `env` as "$NAME", which no shell takes apart.
    """

    ui_color = "#dcebf0"

    def __init__(self, *, command: str, env: dict[str, str], **options: Any) -> None:
        super().__init__(
            bash_command=f"exec {shlex.quote(sys.executable)} -m age_tasks {command}",
            cwd=str(working_folder()),
            env={"AGE_WHO": WHO, **env},
            append_env=True,
            skip_on_exit_code=SKIPPED_ON,
            **options,
        )

    @cached_property
    def subprocess_hook(self) -> RememberingHook:
        return RememberingHook()

    def last_line(self, error: AirflowSkipException) -> str:
        return self.subprocess_hook.result.output


def stage_task(
    stage: str, *, from_form: bool = False, env: dict[str, str] | None = None, **options: Any
) -> BaseOperator:
    """The task of a stage, in the runtime that `AGE_RUNTIME` names; its XCom is its last line of output, a summary.

    All stages run there, also those that need no GPU: one image then holds all that shapes a result, at one version,
    and Airflow's own environment none of it.

    Args:
        from_form: pass on what the trigger form holds; later stages read it from the run.
        env: further variables of the stage.
        options: of the operator, such as `retries`.

    Raises:
        SettingsError: a variable that can't be.
    """
    settings, gpu = RuntimeVariables.from_env(), stage in ON_THE_GPU
    form = FORM if from_form else {"AGE_RECIPE": "", "AGE_SET": ""}
    env = {"AGE_RUN": RUN, "AGE_AGAIN": AGAIN, **form, **(env or {})}
    options |= {"task_id": stage, "doc_md": _documentation(stage), **({"pool": GPU_POOL} if gpu else {})}
    if settings.runtime == "docker":
        from age_retraining_plugin.runtimes.docker import DockerStage

        return DockerStage(stage=stage, env={"AGE_WHO": WHO, **env}, settings=settings, gpu=gpu, **options)
    if settings.runtime == "kubernetes":
        from age_retraining_plugin.runtimes.kubernetes import KubernetesStage

        return KubernetesStage(stage=stage, env={"AGE_WHO": WHO, **env}, settings=settings, gpu=gpu, **options)
    return CommandOperator(command=stage, env=env, output_processor=json.loads, **options)


def _documentation(stage: str) -> str | None:
    """The stage's own description, read without importing it."""
    return ast.get_docstring(ast.parse((PROJECT / "age_tasks" / "stages" / f"{stage}.py").read_text()))
