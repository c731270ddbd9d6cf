"""The interface of a store, and what all kinds of stores share."""

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

from age_tasks.errors import NotFoundError, SettingsError, StoreRefusedError

TEMPORARY = ".tmp-"  # prefix of the file names that `atomic_write` writes to
RESTORE = "restore it, or run again what writes it"
T = TypeVar("T")

_SEGMENT = re.compile(r"[^/\\\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class Entry:
    """One object: its key, its size in bytes, and a tag that changes when its content does."""

    key: str
    size: int
    etag: str


class Store(Protocol):
    """Objects by key. Keys are relative names with `/`; an object becomes visible only when it is complete."""

    url: str

    def put(self, key: str, source: bytes | Path) -> None:
        """Write the object, replacing an earlier one.

        Raises:
            FileNotFoundError: `source` is a path without a file.
            StoreError: the store can't be reached or refuses.
            DiskFullError: the disk of a store in a folder is full.
        """

    def get(self, key: str) -> bytes:
        """The object's bytes.

        Raises:
            NotFoundError: there is no such object.
            StoreError: the store can't be reached or refuses.
        """

    def fetch(self, key: str, to: Path, at_most: int | None = None) -> None:
        """Copy the object to a local file, atomically.

        Args:
            at_most: bytes; of a larger object nothing is copied or transferred.

        Raises:
            NotFoundError: there is no such object.
            StoreRefusedError: it is larger than `at_most`.
            StoreError: the store can't be reached or refuses.
        """

    def read_through(self, key: str, read: Callable[[BinaryIO], T]) -> T:
        """What `read` makes of the object's bytes, in one pass from the beginning.

        Args:
            read: is called again, from the beginning, where the bytes were cut off or corrupted on the way: only its
                last result counts. It uses nothing but the file's method `read`.

        Raises:
            NotFoundError: there is no such object.
            StoreError: the store can't be reached or refuses.
        """

    def get_part(self, entry: Entry, start: int, size: int, sha256: str) -> bytes:
        """Some of the object's bytes, without the others.

        Args:
            entry: of the object, as it must still be.
            start: of the part, in bytes from the beginning.
            size: of the part, in bytes.
            sha256: that the part must have, 64 hex digits.

        Raises:
            NotFoundError: there is no such object.
            StoreError: it was replaced, or the store can't be reached or refuses.
        """

    def entry(self, key: str) -> Entry:
        """The object's size and tag, without its bytes.

        Raises:
            NotFoundError: there is no such object.
            StoreError: the store can't be reached or refuses.
        """

    def entries(self, prefix: str = "", after: str = "", limit: int | None = None) -> Iterator[Entry]:
        """The objects whose key starts with the folder `prefix` ("" or ending in "/"), in order of key.

        Args:
            after: a key; only those behind it in this order are listed.
            limit: the most objects to list. S3 lists up to 1,000 in a request.
        """

    def list(self, prefix: str = "", after: str = "", limit: int | None = None) -> list[str]:
        """The keys of `entries`."""

    def exists(self, key: str) -> bool:
        """Whether there is such an object."""

    def delete(self, key: str) -> None:
        """Remove the object; does nothing if there is none."""

    def where(self, key: str) -> str:
        """The object's address for people: a local path or an s3:// address."""


def check_key(key: str) -> str:
    """The key, if it is valid and stays inside the store.

    Raises:
        SettingsError: an empty, `.` or `..` segment, a leading `/`, a backslash or control character, or a segment
            that looks like a temporary file of `atomic_write`.
    """
    if not is_key(key):
        raise SettingsError(f"{key!r} is not a valid key in the store: use plain names joined by '/'")
    return key


def is_key(key: str) -> bool:
    """Whether `check_key` accepts it: a bucket that others write to may list objects of other names."""
    segments = key.split("/")
    return not any(
        name in {".", ".."} or name.startswith(TEMPORARY) or not _SEGMENT.fullmatch(name) for name in segments
    )


def not_found(where: str) -> NotFoundError:
    """The error for an object that the store lacks, to be raised by the caller."""
    return NotFoundError(f"{where}: not found; {RESTORE}")


def require_size(where: str, size: int, at_most: int | None) -> None:
    """Check that an object is not larger than its reader wants.

    Args:
        where: its address.
        size, at_most: bytes; None: any size.

    Raises:
        StoreRefusedError: it is larger.
    """
    if at_most is not None and size > at_most:
        raise StoreRefusedError(
            f"{where}: {size / 1e6:,.0f} MB, where at most {at_most / 1e6:,.0f} MB are fetched; put a smaller file "
            "there"
        )


def file_sha256(path: Path) -> str:
    """The sha256 of a file's content, 64 hex digits; read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def to_json(value: object) -> bytes:
    """The value as indented JSON in UTF-8, with a final newline: the form of every JSON file in the store.

    Raises:
        SettingsError: a text in it, such as a setting or an address, can't be encoded as UTF-8.
        ValueError: a number in it is not finite.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError as error:  # a lone surrogate, from a command line or environment that is not UTF-8
        shown = text[max(error.start - 40, 0) : error.end]
        raise SettingsError(f"{shown!r} can't be encoded as UTF-8; correct the setting or address") from None


def from_json(text: str | bytes) -> Any:
    """The value of a JSON text that a person or another program wrote.

    Raises:
        ValueError: no JSON, or a name that stands twice in one object; the message says what and where.
    """

    def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is given twice")
        return found

    try:
        return json.loads(text, object_pairs_hook=object_of)
    except RecursionError:
        raise ValueError("nested too deeply") from None


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary file in the folder of `path`, which replaces `path` on success and is removed on failure."""
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
