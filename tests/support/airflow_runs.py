"""Runs in Airflow's database that nothing ever executed."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

LOGS = "dag_id={dag}/run_id={run}/task_id={task}/attempt=1.log"


def add_run(
    run_id: str,
    state: str,
    tasks: Mapping[str, str | Sequence[str]],
    results: Mapping[str, Any] | None = None,
    dag: str = "age_retraining",
) -> None:
    """Put a run with these states of tasks into the database of this process; a result is the task's XCom.

    A task with several states has as many instances, and its result belongs to the first.
    """
    from airflow.models.dag import DagModel
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from airflow.serialization.definitions.baseoperator import SerializedBaseOperator
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunType

    now = datetime.now(UTC)
    with create_session(scoped=False) as session:
        if session.get(DagBundleModel, "tests") is None:
            session.add(DagBundleModel(name="tests"))
            session.flush()
        if session.get(DagModel, dag) is None:
            session.add(DagModel(dag_id=dag, bundle_name="tests"))
            session.flush()
        run = DagRun(dag, run_id, state=DagRunState(state), run_type=DagRunType.MANUAL, run_after=now)
        session.add(run)
        session.flush()
        for name, states in tasks.items():
            for index, each in [(-1, states)] if isinstance(states, str) else enumerate(states):
                instance = TaskInstance(SerializedBaseOperator(task_id=name), None, run_id, each, map_index=index)
                instance.dag_id, instance.try_number, instance.max_tries = dag, 1, 4
                session.add(instance)
        session.flush()
        for name, result in (results or {}).items():
            facts = {"dag_run_id": run.id, "dag_id": dag, "run_id": run_id, "key": "return_value", "value": result}
            index = -1 if isinstance(tasks[name], str) else 0
            session.add(XComModel(task_id=name, map_index=index, **facts))
