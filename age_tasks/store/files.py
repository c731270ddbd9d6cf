"""A store in a folder."""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from age_tasks.errors import NotFoundError, StoreError
from age_tasks.store.base import TEMPORARY, Entry, T, atomic_write, check_key, not_found, require_size
from age_tasks.store.disk import disk_full, is_full


class FileStore:
    """A folder; its files are the objects, their paths the keys. See `Store` for the methods."""

    def __init__(self, root: Path) -> None:
        self._root = root.expanduser().absolute()
        self.url = self._root.as_uri()

    def put(self, key: str, source: bytes | Path) -> None:
        if isinstance(source, Path) and not source.exists():
            raise FileNotFoundError(source)
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        with self._errors(key, size), atomic_write(self._path(key)) as temporary:
            _copy(source, temporary)

    def get(self, key: str) -> bytes:
        with self._errors(key):
            path = self._path(key)
            if not path.is_file():  # reading a pipe or a device might never end
                raise not_found(self.where(key))
            return path.read_bytes()

    def fetch(self, key: str, to: Path, at_most: int | None = None) -> None:
        with self._errors(key):
            source = self._path(key)
            if not source.is_file():
                raise not_found(self.where(key))
            require_size(self.where(key), source.stat().st_size, at_most)
            with atomic_write(to) as temporary:
                _copy(source, temporary)

    def read_through(self, key: str, read: Callable[[BinaryIO], T]) -> T:
        with self._errors(key):
            path = self._path(key)
            if not path.is_file():
                raise not_found(self.where(key))
            with path.open("rb") as file:
                return read(file)

    def get_part(self, entry: Entry, start: int, size: int, sha256: str) -> bytes:
        with self._errors(entry.key), self._path(entry.key).open("rb") as file:
            file.seek(start)
            part = file.read(size)
        if hashlib.sha256(part).hexdigest() != sha256:
            raise StoreError(
                f"{self.where(entry.key)}: it was replaced while it was read; run it again, after `touch` if its time "
                "did not change"
            )
        return part

    def entry(self, key: str) -> Entry:
        with self._errors(key):
            path = self._path(key)
            if not path.is_file():
                raise not_found(self.where(key))
            return _entry(key, path.stat())

    def entries(self, prefix: str = "", after: str = "", limit: int | None = None) -> Iterator[Entry]:
        for key, file in self._found(prefix, after, limit):
            with contextlib.suppress(FileNotFoundError):  # another process may remove a file during the listing
                yield _entry(key, file.stat())

    def list(self, prefix: str = "", after: str = "", limit: int | None = None) -> list[str]:
        return [key for key, _ in self._found(prefix, after, limit)]

    def exists(self, key: str) -> bool:
        with self._errors(key):
            return self._path(key).is_file()

    def delete(self, key: str) -> None:
        with contextlib.suppress(NotFoundError), self._errors(key):
            self._path(key).unlink()

    def where(self, key: str) -> str:
        return str(self._path(key))

    def _found(self, prefix: str, after: str, limit: int | None) -> "Sequence[tuple[str, os.DirEntry[str]]]":
        """The files below a folder with their keys, in order of key."""
        top = self._path(prefix.rstrip("/")) if prefix else self._root
        begins = len(f"{self._root}{os.sep}")
        with self._errors(prefix):
            found = ((file.path[begins:].replace(os.sep, "/"), file) for file in _files(str(top)))
            return sorted(each for each in found if each[0] > after)[:limit]

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    @contextlib.contextmanager
    def _errors(self, key: str, size: int | None = None) -> Iterator[None]:
        """Translate the errors of the file system.

        Args:
            key: of a file or a folder; empty for the whole store.
            size: bytes to write; None when reading.
        """
        where = self._root / key
        try:
            yield
        except OSError as error:
            if size is None and isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError):
                raise not_found(str(where)) from None
            if not is_full(error):
                raise StoreError(f"{where}: {error.strerror}; check the folder and its permissions") from None
            if size is None:  # the disk that a copy is written to, not the store's
                raise
            raise disk_full(self._root, "AGE_STORE", size) from None


def _files(folder: str) -> "Iterator[os.DirEntry[str]]":
    """The files below a folder; of many thousands, in a sixth of the time that `Path.rglob` takes."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as found:
        for each in found:
            if each.is_dir(follow_symlinks=False):
                yield from _files(each.path)
            elif each.is_file() and not each.name.startswith(TEMPORARY):
                yield each


def _entry(key: str, stat: os.stat_result) -> Entry:
    return Entry(key, stat.st_size, f"{stat.st_size}-{stat.st_mtime_ns}")


def _copy(source: bytes | Path, target: Path) -> None:
    with target.open("wb") as out:
        if isinstance(source, bytes):
            out.write(source)
        else:
            with source.open("rb") as file:
                while block := file.read(1 << 20):
                    out.write(block)
        out.flush()
        os.fsync(out.fileno())
