"""The interface of a store, and what all kinds of stores share."""

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from age_tasks.errors import SettingsError

TEMPORARY = ".tmp-"


_SEGMENT = re.compile(r"[^/\\\x00-\x1f\x7f]+")


@dataclass(frozen=True)
class Entry:
    """One object: its size in bytes, and a tag that changes when its content does."""

    key: str
    size: int
    etag: str


class Store(Protocol):
    """Keys are relative names with `/`; what is put is seen whole or not at all."""

    url: str

    def put(self, key: str, source: bytes | Path) -> None: ...

    def get(self, key: str) -> bytes:
        """The object's bytes; NotFoundError without it."""

    def fetch(self, key: str, to: Path) -> None:
        """Copy the object to a local file that appears whole; NotFoundError without it."""

    def entry(self, key: str) -> Entry:
        """The object's size and tag, without its bytes; NotFoundError without it."""

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """The objects whose key starts with the folder `prefix` ("" or ending in "/"), in order of key."""

    def list(self, prefix: str = "") -> list[str]:
        """The keys of `entries`."""

    def exists(self, key: str) -> bool: ...

    def delete(self, key: str) -> None:
        """Remove the object; fine if it isn't there."""

    def where(self, key: str) -> str:
        """The object's address, for a person: a local path or an s3:// address."""


def check_key(key: str) -> str:
    """The key, if it can't leave the store.

    Raises:
        SettingsError: an empty, `.` or `..` segment, a leading `/`, a backslash or control character, or a segment
            that looks like a file half written.
    """
    segments = key.split("/")
    if any(name in {".", ".."} or name.startswith(TEMPORARY) or not _SEGMENT.fullmatch(name) for name in segments):
        raise SettingsError(f"{key!r} can't be a key in the store: use plain names joined by '/'")
    return key


def file_sha256(path: Path) -> str:
    """The sha256 of a file's content, 64 hex digits; read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place if all goes well, and is removed if not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
