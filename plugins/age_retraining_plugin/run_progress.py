"""What the pages of a run say while, and when, a page that somebody asked for is not there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from age_retraining_plugin.run_state import RunState, TaskState
from age_tasks.runs.records import StageRecord


@dataclass(frozen=True)
class Step:
    """A stage in the table of a run: its state in words, `good`, `bad`, `warning` or empty, and a remark."""

    stage: str
    state: str
    mood: str
    seconds: float | None = None
    remark: str = ""


@dataclass(frozen=True)
class Progress:
    """The state of a run in one sentence, and of each stage.

    Args:
        headline: such as `Failed in snapshot.`.
        text: the reason, or what happens next.
        mood: `bad`, `warning` or `good`.
        goes_on: whether the page changes by itself, and should be loaded again.
    """

    headline: str
    text: str
    mood: str
    goes_on: bool
    steps: tuple[Step, ...]


def progress(
    wanted: str, comes_with: str, stages: Sequence[str], records: Mapping[str, StageRecord], state: RunState | None
) -> Progress:
    """Describe a run that has no such page.

    Args:
        wanted: the page, such as `model report`.
        comes_with: the stage that writes it.
        records: by stage, of those that have one.
        state: in Airflow; None for a run that was started elsewhere.
    """
    headline, text, mood, goes_on = _verdict(wanted, comes_with, stages, records, state)
    steps = tuple(step(stage, records.get(stage), _task(state, stage)) for stage in stages)
    return Progress(headline, text, mood, goes_on, steps)


def step(stage: str, record: StageRecord | None, task: TaskState | None) -> Step:
    """A stage's row: what its record says, or, while it has none or runs again, what Airflow says."""
    if task and (record is None or task.active or task.retrying):
        moods = {"failed": "bad", "upstream_failed": "warning", "skipped": "warning", "up_for_retry": "bad"}
        return Step(stage, task.in_words, moods.get(task.state, ""), remark=task.reason)
    if record is None:
        return Step(stage, "not finished", "")
    if not record.done:
        return Step(stage, "failed", "bad", record.seconds, first_line(record.error or ""))
    if record.reused_from:
        remark = f"from run {record.reused_from}: same inputs, settings and code"
        return Step(stage, "reused", "good", remark=remark)
    return Step(stage, "done", "good", record.seconds)


def first_line(text: str) -> str:
    """The first line of an error, without the mark that lists follow."""
    return text.strip().partition("\n")[0]


def _task(state: RunState | None, stage: str) -> TaskState | None:
    return state.tasks.get(stage) if state else None


def _verdict(
    wanted: str, comes_with: str, stages: Sequence[str], records: Mapping[str, StageRecord], state: RunState | None
) -> tuple[str, str, str, bool]:
    failed = next((record for record in records.values() if not record.done), None)
    again = state is not None and not state.over
    if failed and not (again and (task := _task(state, failed.stage)) and (task.active or task.retrying)):
        return f"Stage {failed.stage} failed.", failed.error or "", "bad", again
    if state and (stopped := state.stopped_by):
        return (*_stopped(stopped), not state.over)
    if state and state.over:
        text = f"The run has ended, and the store has no {wanted}: it was removed, or a task was marked by hand."
        return f"There is no {wanted}.", text, "warning", False
    done = sum(record.done for record in records.values())
    so_far = f"{done} of {len(stages)} stages have finished" if records else "No stage of this run has finished"
    return "", f"{so_far}{_now(state)}. The {wanted} is written by the stage {comes_with}.", "warning", True


def _stopped(task: TaskState) -> tuple[str, str, str]:
    if task.state == "skipped":
        text = task.reason or "The task's events in Airflow say by whom, or by which task."
        return f"Skipped by {task.task}.", text, "warning"
    return f"Failed in {task.task}.", task.reason or "The task's log in Airflow says why.", "bad"


def _now(state: RunState | None) -> str:
    """What Airflow does at the moment, to follow `2 of 8 stages have finished`."""
    if state is None:
        return ""
    if at_work := [task for task in state.tasks.values() if task.active or task.retrying]:
        task = at_work[0]
        reason = f": {task.reason}" if task.reason else ""
        return f"; {task.task} is {task.in_words}{reason}"
    return f"; the run is {state.state}"
