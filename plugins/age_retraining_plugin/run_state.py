"""What Airflow knows of a run: the state of each task, and why one failed or was skipped.

A stage that failed before it could write its record, or was skipped, has nothing in the store. The reason is then in
Airflow's database, or in the task's log only.
"""

import logging
import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.models.xcom import XComModel
from airflow.utils.log.log_reader import TaskLogReader
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState, TaskInstanceState
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

log = logging.getLogger(__name__)

LAST_LINES = 200  # of a log; the cause is among its last
AROUND_THE_CAUSE = re.compile(r"the command ended with exit code .*|A retry of \w+ can't help\.")
OVER = frozenset({DagRunState.SUCCESS, DagRunState.FAILED})
LOGGED = frozenset({TaskInstanceState.FAILED, TaskInstanceState.UP_FOR_RETRY, TaskInstanceState.SKIPPED})
ACTIVE = frozenset({"scheduled", "queued", "running", "restarting", "deferred", "awaiting_input"})
# Of a task that is several instances, the state of one says more than those before it say.
SAYS_MORE = ("success", "", *sorted(ACTIVE - {"running"}), "running", "upstream_failed", "up_for_retry", "failed")
IN_WORDS: dict[str, str] = {
    TaskInstanceState.UP_FOR_RETRY: "waiting to retry",
    TaskInstanceState.UP_FOR_RESCHEDULE: "waiting",
    TaskInstanceState.UPSTREAM_FAILED: "not run, since an earlier task failed",
    TaskInstanceState.AWAITING_INPUT: "waiting for a person",
    TaskInstanceState.DEFERRED: "running",
}


@dataclass(frozen=True)
class TaskState:
    """A task of a run.

    Args:
        task: its name.
        state: Airflow's word, such as `running`; empty before the task is scheduled.
        attempt: the number of the present or last attempt, from 1; 0 before the first.
        attempts: how many there may be.
        reason: why it failed or was skipped; empty if that is not known.
        result: its XCom, of plain JSON types; None if it has none.
    """

    task: str
    state: str
    attempt: int = 0
    attempts: int = 1
    reason: str = ""
    result: Any = None

    @property
    def in_words(self) -> str:
        """The state for people."""
        words = IN_WORDS.get(self.state, self.state.replace("_", " ")) or "not started"
        return f"{words}, attempt {self.attempt} of {self.attempts}" if self.retrying else words

    @property
    def active(self) -> bool:
        """Whether it runs or is about to, or waits for a person."""
        return self.state in ACTIVE

    @property
    def retrying(self) -> bool:
        """Whether an attempt has failed, and another follows or is under way."""
        return self.state == TaskInstanceState.UP_FOR_RETRY or (self.state == "running" and self.attempt > 1)


@dataclass(frozen=True)
class RunState:
    """A run of a DAG, and its tasks by name."""

    state: str
    tasks: dict[str, TaskState]

    @property
    def over(self) -> bool:
        """Whether nothing of it will change by itself."""
        return self.state in OVER

    @property
    def stopped_by(self) -> TaskState | None:
        """The first task that failed for good or was skipped; None while there is none."""
        ends = {TaskInstanceState.FAILED, TaskInstanceState.SKIPPED}
        stopped = [task for task in self.tasks.values() if task.state in ends]
        return next((task for task in stopped if task.reason), next(iter(stopped), None))


def run_state(dag_id: str, run_id: str, order: Iterable[str], logs: bool = True) -> RunState | None:
    """The state of a run in Airflow; None if Airflow has no such run.

    Args:
        order: the tasks in the order of the DAG; others follow.
        logs: whether the reader may see the logs of tasks, which say why one failed.
    """
    with create_session(scoped=False) as session:
        run = session.scalar(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
        if run is None:
            return None
        instances = sorted(session.scalars(_instances(dag_id, run_id)), key=_tells)
        found = {each.task_id: each for each in instances}
        results = _results(session, dag_id, run_id)
        names = [name for name in order if name in found]
        names += sorted(found.keys() - set(names))
        tasks = {name: (each := found[name], results.get((name, each.map_index))) for name in names}
        return RunState(str(run.state), {name: _task(*each, logs) for name, each in tasks.items()})


def _tells(instance: TaskInstance) -> int:
    """How much the state of one of several instances says of them all."""
    state = str(instance.state or "")
    return SAYS_MORE.index(state) if state in SAYS_MORE else -1


def _instances(dag_id: str, run_id: str) -> Any:
    """The query for the task instances of a run, with what a reader of logs needs."""
    return (
        select(TaskInstance)
        .where(TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id)
        .options(
            joinedload(TaskInstance.dag_run),
            joinedload(TaskInstance.dag_model),
            joinedload(TaskInstance.trigger).joinedload(Trigger.triggerer_job),
        )
    )


def _results(session: Session, dag_id: str, run_id: str) -> dict[tuple[str, int], Any]:
    """The XCom of each task instance that has one, by the task and the index among its instances."""
    rows = session.execute(
        select(XComModel.task_id, XComModel.map_index, XComModel.value).where(
            XComModel.dag_id == dag_id, XComModel.run_id == run_id, XComModel.key == "return_value"
        )
    )
    return {(task, index): value for task, index, value in rows.tuples()}


def _task(task: TaskInstance, result: Any, logs: bool) -> TaskState:
    reason = ""
    if task.state == TaskInstanceState.SKIPPED:
        reason = str(result.get("skipped", "")) if isinstance(result, dict) else ""
    if task.state in LOGGED and logs and task.try_number and not reason:
        reason = _reason_in_log(task)
    attempts = (task.max_tries or 0) + 1
    return TaskState(task.task_id, str(task.state or ""), task.try_number or 0, attempts, reason, result)


def _reason_in_log(task: TaskInstance) -> str:
    """The last reason in the log of the last attempt; empty if there is no log or it can't be read."""
    try:
        messages, _ = TaskLogReader().read_log_chunks(task, task.try_number, {"end_of_log": False})
        last = [message.model_dump() for message in deque(messages, LAST_LINES)]
    except Exception as error:  # of any log store that an Airflow may be configured with
        log.warning("the log of %s in run %s can't be read: %s", task.task_id, task.run_id, error)
        return ""
    return next(filter(None, map(_reason_in, reversed(last))), "")


def _reason_in(message: dict[str, Any]) -> str:
    """The last line of an error that says what is wrong, or why a task skipped itself; empty for another message."""
    if message["event"] == "Skipping task.":
        return str(message.get("reason", ""))
    if message.get("level") not in {"error", "critical"}:
        return ""
    details = message.get("error_detail") or [{}]
    exited = message.get("exit_code") if message["event"] == "Task exited" else None  # what `SystemExit` was given
    text = str(details[0].get("exc_value") or message.get("error") or exited or message["event"])
    lines = [line.strip() for line in text.splitlines()]
    return next((line for line in reversed(lines) if line and not AROUND_THE_CAUSE.fullmatch(line)), "")
