"""Runs of DAGs and tasks inside of this process, without a scheduler."""

import itertools
import json
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.api_fastapi.app import create_app, get_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.cli.cli_parser import get_parser
from airflow.dag_processing.dagbag import DagBag
from airflow.jobs.job import Job
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.asset import AssetEvent
from airflow.models.xcom import XComModel
from airflow.sdk import DAG
from airflow.utils.session import create_session
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from age_tasks.environment import PROJECT


def run_dag(
    dag_id: str, conf: dict[str, Any], retry_seconds: float | None = None, finished: str | None = None
) -> dict[str, Any]:
    """Run a DAG now, as `airflow dags test` does.

    Args:
        dag_id: its name.
        conf: what the form says.
        retry_seconds: the pause before a retry, in place of that of the tasks.
        finished: a pattern of the tasks that are not executed, and count as done.

    Returns:
        The state of the run, the states of its tasks, what they return (of each a list: a task may have several
        instances), and the events of assets, each a name and what it says.
    """
    dag = _dag(dag_id)
    for task in dag.tasks if retry_seconds is not None else []:
        task.retry_delay = timedelta(seconds=retry_seconds)
    return _outcome(dag.test(run_conf=conf, mark_success_pattern=finished))


def execute_tasks(dag_id: str, tasks: list[str]) -> None:
    """Execute single tasks as `airflow tasks test` does, on a date that no run of the database has."""
    for task in tasks:
        arguments = get_parser().parse_args(["tasks", "test", dag_id, task, "2027-01-01"])
        arguments.func(arguments)


def run_with_answers(scenarios: dict[str, Any], finished: str) -> dict[str, Any]:
    """Run `age_retraining` once per scenario, a day each, while a person answers through the API.

    Args:
        scenarios: name → what the form says, and the answer: an option and a comment, or None for no answer.
        finished: a pattern of the tasks that count as done.

    Returns:
        Per scenario what `run_dag` returns, and the `body` of the question.
    """
    dag, asker = _dag("age_retraining"), Person("ann")
    found = {}
    for day, (name, (conf, answer)) in enumerate(scenarios.items(), start=1):
        date, stop = datetime(2026, 1, day, tzinfo=UTC), threading.Event()
        run_id = f"manual__{date.isoformat()}"
        thread = threading.Thread(target=asker.respond, args=(run_id, answer, stop))
        thread.start()
        try:
            run = dag.test(logical_date=date, run_after=date, run_conf=conf, mark_success_pattern=finished)
        finally:
            stop.set()
            thread.join()
        found[name] = _outcome(run) | {"body": asker.asked.get(run_id)}
    return found


class Person:
    """Somebody who answers questions of the task `approve` through Airflow's API."""

    def __init__(self, name: str):
        self.asked: dict[str, str] = {}  # by run
        self._client = TestClient(create_app(apps="core"))
        token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=name, role="admin"))
        self._client.headers["Authorization"] = f"Bearer {token}"
        self._scheduler = SchedulerJobRunner(Job())

    def respond(self, run_id: str, answer: list[str] | None, stop: threading.Event) -> None:
        """Wait for the question and answer it, or wait until the time for an answer is up."""
        task = f"/api/v2/dags/age_retraining/dagRuns/{run_id}/taskInstances/approve"
        while not stop.wait(0.3):
            if self._client.get(task).json().get("state") != "awaiting_input":
                continue
            self.asked[run_id] = self._client.get(f"{task}/-1/hitlDetails").json()["body"]
            if answer is None:
                self._scheduler.check_awaiting_input_timeouts()
                continue
            given = {"chosen_options": [answer[0]], "params_input": {"comment": answer[1]}}
            response = self._client.patch(f"{task}/-1/hitlDetails", json=given)
            assert response.status_code == 200, response.text
            return


def _dag(dag_id: str) -> DAG:
    """The DAG, parsed anew: its form reads the environment."""
    bag = DagBag(str(PROJECT / "dags"))
    assert not bag.import_errors, bag.import_errors
    return bag.dags[dag_id]


def _outcome(run: Any) -> dict[str, Any]:
    with create_session() as session:
        events = session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == run.run_id)).all()
        return {
            "state": str(run.state),
            "tasks": {task.task_id: str(task.state) for task in run.get_task_instances(session=session)},
            "results": {
                task: [json.loads(json.dumps(each.value)) for each in found]
                for task, found in itertools.groupby(_results(session, run), key=lambda each: each.task_id)
            },
            "events": [[event.asset.name, json.loads(json.dumps(event.extra))] for event in events],
        }


def _results(session: Session, run: Any) -> Sequence[XComModel]:
    """What the tasks of a run return, by task and index."""
    of_run = (XComModel.dag_id == run.dag_id, XComModel.run_id == run.run_id, XComModel.key == "return_value")
    return session.scalars(select(XComModel).where(*of_run).order_by(XComModel.task_id, XComModel.map_index)).all()
