"""The feature cache on disk: rows of features by key. Imports no TensorFlow.

    <cache>/features/<prefix digest>/<shard>.npy    float16 rows; of the empty prefix pixels, uint8
    <cache>/features/<prefix digest>/<shard>.json   the key of each row (`row_key`); written last

A shard without its .json does not exist, so a crash leaves nothing that is read, and several runs may append to the
same cache: each writes shards of its own.
"""

import json
import logging
import math
import tempfile
import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from age_tasks.data.augmentation import MIRROR, PLAIN, VERSION
from age_tasks.stopwatch import timed
from age_tasks.store.base import Store, atomic_write
from age_tasks.training.remote_shards import Place, RemoteShards, delete_shard

log = logging.getLogger(__name__)

SHARD_ROWS = 512  # that are computed, and stored, at once
_MIRROR_VERSION = "1"  # a mirror never changes: its key is that of the first version of the augmentations


def row_key(sha256: str, augmentation: int) -> str:
    """The key of a row of features.

    Args:
        sha256: of the image's content.
        augmentation: its number, see `data.augmentation`; the image itself is 0.
    """
    if augmentation == PLAIN:
        return sha256
    return f"{sha256} {_MIRROR_VERSION if augmentation == MIRROR else VERSION}.{augmentation}"


def image_of(key: str) -> str:
    """The sha256 of the image that a row's key belongs to."""
    return key.partition(" ")[0]


def features_folder(cache: Path) -> Path:
    """The folder of all features in the local cache, one sub-folder per prefix digest."""
    return cache / "features"


@dataclass(frozen=True)
class Shard:
    """A file of features and the keys of its rows.

    The file is opened for each row that is read: files that stay open, or mapped, would run out in a cache of many
    shards.
    """

    index: Path
    keys: tuple[str, ...]
    dtype: np.dtype
    shape: tuple[int, ...]  # of a row
    start: int  # of the first row, in bytes from the beginning of the file

    @property
    def features(self) -> Path:
        """The .npy file beside the index."""
        return self.index.with_suffix(".npy")

    def read(self, row: int, into: np.ndarray) -> None:
        """Fill `into`, of the dtype and the shape of a row, with one row."""
        with self.features.open("rb", buffering=0) as file:
            file.seek(self.start + row * into.nbytes)
            file.readinto(into.data)

    def rows_of(self, sha256s: Collection[str]) -> list[int]:
        """The rows of these images, augmentations included."""
        return [row for row, key in enumerate(self.keys) if image_of(key) in sha256s]

    def remove_images(self, sha256s: Collection[str], remote: RemoteShards | None = None) -> None:
        """Replace the shard by one without the rows of these images; nothing replaces it if no row is left.

        Args:
            remote: is given the new one too.
        """
        removed = set(self.rows_of(sha256s))
        if not removed:
            return
        if kept := [row for row in range(len(self.keys)) if row not in removed]:
            rows = np.load(self.features, mmap_mode="r")[kept]
            _write_shard(self.index.parent, [self.keys[row] for row in kept], rows, remote)
        self.index.unlink()
        self.features.unlink()


def stored_shards(cache: Path) -> Iterator[Shard]:
    """All complete shards in the local cache, of every prefix.

    Args:
        cache: the root of the local cache.
    """
    for index in sorted(features_folder(cache).glob("*/*.json")):
        if shard := _open_shard(index):
            yield shard


def remove_remote_images(store: Store, index: str, sha256s: Collection[str]) -> None:
    """As `Shard.remove_images`, of a shard in the store through which caches exchange what they have computed.

    The new shard is there before the old one goes. Whoever has listed the old one and finds it gone computes its rows.

    Args:
        index: the key of the shard's index.
    """
    remote = RemoteShards(store, Path(index).parent.name)
    with tempfile.TemporaryDirectory(prefix="age-") as scratch:
        for path in remote.fetch([Path(index).stem], Path(scratch)):
            if shard := _open_shard(path):
                shard.remove_images(sha256s, remote)
    delete_shard(store, index)


def incomplete_files(cache: Path) -> list[Path]:
    """Files of shards that were never finished or are damaged.

    No `FeatureCache` reads them; they may be removed while no stage runs.

    Args:
        cache: the root of the local cache.
    """
    complete = {path for shard in stored_shards(cache) for path in (shard.index, shard.features)}
    return sorted(path for path in features_folder(cache).glob("*/*") if path not in complete and path.is_file())


