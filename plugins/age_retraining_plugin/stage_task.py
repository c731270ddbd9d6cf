"""The tasks of the retraining: each is a command line of `age_tasks`, in the runtime that `AGE_RUNTIME` names."""

import ast
from datetime import timedelta
from importlib.resources import files
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.mappedoperator import MappedOperator

from age_retraining_plugin.form import FORM_ENV
from age_retraining_plugin.runtimes.outcome import NO_USELESS_RETRY
from age_retraining_plugin.runtimes.process import CommandOperator
from age_retraining_plugin.trigger_conf import refuse_invalid
from age_tasks.environment import RuntimeVariables
from age_tasks.pipeline import PIPELINE, SHARED_WORK, tasks_in_order
from age_tasks.runs.printed_summary import read_summary_line

# Stages that compute with the network take turns: the pool has as many slots as there are GPUs for them. Where Airflow
# has workers, those that serve the queue of this name execute them.
GPU_POOL = GPU_QUEUE = "gpu"
PROBED = SHARED_WORK["probe"].before
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
    if stage == PROBED and RuntimeVariables.from_env().workers > 1:
        env["AGE_AGAIN"] = "false"  # the tasks before it have read every image again
    options |= {"pre_execute": refuse_invalid} if from_form else {}
    return command_task(stage, gpu=PIPELINE[stage].gpu, env=env, doc_md=_documentation(stage), **options)


def shared_work(name: str, *, from_form: bool = False, **options: Any) -> list[MappedOperator]:
    """One task for each worker that does a share of a stage's work before it; none where `AGE_WORKERS` is 1.

    The tasks differ in `AGE_SHARE` alone, may be executed anywhere in any order, and are repeated one by one.

    Args:
        name: of the work, see `SHARED_WORK`.
        from_form: pass on what the trigger form holds.
        options: of the operator, such as `retries`.

    Raises:
        SettingsError: a variable is invalid.
    """
    workers, work = RuntimeVariables.from_env().workers, SHARED_WORK[name]
    if workers == 1:
        return []
    form = FORM_ENV if from_form else _NO_FORM_ENV
    env = {**LOG_ENV, "AGE_RUN": _RUN, "AGE_AGAIN": _AGAIN, **form}
    options |= {"pre_execute": refuse_invalid} if from_form else {}
    # Airflow takes the policy of mapped tasks from here, not from the operator's constructor.
    options |= {"retry_policy": NO_USELESS_RETRY, "map_index_template": f"{{{{ ti.map_index + 1 }}}}/{workers}"}
    operator, arguments = _operator(name, work.gpu)
    tasks = operator.partial(doc_md=_documentation(name), **arguments, **options)
    return [tasks.expand(env=[{**env, "AGE_SHARE": f"{number}/{workers}"} for number in range(1, workers + 1)])]


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
    operator, arguments = _operator(command, gpu)
    return operator(env={**LOG_ENV, **env}, **arguments, **options)


def _operator(command: str, gpu: bool) -> tuple[type[BaseOperator], dict[str, Any]]:
    """The operator of the runtime that `AGE_RUNTIME` names, and its arguments for a command but the environment."""
    variables = RuntimeVariables.from_env()
    common: dict[str, Any] = {"task_id": command, **({"pool": GPU_POOL} if gpu else {})}
    in_container = common | {"stage": command, "variables": variables, "gpu": gpu}
    if variables.runtime == "docker":
        from age_retraining_plugin.runtimes.docker import DockerStage

        return DockerStage, in_container
    if variables.runtime == "kubernetes":
        from age_retraining_plugin.runtimes.kubernetes import KubernetesStage

        return KubernetesStage, in_container
    queue = {"queue": GPU_QUEUE} if gpu else {}
    return CommandOperator, common | {"command": command, "parse": read_summary_line, **queue}


def task_table() -> str:
    """The tasks of the retraining in their order, as a Markdown table: what each does, and what to do if it fails."""
    rows = {name: (stage.does, stage.when_it_fails) for name, stage in PIPELINE.items()}
    if RuntimeVariables.from_env().workers > 1:
        rows |= {name: (work.does, work.when_it_fails) for name, work in SHARED_WORK.items()}
    rows["approve"] = ("asks a person, if the form requires it and the gate passed", "")
    lines = [f"| {name} | {' | '.join(rows[name])} |" for name in tasks_in_order() if name in rows]
    return "\n".join(["| task | what it does | when it fails |", "|---|---|---|", *lines])


def _documentation(stage: str) -> str | None:
    """The docstring of the stage's module, read without importing it."""
    return ast.get_docstring(ast.parse(files("age_tasks").joinpath("stages", f"{stage}.py").read_text()))
