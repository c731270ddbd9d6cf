"""What a page says of a stage that is being executed: how far it is, and its learning curve so far."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any

from age_tasks.reports.html import duration
from age_tasks.reports.line_chart import LineChart, line_chart
from age_tasks.runs.live_status import LiveStatus, live_status, statuses_of_shares
from age_tasks.runs.run import StoredRun

STALE_SECONDS = 120  # a status that is older is of an attempt that was killed
LEAST_EPOCHS_SHOWN = 10


@dataclass(frozen=True)
class LiveSection:
    """The status of a stage for people.

    Args:
        stage: its name, or that of a task that shares the work before it, such as `features 2 of 4`.
        sentence: such as `Epoch 3 of at most 20, images: 512 of 4200, 950 per second, …`.
        fraction: of the counted items that are done, 0 to 1; None if nothing is counted.
        at: when the stage said so, ISO in UTC.
        curve: MAE in years by epoch; None before the first epoch has ended.
        epochs: a row per finished epoch, the newest first.
    """

    stage: str
    sentence: str
    fraction: float | None
    at: str
    curve: LineChart | None
    epochs: Sequence[dict[str, Any]]


def live_section(run: StoredRun, stage: str) -> LiveSection | None:
    """The section about a stage; None if the stage says nothing."""
    status = live_status(run.store, run.key, stage)
    return _section(stage, status) if status and not _is_stale(status) else None


def live_sections(run: StoredRun, work: str) -> list[LiveSection]:
    """The sections about the tasks that share the work before a stage, as far as they say anything."""
    found = statuses_of_shares(run.store, run.key, work)
    return [
        _section(f"{work} {number} of {of}", status) for (number, of), status in found.items() if not _is_stale(status)
    ]


def _is_stale(status: LiveStatus) -> bool:
    return (datetime.now(UTC) - datetime.fromisoformat(status.at)).total_seconds() > STALE_SECONDS


def _section(stage: str, status: LiveStatus) -> LiveSection:
    shown = min(status.most_epochs, max(LEAST_EPOCHS_SHOWN, len(status.epochs) + 1))
    curve = line_chart(
        {
            "validation MAE": [row.get("val_mae") for row in status.epochs],
            "train MAE": [row.get("mae") for row in status.epochs],
        },
        shown,
    )
    fraction = min(status.done / status.total, 1.0) if status.total else None
    return LiveSection(stage, _sentence(status), fraction, status.at, curve, status.epochs[::-1])


def _sentence(status: LiveStatus) -> str:
    parts = [f"{status.what}: {status.done} of {status.total}"] if status.what else []
    if status.epochs and not _in_epoch(status):
        parts = [f"epoch {len(status.epochs)} of at most {status.most_epochs} has ended"]
    elif status.per_second:
        parts.append(f"{status.per_second:.0f} per second")
    if status.note and (_in_epoch(status) or not status.most_epochs):
        parts.append(status.note)
    if (left := _seconds_left(status)) is not None:
        parts.append(f"{'at most ' if status.most_epochs else ''}{duration(left)} left")
    sentence = ", ".join([*filter(None, [status.part]), *parts]) or "at work"
    return f"{sentence[0].upper()}{sentence[1:]}"


def _in_epoch(status: LiveStatus) -> bool:
    """Whether the items that are counted are those of the epoch under way."""
    return status.what.startswith(f"epoch {len(status.epochs) + 1} ")


def _seconds_left(status: LiveStatus) -> float | None:
    """Until the items are counted, or, in a training, until its last possible epoch has ended."""
    if not status.most_epochs:
        return status.seconds_left
    in_epoch = _in_epoch(status)
    an_epoch: float | None = median(row["seconds"] for row in status.epochs) if status.epochs else None
    if an_epoch is None and in_epoch and status.per_second:
        an_epoch = status.total / status.per_second
    if an_epoch is None:
        return None
    to_come = status.most_epochs - len(status.epochs)
    if in_epoch and status.seconds_left is not None:
        return (to_come - 1) * an_epoch + status.seconds_left
    return to_come * an_epoch
