"""A line for each run: who started it and when, and what became of each stage; read in three requests as a rule.

    index/changes/<number>-<time>-<suffix>.json    a start or a record, never changed; written before what it announces,
                                                   and removed when it is old
    index/runs/…                                   packs of what all changes say

The records are the truth. A change whose writer died before it wrote the record announces what never came: what is
found here is believed only after a look at the record. A store without packs is read record by record.
"""

import contextlib
import hashlib
import json
import logging
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from age_tasks.errors import DamagedError, NotFoundError, StoreError
from age_tasks.runs.keys import RECORD, record_file, run_file
from age_tasks.runs.records import RunSettings, StageRecord, Summary
from age_tasks.store.base import Store
from age_tasks.store.compacted import read_all
from age_tasks.store.documents import Document
from age_tasks.store.packs import Found, Packs, only_logged

log = logging.getLogger(__name__)

CHANGES, INDEX = "index/changes/", "index/runs/"
# So many of the newest changes in a pack are listed again, see `store.compacted`.
LISTED_AGAIN = 100
# What lists of runs show of the stages' summaries; a dot leads into a part.
SHOWN = (
    "accepted",
    "approval",
    "candidate.value",
    "champion.name",
    "passed",
    "published",
    "verdict",
    "version",
)


class StageFacts(BaseModel):
    """What became of a stage.

    Args:
        finished: ISO time in UTC.
        error: the first line of it.
        settings: digest of what the stage read, see `settings_digest`.
        shown: the entries of its summary that lists of runs show, by a name of `SHOWN`.
        damaged: what can't be read of its record; the other fields are then empty.
    """

    model_config = ConfigDict(frozen=True)

    done: bool = False
    finished: str = ""
    error: str = ""
    settings: str = ""
    shown: dict[str, Any] = Field(default_factory=dict)
    damaged: str = ""


class RunFacts(BaseModel):
    """What is known of a run: `created` is ISO in UTC, empty with `who` if `run.json` is gone; `damaged` if it is."""

    model_config = ConfigDict(frozen=True)

    created: str = ""
    who: str = ""
    stages: dict[str, StageFacts] = Field(default_factory=dict)
    damaged: str = ""


class RunChange(Document):
    """A start, or a record of `stage`."""

    run: str
    created: str = ""
    who: str = ""
    stage: str = ""
    facts: StageFacts = StageFacts()


class RunPack(Document):
    """The facts of each run, and the keys of the newest changes in them, in order."""

    changes: tuple[str, ...]
    runs: dict[str, RunFacts]


@dataclass(frozen=True)
class _Reading:
    """The facts of each run, the keys of the newest changes in them in order, and the pack that most come from."""

    runs: dict[str, RunFacts]
    changes: tuple[str, ...]
    found: Found[RunPack]


def run_facts(store: Store) -> dict[str, RunFacts]:
    """What is known of each run, by its key."""
    return _read(store).runs


def announce_start(store: Store, run: str, settings: RunSettings) -> None:
    """Say that `run.json` will be written."""
    _announce(store, RunChange(run=run, created=settings.created, who=settings.who))


def announce_record(store: Store, record: StageRecord) -> None:
    """Say that this record will be written."""
    _announce(store, RunChange(run=record.run, stage=record.stage, facts=facts_of(record)))


def rebuild_index(store: Store) -> int:
    """Replace the index by one that is read from the records; returns the number of runs.

    No stage may run at the same time: what it announces and writes meanwhile could be missed.
    """
    changes = store.list(CHANGES)
    runs = _recorded(store)
    _packs(store).replace(RunPack(changes=(), runs=runs))
    for key in changes:
        store.delete(key)
    return len(runs)


def facts_of(record: StageRecord) -> StageFacts:
    """What lists and look-ups of runs need of a record."""
    return StageFacts(
        done=record.done,
        finished=record.finished,
        error=(record.error or "").partition("\n")[0],
        settings=settings_digest(record.settings),
        shown={name: value for name in SHOWN if (value := _entry(record.summary, name)) is not None},
    )


