"""A store in a folder."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from age_tasks.errors import NotFoundError, StoreError
from age_tasks.store.base import TEMPORARY, Entry, atomic_write, check_key, not_found
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

    def fetch(self, key: str, to: Path) -> None:
        with self._errors(key):
            source = self._path(key)
            if not source.is_file():
                raise not_found(self.where(key))
            with atomic_write(to) as temporary:
                _copy(source, temporary)

    def entry(self, key: str) -> Entry:
        with self._errors(key):
            path = self._path(key)
            if not path.is_file():
                raise not_found(self.where(key))
            return _entry(key, path)

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        top = self._path(prefix.rstrip("/")) if prefix else self._root
        for path in sorted(top.rglob("*"), key=lambda path: path.relative_to(self._root).as_posix()):
            # Another process may remove a file during the listing.
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                if path.is_file() and not path.name.startswith(TEMPORARY):
                    yield _entry(path.relative_to(self._root).as_posix(), path)

    def list(self, prefix: str = "") -> list[str]:
        return [entry.key for entry in self.entries(prefix)]

    def exists(self, key: str) -> bool:
        with self._errors(key):
            return self._path(key).is_file()

    def delete(self, key: str) -> None:
        with contextlib.suppress(NotFoundError), self._errors(key):
            self._path(key).unlink()

    def where(self, key: str) -> str:
        return str(self._path(key))

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    @contextlib.contextmanager
    def _errors(self, key: str, size: int | None = None) -> Iterator[None]:
        """Translate the errors of the file system; `size`: bytes to write, None when reading."""
        try:
            yield
        except OSError as error:
            if size is None and isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError):
                raise not_found(self.where(key)) from None
            if not is_full(error):
                raise StoreError(f"{self.where(key)}: {error.strerror}; check the folder and its permissions") from None
            if size is None:  # the disk that a copy is written to, not the store's
                raise
            raise disk_full(self._root, "AGE_STORE", size) from None


def _entry(key: str, path: Path) -> Entry:
    stat = path.stat()
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
