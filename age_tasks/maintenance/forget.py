"""Erasing one image from the store and the cache when a person asks for it.

An image is identified by its name in the labels and by its content: copies under other names are erased too. Its rows
are removed from tables, its name from texts, and a sheet that shows its face is replaced by an empty one. Models stay
as they are, and so does the registry's `trained_on.csv`, which identifies images by their sha256 alone: it tells which
models have seen it, also through a version that they started from. The cache of another machine may hold the content
without a name: there its sha256 identifies it.

Traces by which others are found are removed last (the page before its images, a table before the snapshot that it was
made from), so that an interrupted removal can simply be repeated.
"""

import itertools
import secrets
import shlex
from collections.abc import Iterator
from pathlib import Path

from age_tasks.data.labels_file import content_sha256
from age_tasks.maintenance.erased_content import ErasedImage
from age_tasks.maintenance.reindex import reindex
from age_tasks.maintenance.traces import Changes, read_table, traces_in_cache, traces_in_remote_cache, traces_in_store
from age_tasks.registry.promotions import VERSIONS, history, manifest, manifest_file
from age_tasks.runs.keys import RECORD, record_file
from age_tasks.runs.listing import Records, runs_in
from age_tasks.runs.records import StageRecord
from age_tasks.store.base import Store
from age_tasks.store.documents import FileDigest

Digests = dict[str, FileDigest]
"""Of files by their names, as records and manifests list them."""


def forget(image: ErasedImage, store: Store, cache: Path, delete: bool, remote: Store | None = None) -> Iterator[str]:
    """List every trace of an image, and with `delete` remove it; yields lines for a person as it proceeds.

    No stage may run at the same time: it could write again what it has read before.

    Args:
        remote: the store through which caches exchange what they have computed; None: there is none.
    """
    copies = sorted(image.names - {image.name})
    yield ", the same image as ".join([image.name, *copies]) + (
        "" if image.names else ": no file of this content is known"
    )
    _, records = runs_in(store)
    for folder, changed in traces_in_store(image, store):
        yield f"  {store.where(folder)}: {', '.join(changed)}"
        if delete:
            _replace(store, folder, changed, records)
    in_caches = traces_in_remote_cache(image, remote) if remote else iter(())
    for description, remove in itertools.chain(in_caches, traces_in_cache(image, cache)):
        yield f"  {description}"
        if delete:
            remove()
    if delete:
        reindex(store)  # it repeats what records and people say
    yield "removed" if delete else "nothing was removed: add --delete"
    yield from _what_remains(image, store)
    yield from _elsewhere(image)


def _replace(store: Store, folder: str, changed: Changes, records: Records) -> None:
    """Put the files, and adapt what lists their sha256, so that they still agree with it."""
    digests: Digests = {
        name: FileDigest(sha256=content_sha256(new), bytes=len(new)) for name, new in changed.items() if name != RECORD
    }
    if folder.startswith(VERSIONS):
        _replace_in_version(store, folder, changed, digests)
        return
    if folder.startswith("runs/"):
        _, run, stage = folder.split("/")
        if RECORD in changed:
            records[run][stage] = StageRecord.parse(changed.pop(RECORD), record_file(run, stage))
        _adapt_records(store, run, stage, digests, records)
    for name, new in changed.items():
        store.put(f"{folder}/{name}", new)


def _adapt_records(store: Store, run: str, stage: str, digests: Digests, records: Records) -> None:
    """Write the records of a stage in this run and in the runs that reuse its outputs.

    They get a random fingerprint: the changed outputs must not be reused for the inputs that they were made from.
    """
    fingerprint = secrets.token_hex(32)
    for key, stages in records.items():
        record = stages.get(stage)
        if record and (key == run or record.reused_from == run):
            update = {"outputs": record.outputs | digests, "fingerprint": fingerprint}
            stages[stage] = record.model_copy(update=update)
            store.put(record_file(key, stage), stages[stage].to_bytes())


def _replace_in_version(store: Store, folder: str, changed: Changes, digests: Digests) -> None:
    """Put files of a version. It agrees with its manifest at every moment: the manifest omits them meanwhile."""
    version = folder.removeprefix(VERSIONS)
    before = manifest(store, version)
    others = {name: digest for name, digest in before.files.items() if name not in digests}
    store.put(manifest_file(version), before.model_copy(update={"files": others}).to_bytes())
    for name, new in changed.items():
        store.put(f"{folder}/{name}", new)
    store.put(manifest_file(version), before.model_copy(update={"files": others | digests}).to_bytes())


def _what_remains(image: ErasedImage, store: Store) -> Iterator[str]:
    """What can't be removed, and what the person has to do."""
    names = {entry.version: entry.name for entry in history(store)}
    seen: dict[str, list[str]] = {"trained on": [], "tested on": []}
    for key in store.list(VERSIONS):
        if key.endswith("/trained_on.csv"):
            table, version = read_table(store, key), key.split("/")[2]
            splits = set(table.loc[table["sha256"].isin(image.sha256s), "split"])
            if splits:
                seen["tested on" if splits == {"test"} else "trained on"].append(names.get(version, version))
    for how, versions in seen.items():
        if versions:
            yield f"{', '.join(versions)}: {how} it, and kept: a model can't forget"
    cure = "; then retrain from the baseline (finetune.start_from=baseline) for a version that has not seen it"
    retrain = cure if seen["trained on"] else ""
    source = "its file from the images folder, or its tar file,"
    yield f"remove its row from labels.csv and {source} or the next run reads it again{retrain}"
    if image.near_duplicates:
        yield f"nearly the same image, to be forgotten separately: {', '.join(sorted(image.near_duplicates))}"
    yield "not searched: caches of other machines, MLflow, Airflow's logs, e-mails, backups"


def _elsewhere(image: ErasedImage) -> Iterator[str]:
    """What to execute on other machines, whose caches may hold the content of an image whose name nothing tells now."""
    yield "on each other machine that has a cache (AGE_CACHE), execute:"
    for identifier in sorted(image.stored_sha256s) or [shlex.quote(image.name)]:
        yield f"  age-tasks forget {identifier} --delete"