def settings_digest(settings: Mapping[str, Any]) -> str:
    """What identifies the settings that a stage read, 16 hex digits; 1 and 1.0 are one setting."""
    plain = json.loads(json.dumps(settings), parse_float=lambda text: _plain(float(text)))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def _plain(number: float) -> float | int:
    return int(number) if number.is_integer() else number


def _entry(summary: Summary, name: str) -> Any:
    value: Any = summary
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _announce(store: Store, change: RunChange) -> None:
    before = _read(store)
    last = re.match(r"[0-9]{1,12}(?=-)", before.changes[-1].removeprefix(CHANGES)) if before.changes else None
    number = int(last[0]) + 1 if last else 1
    key = f"{CHANGES}{number:08d}-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}-{secrets.token_hex(4)}.json"
    store.put(key, change.to_bytes())
    changes = tuple(sorted([*before.changes, key]))
    with only_logged():
        pack = RunPack(changes=changes[-LISTED_AGAIN:], runs=_with(before.runs, [change]))
        _packs(store).put(pack, before.found)
        for old in changes[:-LISTED_AGAIN]:  # in every pack for long
            store.delete(old)


def _packs(store: Store) -> Packs[RunPack]:
    return Packs(store, INDEX, RunPack)


def _read(store: Store) -> _Reading:
    found = _packs(store).newest()
    pack = found.pack
    if pack is None:  # the changes first: a record that is written after they are listed is announced in one of them
        listed = store.list(CHANGES)[-LISTED_AGAIN:]
        runs, new = _recorded(store), listed
    else:
        known = pack.changes
        listed = store.list(CHANGES, after=known[0] if len(known) == LISTED_AGAIN else "")
        runs, new = pack.runs, [key for key in listed if key not in known]
        listed = sorted({*known, *listed})
    changes = read_all(new, partial(_change, store))
    if pack and None in changes.values():
        runs = _recorded(store)
    readable = [change for change in changes.values() if change]
    return _Reading(_with(runs, readable), tuple(listed), found)


def _change(store: Store, key: str) -> RunChange | None:
    """The change with this key; None if it can't be read, or was removed meanwhile."""
    with contextlib.suppress(NotFoundError):
        content = store.get(key)
        try:
            return RunChange.parse(content, store.where(key))
        except StoreError as error:
            log.warning("%s; the records are read in its place", error)
    return None


def _with(runs: Mapping[str, RunFacts], changes: Iterable[RunChange]) -> dict[str, RunFacts]:
    """The facts after these changes."""
    now = dict(runs)
    for change in changes:
        before = now.get(change.run, RunFacts())
        if change.stage:
            update: dict[str, Any] = {"stages": before.stages | {change.stage: change.facts}}
        else:
            update = {"created": change.created, "who": change.who, "damaged": ""}
        now[change.run] = before.model_copy(update=update)
    return now


def _recorded(store: Store) -> dict[str, RunFacts]:
    """The facts of each run, read from every record."""
    stages: dict[str, list[str]] = {}
    started: set[str] = set()
    for key in store.list("runs/"):
        _, run, *rest = key.split("/")
        if key == run_file(run):
            started.add(run)
        elif rest[1:] == [RECORD]:
            stages.setdefault(run, []).append(rest[0])
    settings = read_all(started, partial(_settings_facts, store))
    records = read_all(
        [record_file(run, stage) for run, names in stages.items() for stage in names], partial(_record_facts, store)
    )
    return {
        run: settings.get(run, RunFacts()).model_copy(
            update={"stages": {stage: records[record_file(run, stage)] for stage in stages.get(run, ())}}
        )
        for run in sorted(started | stages.keys())
    }


def _settings_facts(store: Store, run: str) -> RunFacts:
    key = run_file(run)
    try:
        settings = RunSettings.parse(store.get(key), store.where(key))
    except NotFoundError:  # removed since it was listed
        return RunFacts()
    except DamagedError as error:
        return RunFacts(damaged=str(error))
    return RunFacts(created=settings.created, who=settings.who)


def _record_facts(store: Store, key: str) -> StageFacts:
    try:
        return facts_of(StageRecord.parse(store.get(key), store.where(key)))
    except NotFoundError:  # the stage is executed again since it was listed
        return StageFacts()
    except DamagedError as error:
        return StageFacts(damaged=str(error))
