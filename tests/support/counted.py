"""A store that counts the requests it would take on S3."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

from age_tasks.store.base import Entry, Store
from age_tasks.store.s3 import PAGE

T = TypeVar("T")


class CountingStore:
    """A store with the requests so far: `GET`, `PUT`, …, and one `LIST` for each 1,000 keys of a listing."""

    def __init__(self, store: Store):
        self._store = store
        self.url = store.url
        self.asked: list[str] = []

    def put(self, key: str, source: bytes | Path) -> None:
        self.asked.append(f"PUT {key}")
        self._store.put(key, source)

    def get(self, key: str) -> bytes:
        self.asked.append(f"GET {key}")
        return self._store.get(key)

    def fetch(self, key: str, to: Path, at_most: int | None = None) -> None:
        self.asked.append(f"GET {key}")
        self._store.fetch(key, to, at_most)

    def get_part(self, entry: Entry, start: int, size: int, sha256: str) -> bytes:
        self.asked.append(f"GET {entry.key}")
        return self._store.get_part(entry, start, size, sha256)

    def read_through(self, key: str, read: Callable[[BinaryIO], T]) -> T:
        self.asked.append(f"GET {key}")
        return self._store.read_through(key, read)

    def entry(self, key: str) -> Entry:
        self.asked.append(f"HEAD {key}")
        return self._store.entry(key)

    def entries(self, prefix: str = "", after: str = "", limit: int | None = None) -> Iterator[Entry]:
        self.asked.append(f"LIST {prefix}")
        for number, entry in enumerate(self._store.entries(prefix, after, limit), start=1):
            yield entry
            if number % PAGE == 0 and number != limit:
                self.asked.append(f"LIST {prefix}")

    def list(self, prefix: str = "", after: str = "", limit: int | None = None) -> list[str]:
        return [entry.key for entry in self.entries(prefix, after, limit)]

    def exists(self, key: str) -> bool:
        self.asked.append(f"HEAD {key}")
        return self._store.exists(key)

    def delete(self, key: str) -> None:
        self.asked.append(f"DELETE {key}")
        self._store.delete(key)

    def where(self, key: str) -> str:
        return self._store.where(key)
