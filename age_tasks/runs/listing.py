"""Which runs the store holds, and which is the newest."""

import json
from collections.abc import Sequence

from age_tasks.runs.records import RECORD, Record
from age_tasks.runs.run import Run
from age_tasks.store.base import Store


def newest_run(
    store: Store, stages: Sequence[str], besides: str | None = None, settings: dict | None = None
) -> str | None:
    """The key of the run in which all of `stages` succeeded, the last of them most recently; None if there is none.

    Args:
        besides: a run to pass over.
        settings: what the stages must have read, section by section.
    """
    recorded: dict[str, set[str]] = {}
    for name in store.list("runs/"):
        parts = name.split("/")
        if len(parts) == 4 and parts[3] == RECORD:
            recorded.setdefault(parts[1], set()).add(parts[2])
    newest = None
    for key, names in recorded.items():
        if key == besides or not names.issuperset(stages):
            continue
        records = [json.loads(store.get(f"runs/{key}/{stage}/{RECORD}")) for stage in stages]
        if all(record["status"] == "done" and settings in (None, record["settings"]) for record in records):
            newest = max(newest or ("", ""), (max(record["finished"] for record in records), key))
    return newest[1] if newest else None


def previous_run(run: Run, stage: str, settings: dict | None = None) -> Run | None:
    """The newest other run in which `stage` succeeded, with these settings if any are given."""
    key = newest_run(run.store, [stage], besides=run.key, settings=settings)
    return Run(key, run.store, run.cache, run.scratch / "previous" / key) if key else None


Records = dict[str, dict[str, Record]]  # by run key, by stage


def runs_in(store: Store) -> tuple[dict[str, str], Records]:
    """When each run was started, and the records of its stages."""
    created: dict[str, str] = {}
    records: Records = {}
    for key in store.list("runs/"):
        _, run, *rest = key.split("/")
        created.setdefault(run, "")
        if rest == ["run.json"]:
            created[run] = json.loads(store.get(key))["created"]
        elif rest[1:] == [RECORD]:
            records.setdefault(run, {})[rest[0]] = json.loads(store.get(key))
    return created, records
