"""Print what Airflow reads in the folder `dags`, JSON: `python -m tests.programs.inspect_dags`."""

import json
import sys
import time
from types import SimpleNamespace
from typing import Any

from airflow.dag_processing.dagbag import DagBag

HEAVY = {"tensorflow", "keras", "pandas", "great_expectations", "matplotlib"}
REFUSED: dict[str, Any] = {
    "finetune.epochs": 0,
    "finetune.last_layers": 2.5,
    "model.image_size": 2000,
    "baseline.learning_rate": 0,
    "gate.policy": "worse",
    "gate.tolerance_years": "much",
    "recipe": "none",
    "approval_hours": 0,
}
ACCEPTED: list[tuple[str, Any]] = [("finetune.epochs", 1), ("finetune.epochs", None), ("gate.policy", None)]
FILLED_IN = {
    "recipe": "demo",
    "settings": {"finetune.epochs": 3, "split.seed": 7},
    "finetune.epochs": 5,
    "gate.policy": "not_worse",
    "finetune.seed": 7,
    "evaluate": {"seed": 8, "bootstrap_samples": None},
    "labels": "$(touch /tmp/x); 'l.csv'",
    "images": None,
}


class Answered:
    """A task instance that finds this XCom of the task `approve`."""

    def __init__(self, answer: object):
        self._answer = answer

    def xcom_pull(self, task_ids: str) -> object:
        return self._answer


def main() -> None:
    started = time.process_time()
    bag = DagBag("dags")
    parsing = time.process_time() - started
    heavy = sorted(HEAVY & set(sys.modules))
    dag = bag.dags["age_retraining"]
    params = dag.params.dump() | FILLED_IN

    def env(task_id: str, **context: Any) -> dict[str, str]:
        """The environment of a task as it is rendered."""
        task = dag.get_task(task_id).prepare_for_execution()
        plain = {"params": params, "run_id": "x", "dag": dag, "dag_run": SimpleNamespace(triggering_user_name=None)}
        task.render_template_fields(plain | context)
        return task.env

    def error_of(name: str, value: object) -> str | None:
        try:
            dag.params.get_param(name).resolve(value)
        except Exception as error:
            return type(error).__name__
        return None

    def approval(answer: object, required: bool) -> Any:
        given = params | {"require_approval": required}
        return json.loads(env("publish", params=given, ti=Answered(answer))["AGE_APPROVAL"])

    found = {
        "errors": {str(path): str(error) for path, error in bag.import_errors.items()},
        "parsing": parsing,
        "heavy": heavy,
        "order": [task.task_id for task in dag.topological_sort()],
        "edges": {task.task_id: sorted(task.downstream_task_ids) for task in dag.tasks},
        "retries": {task.task_id: task.retries for task in dag.tasks},
        "pools": {task.task_id: task.pool for task in dag.tasks},
        "docs": {task.task_id: task.doc_md for task in dag.tasks},
        "outlets": {task.task_id: [outlet.name for outlet in task.outlets] for task in dag.tasks if task.outlets},
        "fail_at_once": {task.task_id: task.retry_policy is not None for task in dag.tasks},
        "owners": sorted({task.owner for task in dag.tasks}),
        "tags": sorted(dag.tags),
        "doc": dag.doc_md,
        "active": dag.max_active_runs,
        "catchup": dag.catchup,
        "start": str(dag.start_date),
        "form": {name: dag.params.get_param(name).schema for name in dag.params},
        "defaults": dag.params.dump(),
        "copied": {task.task_id: [*task.params] for task in dag.tasks if task.params},
        "refused": {name: error_of(name, value) for name, value in REFUSED.items()},
        "accepted": [error_of(name, value) for name, value in ACCEPTED],
        "approvals": {
            "not asked": approval({"asked": False}, True),
            "no answer": approval(None, True),
            "not required": approval(None, False),
        },
        "shares": {task.task_id: task.expand_input.value["env"] for task in dag.tasks if task.is_mapped},
        "probed_again": env("snapshot", params=params | {"again": True})["AGE_AGAIN"],
        "env": env("snapshot", run_id="manual__2026"),
        "emptied": env("snapshot", params=params | {"labels": None, "images": ""}),
        "by_hand": env("snapshot", run_id="__airflow_temporary_run_2026__"),
        "command": dag.get_task("snapshot").command_line,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