class FeatureCache:
    """Rows of features by key, of one prefix. What others have added since it was opened is not seen."""

    def __init__(self, folder: Path, remote: RemoteShards | None = None) -> None:
        """Read the index of each complete shard.

        Args:
            folder: `features_folder(cache) / <prefix digest>`.
            remote: shards of the same prefix that other machines have computed; None: there are none.
        """
        self._folder, self._remote = folder, remote
        self._shards: list[Shard] = []
        self._rows: dict[str, tuple[int, int]] = {}
        for index in sorted(folder.glob("*.json")):
            self._adopt(index)
        self._elsewhere = remote.places(besides={shard.index.stem for shard in self._shards}) if remote else {}

    def __contains__(self, key: object) -> bool:
        """Whether the row can be read here."""
        return key in self._rows

    def known(self) -> Set[str]:
        """The keys of all rows that can be read here, or fetched."""
        return self._rows.keys() | self._elsewhere.keys()

    def places(self) -> dict[str, Place]:
        """By the key of a row its place, here or elsewhere; of several shards that hold it, in the first by name."""
        here = {key: (self._shards[shard].index.stem, row) for key, (shard, row) in self._rows.items()}
        return self._elsewhere | {key: min(place, self._elsewhere.get(key, place)) for key, place in here.items()}

    def fetch(self, keys: Iterable[str]) -> None:
        """Fetch the shards with those of these rows that others have computed, so that they can be read here."""
        wanted = {self._elsewhere[key][0] for key in keys if key not in self._rows and key in self._elsewhere}
        if not (self._remote and wanted):
            return
        log.info("features: fetching %d shards of %s", len(wanted), self._remote.store.url)
        for index in self._remote.fetch(wanted, self._folder):
            self._adopt(index)

    def append(self, keys: Sequence[str], features: np.ndarray) -> None:
        """Store features; they become visible all at once, to others before they do here.

        Args:
            keys: one for each row, see `row_key`.
            features: of shape (len(keys), ...), rows of the same dtype and shape as those stored before.

        Raises:
            StoreError: others can't be given them, since the store can't be reached; nothing is stored then.
        """
        self._adopt(_write_shard(self._folder, keys, features, self._remote))

    @timed("input")
    def rows(self, keys: Iterable[str]) -> np.ndarray:
        """The features of these keys as they were stored, shape (keys, ...).

        Raises:
            KeyError: a key that was never appended.
        """
        places = [self._rows[key] for key in keys]
        like = self._shards[places[0][0]]
        rows = np.empty((len(places), *like.shape), like.dtype)
        for into, (shard, row) in zip(rows, places, strict=True):
            self._shards[shard].read(row, into)
        return rows

    def _adopt(self, index: Path) -> None:
        if not (shard := _open_shard(index)):
            return
        self._shards.append(shard)
        for row, key in enumerate(shard.keys):
            self._rows.setdefault(key, (len(self._shards) - 1, row))


def _write_shard(folder: Path, keys: Sequence[str], features: np.ndarray, remote: RemoteShards | None = None) -> Path:
    """Write a shard, its index last, and before that into the store; returns the index."""
    name = uuid.uuid4().hex
    with atomic_write(folder / f"{name}.json") as index:
        index.write_text(json.dumps(list(keys)))
        with atomic_write(folder / f"{name}.npy") as rows:
            with rows.open("wb") as file:
                np.save(file, features)
            if remote:
                remote.put(name, index, rows)
    return folder / f"{name}.json"


def _open_shard(index: Path) -> Shard | None:
    """The shard, or None if it is incomplete: the machine went down before all of it was on the disk."""
    features = index.with_suffix(".npy")
    try:
        keys = json.loads(index.read_text())
        with features.open("rb") as file:
            np.lib.format.read_magic(file)
            (rows, *shape), _, dtype = np.lib.format.read_array_header_1_0(file)
            start = file.tell()
        if features.stat().st_size < start + rows * math.prod(shape) * dtype.itemsize:
            raise ValueError(f"{features} is shorter than its header says")
    except (ValueError, FileNotFoundError) as error:
        log.warning("%s is incomplete (%s): its features are computed again", index, error)
        return None
    return Shard(index, tuple(keys), dtype, tuple(shape), start)
