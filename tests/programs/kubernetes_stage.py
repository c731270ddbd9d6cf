"""Execute a stage's pod with a shell script as its command: `python -m tests.programs.kubernetes_stage SCRIPT`.

The result is JSON: the `summary`, or the `error` and its `text`.
"""

import json
import sys
from types import SimpleNamespace
from typing import Any

from age_retraining_plugin.runtimes.kubernetes import SUMMARY_FILE, KubernetesStage
from age_retraining_plugin.runtimes.outcome import TaskFailed
from airflow.sdk import DAG

from age_tasks.environment import RuntimeVariables

RUN_ID = "manual__2026-11-22T10:15:00+00:00"
RUNNING: list[KubernetesStage] = []


def execute(script: str, stage: str = "snapshot", state: dict[str, Any] | None = None) -> dict[str, Any]:
    """What became of the stage, and its XComs; what the script prints on standard output is the summary.

    Args:
        script: of a shell.
        stage: the task.
        state: what Airflow remembers of earlier tries.
    """
    variables, pushed = RuntimeVariables.from_env(), {}
    with DAG("age_retraining", schedule=None) as dag:
        task = KubernetesStage(stage=stage, task_id=stage, env={"SHOWN": "yes"}, gpu=False, variables=variables)
    ti = SimpleNamespace(
        dag_id=dag.dag_id,
        task_id=stage,
        map_index=-1,
        try_number=1,
        xcom_push=lambda key, value: pushed.update({key: value}),
    )
    context: Any = {"dag": dag, "run_id": RUN_ID, "ti": ti}
    if state is not None:
        context["task_state_store"] = SimpleNamespace(get=state.get, set=state.__setitem__)
    task = task.prepare_for_execution()
    task.render_template_fields(context)
    task.arguments = [f"exec > {SUMMARY_FILE}; {script}"]
    task.allow_nested_operators = True
    RUNNING.append(task)
    try:
        found: dict[str, Any] = {"summary": task.execute(context)}
    except (Exception, TaskFailed) as error:
        found = {"error": type(error).__name__, "text": str(error)}
    return found | {"pushed": pushed}


if __name__ == "__main__":
    print(json.dumps(execute(sys.argv[1])))
