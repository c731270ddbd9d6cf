"""Read the labels file, and record the digest of the content that the last snapshot took.

The record is `labels/<sha256 of the file's address>.json` in the store.
"""

import contextlib
import hashlib
import time

from age_tasks.errors import LabelsError, NotFoundError, StoreError
from age_tasks.stopwatch import timed
from age_tasks.store import open_store
from age_tasks.store.addresses import local_path
from age_tasks.store.base import Store, from_json, to_json
from age_tasks.store.files import FileStore

SETTLE_SECONDS, TRIES = 0.2, 50
EMPTY_TRIES = 10  # a file that is being overwritten is empty for a moment


def labels_object(location: str) -> tuple[Store, str]:
    """The folder of the labels file at a path, a `file:///` or an `s3://` address, as a store, and its key there.

    Raises:
        SettingsError: another kind of address.
    """
    if location.startswith("s3://"):
        folder, _, name = location.rpartition("/")
        return open_store(folder), name
    path = local_path(location)
    return FileStore(path.parent), path.name


@timed("input")
def fetch_labels(location: str) -> bytes:
    """The bytes of the labels file at a path or an `s3://` address; waits while the file is being written.

    Raises:
        LabelsError: there is no such file.
        StoreError: it keeps changing, or the store can't be reached.
    """
    folder, name = labels_object(location)
    try:
        for attempt in range(TRIES):
            before, data = folder.entry(name), folder.get(name)
            complete = folder.entry(name) == before and not _just_written(location)
            if complete and (data or attempt >= EMPTY_TRIES):
                return data
            time.sleep(SETTLE_SECONDS)
    except NotFoundError:
        raise LabelsError(
            f"no labels file at {location}; set AGE_LABELS to a table with the columns file_name,real_age "
            "(`python -m age_tasks sample --out faces` draws an example)"
        ) from None
    raise StoreError(
        f"{location} has changed every {SETTLE_SECONDS:g} seconds for {TRIES * SETTLE_SECONDS:g} seconds; try again "
        "when it is complete; write it under another name and rename it, so that it is never seen incomplete"
    )


def _just_written(location: str) -> bool:
    """Whether a local file may still be incomplete; an object in a bucket never is."""
    if location.startswith("s3://"):
        return False
    with contextlib.suppress(FileNotFoundError):
        return 0 <= time.time() - local_path(location).stat().st_mtime < SETTLE_SECONDS
    return True


def content_sha256(data: bytes) -> str:
    """The digest that identifies a content of the labels file, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def record_snapshot(store: Store, location: str, data: bytes, run: str) -> None:
    """Record that the run with the key `run` works on this content of the labels file."""
    store.put(_record_key(location), to_json({"labels": location, "sha256": content_sha256(data), "run": run}))


def last_snapshot(store: Store, location: str) -> str | None:
    """The sha256 of the content that the last snapshot of this labels file took; None before the first."""
    return _last_record(store, location).get("sha256")


def last_snapshot_run(store: Store, location: str) -> str | None:
    """The key of the run that took the last snapshot of this labels file; None before the first."""
    return _last_record(store, location).get("run")


def _last_record(store: Store, location: str) -> dict[str, str]:
    """Empty if there is none, or a damaged one: the next snapshot replaces it."""
    try:
        record = from_json(store.get(_record_key(location)))
    except (NotFoundError, ValueError):
        return {}
    return {name: text for name, text in record.items() if isinstance(text, str)} if isinstance(record, dict) else {}


def _record_key(location: str) -> str:
    address = location if location.startswith("s3://") else local_path(location).as_uri()
    return f"labels/{hashlib.sha256(address.encode()).hexdigest()}.json"
