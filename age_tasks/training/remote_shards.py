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

from age_tasks.data.remote_cache import THREADS
from age_tasks.errors import NotFoundError
from age_tasks.store.base import Store, atomic_write

log = logging.getLogger(__name__)

FEATURES = "features/"
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

    def shards_of(self, besides: Collection[str]) -> dict[str, str]:
        """By the key of a row the name of the shard that holds it.

        Args:
            besides: names of shards to leave out.
        """
        indexes = [index for index in complete_shards(self.store, self._folder) if Path(index).stem not in besides]
        return {key: Path(index).stem for index, keys in read_indexes(self.store, indexes) for key in keys}

    def fetch(self, names: Iterable[str], folder: Path) -> Iterator[Path]:
        """Fetch shards into a folder; yields the index of each, except of those that were removed meanwhile."""
        with ThreadPoolExecutor(FETCHES) as pool:
            yield from filter(None, pool.map(lambda name: self._fetch(name, folder / f"{name}.json"), sorted(names)))

    def put(self, name: str, index: Path, features: Path) -> None:
        """Put a shard into the store, its index last.

        Args:
            name: of the shard.
            index: a file with the keys of its rows.
            features: a file with the rows.
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


def _rows(index: str) -> str:
    """The key of the features beside an index."""
    return f"{index.removesuffix('.json')}.npy"
