"""Features that stay in the exchange: read a shard at a time, for the moment, instead of copied. Imports no TensorFlow.

They are those of `feature_cache` beyond the budget of the local cache. Shards that are in the local cache all the same
are read there.
"""

import contextlib
import io
import json
import uuid
from collections.abc import Iterable, Sequence, Set
from pathlib import Path

import numpy as np

from age_tasks.errors import NotFoundError, StoreError
from age_tasks.training.feature_cache import SHARD_ROWS
from age_tasks.training.remote_shards import Place, RemoteShards


class StreamedFeatures:
    """Rows of features by key, of one prefix. What others have added since it was opened is not seen.

    Args:
        folder: of the same prefix in the local cache.
        remote: the shards of the exchange.
        places: of the rows that either of them holds.
        shape, dtype: of a row.
    """

    def __init__(
        self,
        folder: Path,
        remote: RemoteShards,
        places: dict[str, Place],
        shape: tuple[int, ...],
        dtype: str = "float16",
    ) -> None:
        self._folder, self._remote, self._places = folder, remote, places
        self.shape, self.dtype = shape, dtype

    def known(self) -> Set[str]:
        """The keys of all rows that can be read."""
        return self._places.keys()

    @property
    def shard_bytes(self) -> int:
        """Bytes of a whole shard."""
        return SHARD_ROWS * np.dtype(self.dtype).itemsize * int(np.prod(self.shape))

    def append(self, keys: Sequence[str], features: np.ndarray) -> None:
        """Store features in the exchange alone; they become visible all at once.

        Args:
            keys: one for each row, see `row_key`.
            features: of shape (len(keys), *shape).

        Raises:
            StoreError: the store can't be reached; nothing is stored then.
        """
        name, content = uuid.uuid4().hex, io.BytesIO()
        np.save(content, features)
        self._remote.put(name, json.dumps(list(keys)).encode(), content.getvalue())
        for row, key in enumerate(keys):
            self._places[key] = min((name, row), self._places.get(key, (name, row)))

    def by_shard(self, keys: Sequence[str], order: Iterable[int]) -> dict[str, list[int]]:
        """By the name of a shard those of the keys, by number, whose rows it holds.

        The shards come in the order in which they are first needed: the names, which are random, change nothing.

        Args:
            order: the numbers of all keys.

        Raises:
            KeyError: a key that was never appended.
        """
        found: dict[str, list[int]] = {}
        for number in order:
            found.setdefault(self._places[keys[number]][0], []).append(number)
        return found

    def reading_order(self, keys: Sequence[str]) -> list[int]:
        """The numbers of the keys in an order in which those of a shard follow each other; see `by_shard`."""
        return [number for numbers in self.by_shard(keys, range(len(keys))).values() for number in numbers]

    def read(self, name: str, keys: Iterable[str]) -> np.ndarray:
        """The features of keys in one shard, shape (keys, *shape).

        Args:
            name: of the shard.

        Raises:
            StoreError: it was removed, or is damaged, since it was listed; or the store can't be reached.
        """
        rows = [self._places[key][1] for key in keys]
        with contextlib.suppress(FileNotFoundError):
            return np.asarray(np.load(self._folder / f"{name}.npy", mmap_mode="r")[rows])
        try:
            shard = self._remote.read(name)
        except NotFoundError:
            raise self._gone(name, "was removed after the stage began") from None
        if shard is None or shard.shape[1:] != self.shape or len(shard) <= max(rows):
            self._remote.delete(name)
            raise self._gone(name, "was damaged, and is removed")
        return shard[rows]

    def rows(self, keys: Sequence[str]) -> np.ndarray:
        """The features of these keys, shape (keys, *shape); each shard that holds some is read once.

        Raises:
            KeyError: a key that was never appended.
            StoreError: see `read`.
        """
        rows = np.empty((len(keys), *self.shape), self.dtype)
        for name, numbers in self.by_shard(keys, range(len(keys))).items():
            rows[numbers] = self.read(name, [keys[number] for number in numbers])
        return rows

    def _gone(self, name: str, how: str) -> StoreError:
        return StoreError(
            f"{self._remote.where(name)} {how}; run the stage again, which computes the features that it held again"
        )
