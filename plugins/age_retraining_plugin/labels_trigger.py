"""The asset `age_labels`: new labels start a run, by themselves."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from airflow.sdk import Asset, AssetOrTimeSchedule, AssetWatcher, CronTriggerTimetable
from airflow.triggers.base import BaseEventTrigger, TriggerEvent
from croniter import croniter

from age_tasks.data.labels_file import content_sha256, labels_object, last_snapshot
from age_tasks.environment import Locations, WorkflowVariables, working_folder
from age_tasks.errors import SettingsError
from age_tasks.store import open_store
from age_tasks.store.base import Entry, Store

ONCE_MORE_SECONDS = 600.0
LONGEST_ONCE_MORE_SECONDS = 3600.0
LONGEST_PAUSE_SECONDS = 20.0  # while the labels can't be read: what arrives then is still noticed within half a minute
FIRED = "fired"


def labels_asset(env: Mapping[str, str] | None = None) -> Asset | None:
    """The labels file that `AGE_LABELS` names, with its watcher; None where it names none.

    Raises:
        SettingsError: a variable is invalid.
    """
    locations, variables = Locations.from_env(env), WorkflowVariables.from_env(env)
    if not locations.labels:
        return None
    trigger = NewLabelsTrigger(
        labels=_absolute(locations.labels),
        store=_absolute(locations.store),
        poll_seconds=variables.labels_poll_seconds,
        settle_seconds=variables.settle_seconds,
    )
    return Asset("age_labels", watchers=[AssetWatcher(name="new_labels", trigger=trigger)])


def labels_schedule(labels: Asset | None, cron: str) -> Any:
    """When a DAG starts without a person: when the labels change, and at the times of `cron`.

    Args:
        labels: the asset of the labels file, if there is one.
        cron: the value of `AGE_SCHEDULE`: a cron expression in UTC, or `none`.

    Raises:
        SettingsError: neither.
    """
    timetable = None if cron.lower() == "none" else _timetable(cron)
    if labels and timetable:
        return AssetOrTimeSchedule(timetable=timetable, assets=[labels])
    return [labels] if labels else timetable


def _timetable(cron: str) -> CronTriggerTimetable:
    try:
        croniter(cron).get_next()  # fails also for a date that never comes
    except (ValueError, KeyError):
        raise SettingsError(
            f"AGE_SCHEDULE={cron!r} is invalid: expected a cron expression such as '0 3 * * 1' (Mondays, 03:00 UTC), "
            "or 'none'"
        ) from None
    return CronTriggerTimetable(cron, timezone="UTC")


class NewLabelsTrigger(BaseEventTrigger):
    """Fires when the labels file has a content that no run has taken up, once it has been left alone for a while.

    An event that Airflow drops (the DAG is paused, or busy) is fired once more, ever more rarely, until a snapshot of
    that content is in the store. So labels that turn out to be broken are not fired again: a run has seen them.

    Args:
        labels: the file's address.
        store: the address of the store, where snapshots are noted.
        poll_seconds: how often to look.
        settle_seconds: for how long the file must stay as it is before it counts as written to its end.
        once_more_seconds: the least time between two events for the same content; it doubles with each.
    """

    def __init__(
        self,
        labels: str,
        store: str,
        poll_seconds: float,
        settle_seconds: float,
        once_more_seconds: float = ONCE_MORE_SECONDS,
    ) -> None:
        super().__init__()
        self.labels, self.store = labels, store
        self.poll_seconds, self.settle_seconds = poll_seconds, settle_seconds
        self.once_more_seconds = once_more_seconds
        self._seen: Entry | None = None
        self._seen_since = 0.0
        self._content: str | None = None  # of what is seen, once it has settled
        self._fired: dict | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        given = ("labels", "store", "poll_seconds", "settle_seconds", "once_more_seconds")
        return f"{__name__}.{type(self).__name__}", {name: getattr(self, name) for name in given}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        pause, said = self.poll_seconds, ""
        while True:
            try:
                if content := await self._to_fire():
                    yield TriggerEvent({"labels": self.labels, "sha256": content})
                    await self._remember(content)
                pause, said = self._next_look(), ""
            except Exception as error:  # Airflow would start a trigger that fails again every second
                pause = max(self.poll_seconds, min(2 * pause, LONGEST_PAUSE_SECONDS))
                if str(error) != said:
                    said = str(error)
                    self.log.warning("can't look for new labels, going on: %s: %s", type(error).__name__, said)
            await asyncio.sleep(pause)

    @cached_property
    def _file(self) -> tuple[Store, str]:
        return labels_object(self.labels)

    @cached_property
    def _store(self) -> Store:
        return open_store(self.store)

    async def _to_fire(self) -> str | None:
        """The sha256 of the labels, if they have settled, no run has taken them up, and an event for them is due."""
        if self._fired is None:  # at once, not when labels arrive: Airflow's first answer may take many seconds
            self._fired = await self.asset_state_store.aget(FIRED, default={})
        self._content = await asyncio.to_thread(self._settled)
        if self._content in (None, await asyncio.to_thread(self._taken_up)):
            return None
        if (self.labels, self._content) != (self._fired.get("labels"), self._fired.get("sha256")):
            return self._content
        return None if 0 <= time.time() - self._fired["at"] < self._fired["once_more_after"] else self._content

    async def _remember(self, content: str) -> None:
        wait = self.once_more_seconds
        if content == self._fired.get("sha256"):
            wait = min(2 * self._fired["once_more_after"], LONGEST_ONCE_MORE_SECONDS)
        self._fired = {"labels": self.labels, "sha256": content, "at": time.time(), "once_more_after": wait}
        await self.asset_state_store.aset(FIRED, self._fired)

    def _settled(self) -> str | None:
        """The sha256 of the labels file; None while it is being written. Read only when its size or tag changes."""
        folder, name = self._file
        seen = folder.entry(name)
        if seen != self._seen:
            self._seen, self._seen_since, self._content = seen, time.monotonic(), None
        if self._content:
            return self._content
        if time.monotonic() < self._seen_since + self.settle_seconds:
            return None
        content = content_sha256(folder.get(name))
        return content if folder.entry(name) == seen else None

    def _taken_up(self) -> str | None:
        return last_snapshot(self._store, self.labels)

    def _next_look(self) -> float:
        """Seconds to it; it comes sooner where the file will have settled by then."""
        settling = self._seen_since + self.settle_seconds - time.monotonic()
        return min(self.poll_seconds, settling) if settling > 0 else self.poll_seconds


def _absolute(location: str) -> str:
    """A relative path as tasks see it: they run in the working folder."""
    return location if "://" in location else str(working_folder() / Path(location).expanduser())
