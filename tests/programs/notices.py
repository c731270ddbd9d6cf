"""Notices as Airflow sends them."""

import asyncio
from types import SimpleNamespace
from typing import Any

from age_retraining_plugin.notices import (
    deadline_alert,
    tell_error_in_use,
    tell_failure,
    tell_gate,
    tell_published,
    tell_rolled_back,
)
from age_retraining_plugin.runtimes.outcome import TaskFailedForGood
from airflow.sdk import DAG
from airflow.triggers.callback import CallbackTrigger

from age_tasks.environment import NoticeVariables

RUN = {"dag_id": "age_retraining", "dag_run_id": "manual__1", "state": "running"}
DEADLINE = {"deadline_time": "2026-11-23T15:00"}
LOG = "http://localhost:8080/dags/age_retraining/log"


def fail(task: str, error: str | None, for_good: bool = False) -> None:
    """What a worker calls when a task has failed finally; without an error, what the DAG processor calls."""
    context = _context(task, {})
    if error is not None:
        context["exception"] = TaskFailedForGood(error) if for_good else ValueError(error)
    tell_failure(context)


def judge(judged: dict[str, Any]) -> None:
    """What a worker calls when `gate` has succeeded."""
    tell_gate(_context("gate", {"gate": judged}))


def publish(published: dict[str, Any], judged: dict[str, Any]) -> None:
    """What a worker calls when `publish` has succeeded."""
    tell_published(_context("publish", {"publish": published, "gate": judged}))


def evaluate(evaluated: dict[str, Any]) -> None:
    """What a worker calls when `evaluate` has succeeded."""
    tell_error_in_use(_context("evaluate", {"evaluate": evaluated}))


def roll_back(said: str, reason: str) -> None:
    """What a worker calls when `rollback` has succeeded."""
    tell_rolled_back(_context("rollback", {"rollback": said}, reason=reason))


def be_late() -> dict[str, Any]:
    """What the triggerer does when a deadline has passed."""
    alert = deadline_alert(NoticeVariables.from_env())
    assert alert is not None
    arguments = (alert.callback.kwargs or {}) | {"context": {"dag_run": RUN, "deadline": DEADLINE}}

    async def trigger() -> list[Any]:
        return [event.payload async for event in CallbackTrigger(alert.callback.path, arguments).run()]

    return {"hours": alert.interval.total_seconds() / 3600, "events": asyncio.run(trigger())}


def has_deadline() -> bool:
    """Whether the DAG gets one."""
    return deadline_alert(NoticeVariables.from_env()) is not None


def _context(task: str, results: dict[str, Any], **params: Any) -> Any:
    instance = SimpleNamespace(task_id=task, log_url=LOG, xcom_pull=lambda task_ids: results.get(task_ids))
    return {"dag": DAG("age_retraining", schedule=None), "ti": instance, "run_id": "manual__1", "params": params}
