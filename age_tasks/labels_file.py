"""The labels file as it lies there: its bytes, and which of its contents a run has taken up last.

In the store, `labels/<sha256 of the file's address>.json` names the content that the last snapshot froze.
"""

import hashlib
import json

from age_tasks.errors import LabelsError, NotFoundError
from age_tasks.store import FileStore, Store, local_path, open_store


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
    """The bytes of the labels file at a path or an `s3://` address.

    Raises:
        LabelsError: there is no such file.
    """
    folder, name = labels_object(location)
    try:
        return folder.get(name)
    except NotFoundError:
        raise LabelsError(
            f"no labels file at {location}; set AGE_LABELS to a CSV with the columns file_name,real_age "
            "(`python -m age_tasks sample --out faces` draws a set to try)"
        ) from None


def content_sha256(data: bytes) -> str:
    """What tells one content of the labels file from another, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def note_snapshot(store: Store, location: str, data: bytes, run: str) -> None:
    """Say that the run with the key `run` works on this content of the labels file."""
    note = {"labels": location, "sha256": content_sha256(data), "run": run}
    store.put(_note(location), json.dumps(note, indent=2, ensure_ascii=False).encode() + b"\n")


def last_snapshot(store: Store, location: str) -> str | None:
    """The sha256 of the content that the last snapshot of this labels file froze; None before the first."""
    try:
        return json.loads(store.get(_note(location)))["sha256"]
    except NotFoundError:
        return None


def _note(location: str) -> str:
    address = location if location.startswith("s3://") else local_path(location).as_uri()
    return f"labels/{hashlib.sha256(address.encode()).hexdigest()}.json"
