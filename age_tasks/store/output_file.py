"""The file that a command is to write at the end: checked at the beginning, before the work whose result it is."""

import contextlib
import os
import tempfile
from pathlib import Path

from age_tasks.errors import AccessDeniedError, SettingsError
from age_tasks.store import open_store
from age_tasks.store.addresses import local_path
from age_tasks.store.base import Store
from age_tasks.store.disk import is_full
from age_tasks.store.files import FileStore


def output_file(address: str) -> tuple[Store, str]:
    """Where a file is to be written, as a store and a key in it. Nothing is written yet, and no folder made.

    Args:
        address: a path, a `file:///` or an `s3://` address.

    Raises:
        SettingsError: not the address of a file, or of one in a folder that can't be written to.
        StoreError: there is no such bucket, or it can't be reached. Keys that may not read it may still write there.
    """
    folder, _, name = address.rpartition("/")
    if not name or folder == "s3:/":
        raise SettingsError(f"{address!r} names no file to write: put the name of a file behind it")
    if address.startswith("s3://"):
        store, key = open_store(folder), name
    else:
        path = local_path(address)
        _require_writable(path)
        store, key = FileStore(path.parent), path.name
    with contextlib.suppress(AccessDeniedError):  # keys that may write, and neither read nor list
        store.exists(key)  # S3 is asked, and the name checked
    return store, key


def _require_writable(path: Path) -> None:
    folder = next(each for each in path.parents if os.path.lexists(each))
    try:
        if path.is_dir():
            raise SettingsError(f"{path} is a folder, no file to write: put the name of a file behind it")
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if is_full(error):
            raise
        raise SettingsError(
            f"{path}: nothing can be written to {folder}: {error.strerror}; check its permissions, or choose another "
            "folder"
        ) from None
