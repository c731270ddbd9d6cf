"""The labels file as it lies there: its bytes, and which of its contents a run has taken up last.

In the store, `labels/<sha256 of the file's address>.json` names the content that the last snapshot froze.
"""

import contextlib
import hashlib
import json
import time

from age_tasks.errors import LabelsError, NotFoundError, StoreError
from age_tasks.store import open_store
from age_tasks.store.addresses import local_path
from age_tasks.store.base import Store, to_json
from age_tasks.store.files import FileStore

SETTLE_SECONDS, TRIES = 0.2, 50
EMPTY_TRIES = 10  # a file that is written over lies there empty until its writer gets to run


def labels_object(location: str) -> tuple[Store, str]:
    """The folder that holds the labels file at a path, a `file:///` or an `s3://` address, and its name there.

    Raises:
        SettingsError: another kind of address.
    """
    if location.startswith("s3://"):
        folder, _, name = location.rpartition("/")
        return open_store(folder), name
    path = local_path(location)
    return FileStore(path.parent), path.name


def fetch_labels(location: str) -> bytes:
    """The bytes of the labels file at a path or an `s3://` address; one that is being written over is waited for.

    Raises:
        LabelsError: there is no such file.
        StoreError: it is written over and over.
    """
    folder, name = labels_object(location)
    try:
        for tried in range(TRIES):
            before, data = folder.entry(name), folder.get(name)
            whole = folder.entry(name) == before and not _just_written(location)
            if whole and (data or tried >= EMPTY_TRIES):
                return data
            time.sleep(SETTLE_SECONDS)
    except NotFoundError:
        raise LabelsError(
            f"no labels file at {location}; set AGE_LABELS to a CSV with the columns file_name,real_age "
            "(`python -m age_tasks sample --out faces` draws a set to try)"
        ) from None
    raise StoreError(
        f"{location} has changed every {SETTLE_SECONDS:g} seconds for {TRIES * SETTLE_SECONDS:g} seconds; try again "
        "when it is written, and put it there under another name first, then rename it"
    )


def _just_written(location: str) -> bool:
    """Whether a local file may not be whole yet; an object in a bucket always is."""
    if location.startswith("s3://"):
        return False
    with contextlib.suppress(FileNotFoundError):
        return 0 <= time.time() - local_path(location).stat().st_mtime < SETTLE_SECONDS
    return True


def content_sha256(data: bytes) -> str:
    """What tells one content of the labels file from another, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def note_snapshot(store: Store, location: str, data: bytes, run: str) -> None:
    """Say that the run with the key `run` works on this content of the labels file."""
    note = {"labels": location, "sha256": content_sha256(data), "run": run}
    store.put(_note(location), to_json(note))


def last_snapshot(store: Store, location: str) -> str | None:
    """The sha256 of the content that the last snapshot of this labels file froze; None before the first."""
    try:
        return json.loads(store.get(_note(location)))["sha256"]
    except NotFoundError:
        return None


def _note(location: str) -> str:
    address = location if location.startswith("s3://") else local_path(location).as_uri()
    return f"labels/{hashlib.sha256(address.encode()).hexdigest()}.json"
