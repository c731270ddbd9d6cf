"""The asset `age_labels`: a run starts when the labels file changes.

Airflow stores the class path and the arguments of the trigger: keep both.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from functools import cached_property
from typing import Any, cast

from airflow.sdk import Asset, AssetOrTimeSchedule, AssetWatcher, CronTriggerTimetable
from airflow.sdk.execution_time.context import AssetStateStoreAccessors
from airflow.triggers.base import BaseEventTrigger, TriggerEvent
from croniter import croniter

from age_tasks.data.labels_file import content_sha256, labels_object, last_snapshot
from age_tasks.environment import (
    Locations,
    RuntimeVariables,
    WorkflowVariables,
    absolute_place,
    absolute_places,
)
from age_tasks.errors import SettingsError
from age_tasks.store import open_store
from age_tasks.store.base import Entry, Store

ONCE_MORE_SECONDS = 600.0
LONGEST_ONCE_MORE_SECONDS = 3600.0
LONGEST_PAUSE_SECONDS = 20.0  # while the labels can't be read; new ones are then noticed within half a minute
FIRED = "fired"


def labels_asset(env: Mapping[str, str] | None = None) -> Asset | None:
    """The labels file that `AGE_LABELS` names, as an asset with its watcher; None if the variable is not set.

    Raises:
        SettingsError: a variable is invalid.
    """
    given = os.environ if env is None else env
    if RuntimeVariables.from_env(given).runtime == "docker":
        given = {**given, **absolute_places(given)}  # a snapshot is recorded under the path that a stage is given
    locations, variables = Locations.from_env(given), WorkflowVariables.from_env(given)
    if not locations.labels:
        return None
    trigger = NewLabelsTrigger(
        labels=absolute_place(locations.labels),
        store=absolute_place(locations.store),
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
    # The first run is at the next time, however short ago the last one was.
    return CronTriggerTimetable(cron, timezone="UTC", run_immediately=timedelta(0))


class NewLabelsTrigger(BaseEventTrigger):
    """Fires when the labels file differs from the last snapshot, and has not changed for `settle_seconds`.

    Airflow drops events while the DAG is paused or busy. So the event is repeated, at growing intervals, until the
    store has a snapshot of that content. Labels that turn out to be invalid are not fired again, since a run has taken
    a snapshot of them.

    Args:
        labels: the address of the labels file.
        store: the address of the store, where snapshots are recorded.
        poll_seconds: seconds between two looks at the file.
        settle_seconds: seconds without a change after which the file counts as complete.
        once_more_seconds: the shortest interval between two events for the same content; it doubles each time.
    """

    def __init__(
        self,
        labels: str,
        store: str,
        poll_seconds: float,
        settle_seconds: float,
        once_more_seconds: float = ONCE_MORE_SECONDS,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.labels, self.store = labels, store
        self.poll_seconds, self.settle_seconds = poll_seconds, settle_seconds
        self.once_more_seconds = once_more_seconds
        self._seen: Entry | None = None
        self._seen_since = 0.0
        self._content: str | None = None  # the digest of the file that was seen, once it has settled
        self._fired: dict[str, Any] | None = None  # the last event; None until Airflow's copy was read

    def serialize(self) -> tuple[str, dict[str, Any]]:
        given = ("labels", "store", "poll_seconds", "settle_seconds", "once_more_seconds")
        return f"{__name__}.{type(self).__name__}", {name: getattr(self, name) for name in given}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        pause, last_error = self.poll_seconds, ""
        while True:
            try:
                if content := await self._to_fire():
                    yield TriggerEvent({"labels": self.labels, "sha256": content})
                    await self._remember(content)
                pause, last_error = self._next_look(), ""
            except Exception as error:  # Airflow restarts a trigger that failed, every second
                pause = max(self.poll_seconds, min(2 * pause, LONGEST_PAUSE_SECONDS))
                if str(error) != last_error:
                    last_error = str(error)
                    self.log.warning("can't read the labels, trying again: %s: %s", type(error).__name__, last_error)
            await asyncio.sleep(pause)

    @cached_property
    def _file(self) -> tuple[Store, str]:
        return labels_object(self.labels)

    @cached_property
    def _store(self) -> Store:
        return open_store(self.store)

    async def _to_fire(self) -> str | None:
        """The sha256 of the labels if they have settled, have no snapshot yet, and an event for them is due."""
        fired = await self._last_event()  # at once, not when labels arrive: Airflow's first answer may take seconds
        self._content = await asyncio.to_thread(self._settled)
        if self._content in (None, await asyncio.to_thread(self._last_snapshot)):
            return None
        if (self.labels, self._content) != (fired.get("labels"), fired.get("sha256")):
            return self._content
        return None if 0 <= time.time() - fired["at"] < fired["once_more_after"] else self._content

    async def _last_event(self) -> dict[str, Any]:
        """What `_remember` wrote last, before a restart of Airflow too; empty if it never did."""
        if self._fired is None:
            self._fired = cast(dict[str, Any], await self._state.aget(FIRED, default={}))
        return self._fired

    async def _remember(self, content: str) -> None:
        fired, wait = await self._last_event(), self.once_more_seconds
        if content == fired.get("sha256"):
            wait = min(2 * fired["once_more_after"], LONGEST_ONCE_MORE_SECONDS)
        self._fired = {"labels": self.labels, "sha256": content, "at": time.time(), "once_more_after": wait}
        await self._state.aset(FIRED, self._fired)

    @property
    def _state(self) -> AssetStateStoreAccessors:
        if self.asset_state_store is None:
            raise RuntimeError("Airflow gave the trigger no state store")
        return self.asset_state_store

    def _settled(self) -> str | None:
        """The sha256 of the labels file, None while it changes; it is read only if its size or tag changed."""
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

    def _last_snapshot(self) -> str | None:
        return last_snapshot(self._store, self.labels)

    def _next_look(self) -> float:
        """Seconds until the next look, which comes earlier if the file will have settled by then."""
        settling = self._seen_since + self.settle_seconds - time.monotonic()
        return min(self.poll_seconds, settling) if settling > 0 else self.poll_seconds
