"""A store for the time of one page: what was read once is not asked for again."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

from age_tasks.errors import NotFoundError
from age_tasks.store.base import Entry, Store

T = TypeVar("T")


class RememberingStore:
    """Another store, whose objects are read once each; see `Store` for the methods. For one thread, and to read."""

    def __init__(self, store: Store) -> None:
        self.url = store.url
        self._store = store
        self._read: dict[str, bytes | NotFoundError] = {}

    def put(self, key: str, source: bytes | Path) -> None:
        self._read.pop(key, None)
        self._store.put(key, source)

    def get(self, key: str) -> bytes:
        if key not in self._read:
            try:
                self._read[key] = self._store.get(key)
            except NotFoundError as error:
                self._read[key] = error
        found = self._read[key]
        if isinstance(found, NotFoundError):
            raise found
        return found

    def fetch(self, key: str, to: Path, at_most: int | None = None) -> None:
        self._store.fetch(key, to, at_most)

    def read_through(self, key: str, read: Callable[[BinaryIO], T]) -> T:
        return self._store.read_through(key, read)

    def get_part(self, entry: Entry, start: int, size: int, sha256: str) -> bytes:
        return self._store.get_part(entry, start, size, sha256)

    def entry(self, key: str) -> Entry:
        return self._store.entry(key)

    def entries(self, prefix: str = "", after: str = "", limit: int | None = None) -> Iterator[Entry]:
        return self._store.entries(prefix, after, limit)

    def list(self, prefix: str = "", after: str = "", limit: int | None = None) -> list[str]:
        return self._store.list(prefix, after, limit)

    def exists(self, key: str) -> bool:
        try:  # what a page asks for it reads next
            self.get(key)
        except NotFoundError:
            return False
        return True

    def delete(self, key: str) -> None:
        self._read.pop(key, None)
        self._store.delete(key)

    def where(self, key: str) -> str:
        return self._store.where(key)
