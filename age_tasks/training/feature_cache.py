"""Rows of features on disk, by key; free of TensorFlow."""

import json
import logging
import math
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from age_tasks.data.augmentation import VERSION
from age_tasks.store.base import atomic_write

log = logging.getLogger(__name__)


def row_key(sha256: str, view: int) -> str:
    """What a row of features is kept under."""
    return sha256 if view == 0 else f"{sha256} {VERSION}.{view}"


class FeatureCache:
    """Rows of features by key. Open it anew to see what others have added."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._shards: list[_Shard] = []
        self._rows: dict[str, tuple[int, int]] = {}
        for index in sorted(folder.glob("*.json")):
            self._adopt(index)

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def append(self, keys: Sequence[str], features: np.ndarray) -> None:
        """Keep features of shape (len(keys), ...); they become visible all at once."""
        self._folder.mkdir(parents=True, exist_ok=True)
        name = self._folder / uuid.uuid4().hex
        with atomic_write(name.with_suffix(".npy")) as temporary, temporary.open("wb") as file:
            np.save(file, features)
        with atomic_write(name.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps(list(keys)))
        self._adopt(name.with_suffix(".json"))

    def rows(self, keys: Iterable[str]) -> np.ndarray:
        """The features of these keys as float16, shape (keys, ...).

        Raises:
            KeyError: a key that was never appended.
        """
        places = [self._rows[key] for key in keys]
        rows = np.empty((len(places), *self._shards[places[0][0]].shape), "float16")
        for into, (shard, row) in zip(rows, places, strict=True):
            self._shards[shard].read(row, into)
        return rows

    def _adopt(self, index: Path) -> None:
        try:
            shard, keys = _Shard(index.with_suffix(".npy")), json.loads(index.read_text())
        except ValueError as error:  # the machine went down before all was on the disk
            log.warning("%s is not whole (%s): its features are computed again", index, error)
            return
        self._shards.append(shard)
        for row, key in enumerate(keys):
            self._rows.setdefault(key, (len(self._shards) - 1, row))


class _Shard:
    """A .npy file, opened for each row: files that stay open, or mapped, run out where many runs have added theirs."""

    def __init__(self, path: Path):
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            (rows, *self.shape), _, dtype = np.lib.format.read_array_header_1_0(file)
            self._path, self._start = path, file.tell()
        if path.stat().st_size < self._start + rows * math.prod(self.shape) * dtype.itemsize:
            raise ValueError(f"{path} is shorter than its header says")

    def read(self, row: int, into: np.ndarray) -> None:
        with self._path.open("rb", buffering=0) as file:
            file.seek(self._start + row * into.nbytes)
            file.readinto(into)
