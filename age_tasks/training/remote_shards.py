"""Shards of features in a store, exchanged by several machines. Imports no TensorFlow.

They have the names and the content that they have in a local cache, see `feature_cache`: the .json with the keys of the
rows is written last, and one without its .npy counts as none, so any object may be removed at any time.
"""

import contextlib
import json
import logging
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np

from age_tasks.data.remote_cache import THREADS
from age_tasks.errors import NotFoundError
from age_tasks.store.base import Store, atomic_write

log = logging.getLogger(__name__)

FEATURES = "features/"
Place: TypeAlias = tuple[str, int]  # of a row: the name of its shard, and its number in it
FETCHES = 4  # shards, tens of megabytes each, that are fetched at the same time


@dataclass(frozen=True)
class RemoteShards:
    """The shards of one prefix.

    Args:
        store: of the exchange.
        prefix: the digest of the prefix.
    """

    store: Store
    prefix: str

    @property
    def _folder(self) -> str:
        return f"{FEATURES}{self.prefix}/"

    def places(self, besides: Collection[str]) -> dict[str, Place]:
        """By the key of a row its place; of several shards that hold it, in the first by name.

        Args:
            besides: names of shards to leave out.
        """
        indexes = [index for index in complete_shards(self.store, self._folder) if Path(index).stem not in besides]
        places: dict[str, Place] = {}
        for index, keys in read_indexes(self.store, indexes):
            for row, key in enumerate(keys):
                places.setdefault(key, (Path(index).stem, row))
        return places

    def fetch(self, names: Iterable[str], folder: Path) -> Iterator[Path]:
        """Fetch shards into a folder; yields the index of each, except of those that were removed meanwhile."""
        with ThreadPoolExecutor(FETCHES) as pool:
            yield from filter(None, pool.map(lambda name: self._fetch(name, folder / f"{name}.json"), sorted(names)))

    def read(self, name: str) -> np.ndarray | None:
        """All rows of a shard, read in one pass; None if it is damaged.

        Raises:
            NotFoundError: it was removed.
            StoreError: the store can't be reached or refuses.
        """
        return self.store.read_through(f"{self._folder}{name}.npy", _array)

    def where(self, name: str) -> str:
        """The address of a shard's rows for people."""
        return self.store.where(f"{self._folder}{name}.npy")

    def delete(self, name: str) -> None:
        """Remove a shard. Its features are computed again where they are needed."""
        delete_shard(self.store, f"{self._folder}{name}.json")

    def put(self, name: str, index: bytes | Path, features: bytes | Path) -> None:
        """Put a shard into the store, its index last.

        Args:
            name: of the shard.
            index: the keys of its rows, or a file with them.
            features: the rows as .npy, or a file with them.
        """
        self.store.put(f"{self._folder}{name}.npy", features)
        self.store.put(f"{self._folder}{name}.json", index)

    def _fetch(self, name: str, index: Path) -> Path | None:
        try:
            with atomic_write(index) as temporary:
                temporary.write_bytes(self.store.get(f"{self._folder}{name}.json"))
                self.store.fetch(f"{self._folder}{name}.npy", index.with_suffix(".npy"))
        except NotFoundError:
            return None
        return index


def complete_shards(store: Store, folder: str = FEATURES) -> list[str]:
    """The keys of the indexes of complete shards."""
    keys = set(store.list(folder))
    return sorted(key for key in keys if key.endswith(".json") and _rows(key) in keys)


def incomplete_objects(store: Store) -> list[str]:
    """The keys of objects that belong to no complete shard: their writer was killed, or is at work."""
    complete = complete_shards(store)
    return sorted(set(store.list(FEATURES)) - {key for index in complete for key in (index, _rows(index))})


def read_indexes(store: Store, indexes: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Of each index its key and the keys of its rows, without those that were removed meanwhile or are damaged."""

    def read(index: str) -> list[str] | None:
        with contextlib.suppress(NotFoundError, ValueError):
            keys = json.loads(store.get(index))
            if isinstance(keys, list) and all(isinstance(key, str) for key in keys):
                return keys
        log.warning("%s is no index of features: passed over", store.where(index))
        return None

    with ThreadPoolExecutor(THREADS) as pool:
        yield from ((index, keys) for index, keys in zip(indexes, pool.map(read, indexes), strict=True) if keys)


def delete_shard(store: Store, index: str) -> None:
    """Remove a shard, its index first. Its features are computed again where they are needed."""
    store.delete(index)
    store.delete(_rows(index))


def _array(file: BinaryIO) -> np.ndarray | None:
    """The array of an .npy file; None, as a result, where it is none: an error would hide a read that was cut off."""
    try:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
    except ValueError:
        return None


def _rows(index: str) -> str:
    """The key of the features beside an index."""
    return f"{index.removesuffix('.json')}.npy"
