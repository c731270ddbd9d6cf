"""The tasks of the retraining: each is a command line of `age_tasks`, in the runtime that `AGE_RUNTIME` names."""

import ast
import json
from datetime import timedelta
from importlib.resources import files
from typing import Any

from airflow.sdk import BaseOperator

from age_retraining_plugin.form import FORM_ENV
from age_retraining_plugin.runtimes.process import CommandOperator
from age_retraining_plugin.trigger_conf import refuse_invalid
from age_tasks.environment import RuntimeVariables
from age_tasks.pipeline import PIPELINE

# Stages that compute with the network take turns: the pool has as many slots as there are GPUs for them. Where Airflow
# has workers, those that serve the queue of this name execute them.
GPU_POOL = GPU_QUEUE = "gpu"
# `airflow tasks test` invents a run; the stage then takes the newest run that has its inputs.
_BY_HAND = "run_id.startswith('__airflow_temporary_run_')"
_RUN = f"{{{{ '' if {_BY_HAND} else run_id }}}}"
_AGAIN = f"{{{{ 'true' if params.again or {_BY_HAND} else 'false' }}}}"
WHO_ENV = {"AGE_WHO": "{{ dag_run.triggering_user_name or 'Airflow, by schedule' }}"}
# Every task reads and writes the store, which may be away; what can't pass fails at once, by its exit code.
RETRIED: dict[str, Any] = {"retries": 4, "retry_delay": timedelta(seconds=30), "retry_exponential_backoff": True}
LOG_ENV = {"AGE_LOG_TIMES": "false"}  # Airflow's log has its own
# Later stages read from the run what the form said to the first one.
_NO_FORM_ENV = {"AGE_RECIPE": "", "AGE_SET": ""}


def stage_task(
    stage: str, *, from_form: bool = False, env: dict[str, str] | None = None, **options: Any
) -> BaseOperator:
    """The task of a stage; its XCom is the last line that the stage prints, its summary.

    All stages run in the same runtime, also those that need no GPU: one image then holds all that shapes a result, in
    one version, and Airflow's own environment holds none of it.

    Args:
        stage: its name.
        from_form: pass on what the trigger form holds.
        env: further variables of the stage; templated.
        options: of the operator, such as `retries`.

    Raises:
        SettingsError: a variable is invalid.
    """
    form = FORM_ENV if from_form else _NO_FORM_ENV
    env = {"AGE_RUN": _RUN, "AGE_AGAIN": _AGAIN, **WHO_ENV, **form, **(env or {})}
    options |= {"pre_execute": refuse_invalid} if from_form else {}
    return command_task(stage, gpu=PIPELINE[stage].gpu, env=env, doc_md=_documentation(stage), **options)


def command_task(command: str, *, gpu: bool, env: dict[str, str], **options: Any) -> BaseOperator:
    """A task that runs a command of `age_tasks` in the runtime that `AGE_RUNTIME` names.

    Args:
        command: its name, which is the task's too; the last line that it prints is a JSON object, the XCom.
        gpu: whether it computes with the network.
        env: variables of the command; templated.
        options: of the operator, such as `retries`.

    Raises:
        SettingsError: a variable is invalid.
    """
    variables = RuntimeVariables.from_env()
    env = {**LOG_ENV, **env}
    options |= {"task_id": command, **({"pool": GPU_POOL} if gpu else {})}
    if variables.runtime == "docker":
        from age_retraining_plugin.runtimes.docker import DockerStage

        return DockerStage(stage=command, env=env, variables=variables, gpu=gpu, **options)
    if variables.runtime == "kubernetes":
        from age_retraining_plugin.runtimes.kubernetes import KubernetesStage

        return KubernetesStage(stage=command, env=env, variables=variables, gpu=gpu, **options)
    queue = {"queue": GPU_QUEUE} if gpu else {}
    return CommandOperator(command=command, env=env, parse=json.loads, **queue, **options)


def task_table() -> str:
    """The tasks of the retraining in their order, as a Markdown table: what each does, and what to do if it fails."""
    rows = {name: (stage.does, stage.when_it_fails) for name, stage in PIPELINE.items()}
    publish = rows.pop("publish")
    rows |= {"approve": ("asks a person, if the form requires it and the gate passed", ""), "publish": publish}
    lines = [f"| {name} | {does} | {when_it_fails} |" for name, (does, when_it_fails) in rows.items()]
    return "\n".join(["| task | what it does | when it fails |", "|---|---|---|", *lines])


def _documentation(stage: str) -> str | None:
    """The docstring of the stage's module, read without importing it."""
    return ast.get_docstring(ast.parse(files("age_tasks").joinpath("stages", f"{stage}.py").read_text()))
