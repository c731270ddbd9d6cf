"""Removing what is no longer needed: old runs, versions never promoted, temporary files of killed processes."""

import contextlib
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from age_tasks.data.exchanged_probes import PROBES, VERSION
from age_tasks.errors import SettingsError
from age_tasks.maintenance.reindex import reindex
from age_tasks.pipeline import PIPELINE
from age_tasks.registry.labels_acceptance import ACCEPTED, acceptance_folder
from age_tasks.registry.promotions import history
from age_tasks.runs.listing import Records, runs_in
from age_tasks.runs.records import ResultPointer, StageRecord
from age_tasks.store.base import TEMPORARY, Entry, Store
from age_tasks.training.remote_shards import FEATURES, incomplete_objects

STALE_SECONDS = 86_400
UNUSED_SECONDS = 30 * 86_400  # after which local copies of images can go


def prunable(store: Store, keep: int) -> dict[str, list[Entry]]:
    """The objects that can be removed, by the run or version that they belong to.

    Kept are every version in the promotion log and the run that made it, the newest `keep` runs, the runs whose results
    those reuse, and the newest split assignments, which later runs extend; and who accepted the labels of a kept run.

    Args:
        keep: number of runs.

    Raises:
        SettingsError: fewer than one run is to be kept.
    """
    if keep < 1:
        raise SettingsError(f"--keep {keep}: at least the newest run must be kept; give 1 or more")
    promotions, (created, records) = history(store), runs_in(store)
    needed = set(sorted(created, key=created.__getitem__)[-keep:])
    needed |= {entry.run for entry in promotions if entry.run} | set(_runs_extended(records))
    needed |= {record.reused_from for key in needed for record in records.get(key, {}).values() if record.reused_from}
    named = {entry.version for entry in promotions}
    labels = {key: _labels_of(stages) for key, stages in records.items()}
    accepted = {folder for key, folder in labels.items() if key in needed}
    found: dict[str, list[Entry]] = {}
    for entry in store.entries():
        run, version = _owner(store, entry)
        if version and version not in named and version.rpartition("-")[0] not in needed:
            found.setdefault(f"version {version}", []).append(entry)
        elif run and run not in needed:
            found.setdefault(f"run {run}", []).append(entry)
        elif entry.key.startswith(ACCEPTED) and f"{entry.key.rpartition('/')[0]}/" not in accepted:
            found.setdefault("acceptances of labels", []).append(entry)
    return found


def delete(store: Store, found: dict[str, list[Entry]]) -> None:
    """Remove what `prunable` found, and build the index of the rest.

    Records and manifests go first: an interruption leaves nothing that looks complete.
    """
    for entries in found.values():
        for entry in sorted(entries, key=lambda entry: not entry.key.endswith(".json")):
            store.delete(entry.key)
    reindex(store)


def unneeded_in_remote_cache(remote: Store) -> Iterator[Entry]:
    """Objects of the exchange between caches that nothing reads: incomplete features, and probes of other versions.

    Features that are being written just now are among them; if these are removed, they are computed again.
    """
    incomplete = set(incomplete_objects(remote))
    yield from (entry for entry in remote.entries(FEATURES) if entry.key in incomplete)
    yield from (entry for entry in remote.entries(PROBES) if not entry.key.startswith(VERSION))


def stale_temporaries(folders: Iterable[Path]) -> dict[Path, int]:
    """Temporary files that have not been written to for a day, with their sizes in bytes: their writers were killed.

    A bucket has none, as an object appears only when it is complete.
    """
    found, stale_before = {}, time.time() - STALE_SECONDS
    for path in (path for folder in folders for path in folder.rglob(f"{TEMPORARY}*")):
        with contextlib.suppress(FileNotFoundError):  # renamed by its writer
            status = path.stat()
            if status.st_mtime < stale_before:
                found[path] = status.st_size
    return found


def _runs_extended(records: Records) -> Iterator[str]:
    """The newest runs of each stage that continues its previous result, one for each choice of settings."""
    for stage in (name for name, each in PIPELINE.items() if each.needs.follows_previous):
        newest: dict[str, tuple[str, str]] = {}
        for run, stages in records.items():
            record = stages.get(stage)
            if record and record.done:
                settings = json.dumps(record.settings, sort_keys=True)
                newest[settings] = max(newest.get(settings, ("", "")), (record.finished, run))
        yield from (run for _, run in newest.values())


def _labels_of(records: dict[str, StageRecord]) -> str:
    """The folder of the acceptances of a run's labels; empty if it has no snapshot."""
    labels = records["snapshot"].outputs.get("labels.csv") if "snapshot" in records else None
    return acceptance_folder(labels.sha256) if labels else ""


def _owner(store: Store, entry: Entry) -> tuple[str, str]:
    """The run and the version that an object is part of, each empty if it is part of none."""
    match entry.key.split("/"):
        case ["runs", run, *_]:
            return run, ""
        case ["reports", name]:
            return name.removesuffix(".html"), ""
        case ["results", _, _]:
            return ResultPointer.parse(store.get(entry.key), store.where(entry.key)).run, ""
        case ["registry", "versions", version, *_]:
            return "", version
    return "", ""
