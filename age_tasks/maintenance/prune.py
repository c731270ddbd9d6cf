"""What is no longer needed: old runs, versions that were never promoted, and what killed writers left behind."""

import contextlib
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from age_tasks.errors import SettingsError
from age_tasks.pipeline import PIPELINE
from age_tasks.registry.promotions import history
from age_tasks.runs.keys import run_of_latest
from age_tasks.runs.listing import Records, runs_in
from age_tasks.runs.records import ResultPointer
from age_tasks.store.base import TEMPORARY, Entry, Store

A_DAY = 86_400  # seconds


def superfluous(store: Store, keep: int) -> dict[str, list[Entry]]:
    """The objects that may go, by the run or version that they belong to.

    What stays: every version that the promotion log names and the run that made it, the newest `keep` runs, the runs
    whose results those reuse, and the newest deals, on which later ones build.

    Args:
        keep: number of runs.

    Raises:
        SettingsError: fewer than one run is to be kept.
    """
    if keep < 1:
        raise SettingsError(f"--keep {keep}: at least the newest run has to stay")
    promotions, (created, records) = history(store), runs_in(store)
    needed = set(sorted(created, key=created.__getitem__)[-keep:])
    needed |= {entry.run for entry in promotions if entry.run} | set(_remembered(records))
    needed |= {record.reused_from for key in needed for record in records.get(key, {}).values()} - {None}
    named = {entry.version for entry in promotions}
    found: dict[str, list[Entry]] = {}
    for entry in store.entries():
        run, version = _belongs(store, entry)
        if version and version not in named and version.rpartition("-")[0] not in needed:
            found.setdefault(f"version {version}", []).append(entry)
        elif run and run not in needed:
            found.setdefault(f"run {run}", []).append(entry)
    return found


def delete(store: Store, found: dict[str, list[Entry]]) -> None:
    """Remove what `superfluous` found; records and manifests first, so that nothing is left that looks whole."""
    for entries in found.values():
        for entry in sorted(entries, key=lambda entry: not entry.key.endswith(".json")):
            store.delete(entry.key)


def half_written(folders: Iterable[Path]) -> dict[Path, int]:
    """The temporary files that nobody has written to for a day, and their sizes in bytes: their writers were killed.

    A bucket has none: an object is there whole or not at all.
    """
    found, long_ago = {}, time.time() - A_DAY
    for path in (path for folder in folders for path in folder.rglob(f"{TEMPORARY}*")):
        with contextlib.suppress(FileNotFoundError):  # its writer has finished
            facts = path.stat()
            if facts.st_mtime < long_ago:
                found[path] = facts.st_size
    return found


def _remembered(records: Records) -> Iterator[str]:
    """The runs with the newest results that the next ones build on, for each choice of settings."""
    for stage in (name for name, each in PIPELINE.items() if each.needs.follows_previous):
        newest: dict[str, tuple[str, str]] = {}
        for run, stages in records.items():
            record = stages.get(stage)
            if record and record.done:
                settings = json.dumps(record.settings, sort_keys=True)
                newest[settings] = max(newest.get(settings, ("", "")), (record.finished, run))
        yield from (run for _, run in newest.values())


def _belongs(store: Store, entry: Entry) -> tuple[str, str]:
    """The run and the version that an object is part of, each empty if it is part of none."""
    match entry.key.split("/"):
        case ["runs", run, *_]:
            return run, ""
        case ["reports", name]:
            return name.removesuffix(".html"), ""
        case ["results", _, _]:
            return ResultPointer.parse(store.get(entry.key), store.where(entry.key)).run, ""
        case ["latest", _, _]:
            return run_of_latest(entry.key), ""
        case ["registry", "versions", version, *_]:
            return "", version
    return "", ""
