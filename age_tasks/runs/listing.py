"""Which runs the store holds, and which is the newest."""

import heapq
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from age_tasks.runs.keys import RECORD, latest_folder, run_file, run_of_latest
from age_tasks.runs.records import RunSettings, StageRecord
from age_tasks.runs.run import Workspace, record_of
from age_tasks.store.base import Store

Settings = dict[str, dict[str, Any]]  # by section
Records = dict[str, dict[str, StageRecord]]  # by run key, by stage


def newest_run(
    store: Store, stages: Sequence[str], besides: str | None = None, settings: Settings | None = None
) -> str | None:
    """The key of the run in which all of `stages` succeeded, the last of them most recently; None if there is none.

    Reads an index, and of it no more than the runs that are passed over; the records decide. Runs of versions that
    wrote no index are found by reading all records.

    Args:
        besides: a run to pass over.
        settings: what the stages must have read, section by section.
    """
    seen: set[str | None] = {besides}
    for key in chain(_indexed(store, stages), _recorded(store, stages)):
        if key in seen:
            continue
        seen.add(key)
        records = [record_of(store, key, stage) for stage in stages]
        if all(record and record.done and settings in (None, record.settings) for record in records):
            return key
    return None


def previous_run(run: Workspace, stage: str, settings: Settings | None = None) -> Workspace | None:
    """The newest other run in which `stage` succeeded, with these settings if any are given."""
    key = newest_run(run.store, [stage], besides=run.key, settings=settings)
    return run.other(key) if key else None


def runs_in(store: Store) -> tuple[dict[str, str], Records]:
    """When each run was started, as ISO time in UTC, and the records of its stages."""
    created: dict[str, str] = {}
    records: Records = {}
    for key in store.list("runs/"):
        _, run, *rest = key.split("/")
        created.setdefault(run, "")
        if key == run_file(run):
            created[run] = RunSettings.parse(store.get(key), store.where(key)).created
        elif rest[1:] == [RECORD]:
            records.setdefault(run, {})[rest[0]] = StageRecord.parse(store.get(key), store.where(key))
    return created, records


def _indexed(store: Store, stages: Sequence[str]) -> Iterator[str]:
    """The runs in which one of the stages succeeded, the newest success first; read as far as they are asked for."""
    successes = (
        (entry.key.removeprefix(latest_folder(stage)) for entry in store.entries(latest_folder(stage)))
        for stage in stages
    )
    return map(run_of_latest, heapq.merge(*successes))


def _recorded(store: Store, stages: Sequence[str]) -> Iterator[str]:
    """The runs in which all of the stages succeeded, the newest first, found by reading every record."""
    recorded: dict[str, set[str]] = {}
    for key in store.list("runs/"):
        parts = key.split("/")
        if len(parts) == 4 and parts[3] == RECORD:
            recorded.setdefault(parts[1], set()).add(parts[2])
    found = []
    for run, names in recorded.items():
        if names.issuperset(stages):
            records = [record for stage in stages if (record := record_of(store, run, stage))]
            found.append((max((record.finished for record in records), default=""), run))
    yield from (run for _, run in sorted(found, reverse=True))
