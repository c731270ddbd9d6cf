"""Notices as Airflow sends them."""

import asyncio
from types import SimpleNamespace
from typing import Any

from age_retraining_plugin.notices import deadline_alert, failure_notice
from airflow.sdk import DAG
from airflow.triggers.callback import CallbackTrigger

from age_tasks.environment import NoticeVariables

RUN = {"dag_id": "age_retraining", "dag_run_id": "manual__1", "state": "running"}
DEADLINE = {"deadline_time": "2026-11-23T15:00"}


def send_both() -> dict[str, Any]:
    """Send the notice of a failure as a worker does, and that of a late run as the triggerer does."""
    variables = NoticeVariables.from_env()
    task = SimpleNamespace(task_id="finetune", log_url="http://localhost:8080/dags/age_retraining/log")
    context = {
        "dag": DAG("age_retraining", schedule=None),
        "ti": task,
        "run_id": "manual__1",
        "exception": ValueError("<b>GPU</b> lost"),
    }
    failure_notice(variables)["on_failure_callback"](context)

    alert = deadline_alert(variables)
    assert alert is not None
    arguments = alert.callback.kwargs | {"context": {"dag_run": RUN, "deadline": DEADLINE}}

    async def trigger() -> list[Any]:
        return [event.payload async for event in CallbackTrigger(alert.callback.path, arguments).run()]

    return {"hours": alert.interval.total_seconds() / 3600, "events": asyncio.run(trigger())}


def send_none() -> list[Any]:
    """What a DAG gets where nobody is to be told."""
    variables = NoticeVariables.from_env()
    return [failure_notice(variables), deadline_alert(variables)]
