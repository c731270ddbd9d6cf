"""The output of the frozen part of a network for each image, computed once and stored by `FeatureCache`.

Where nothing is frozen, these are the pixels.
"""

import hashlib
import json
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
import tensorflow as tf

from age_tasks.config import ComputeSettings
from age_tasks.data.augmentation import load_augmentations, load_augmented
from age_tasks.data.image_folder import ImageFolder, require_unchanged
from age_tasks.data.probes import delete_probes
from age_tasks.data.remote_cache import remote_cache, room_in
from age_tasks.data.shares import WHOLE, Share
from age_tasks.progress import Progress
from age_tasks.stopwatch import timed
from age_tasks.store.base import Store
from age_tasks.store.disk import free_bytes
from age_tasks.training.feature_cache import SHARD_ROWS, FeatureCache, features_folder, row_key
from age_tasks.training.hardware import cores, keep_freed_memory, untuned
from age_tasks.training.prefix_engine import ROWS, FrozenNetwork
from age_tasks.training.remote_shards import RemoteShards
from age_tasks.training.streamed_features import StreamedFeatures

log = logging.getLogger(__name__)

SPARE_BYTES = 1_000_000_000  # of the disk, left for other writes: images, checkpoints
DECODING = "1"  # increase it when `data.decoding.load_rgb` returns other pixels


@dataclass(frozen=True)
class Cut:
    """A place in a network, and the images whose features are wanted there.

    Args:
        tensor: of the network; no layer before it is trained. At its input, the features are the pixels.
        images: columns `file_name`, `sha256`, `augmentation` (its number, see `data.augmentation`), and `split` where
            images of several are not read together.
    """

    tensor: keras.KerasTensor
    images: pd.DataFrame

    def keyed(self) -> "Cut":
        """The same without repetitions, with the key of each row of features as a column `key`."""
        return Cut(self.tensor, self.images.assign(key=keys_of(self.images)).drop_duplicates("key"))


def keys_of(images: pd.DataFrame) -> list[str]:
    """The key of the row of features of each image: columns `sha256`, `augmentation`."""
    return [row_key(*image) for image in zip(images["sha256"], images["augmentation"], strict=True)]


@dataclass(frozen=True)
class Features:
    """What is stored of the features of some images, after the missing ones were computed.

    Args:
        caches: one for each cut. Features that do not fit into `cache_budget_gb`, or on the disk, are streamed from the
            exchange (`AGE_CACHE_REMOTE`); None where there is none, or no room there either.
        images: number of images in the share, each augmentation counted.
        computed: those of them that were not in the cache.
    """

    caches: list[FeatureCache | StreamedFeatures | None]
    images: int
    computed: int


def cached_features(
    model: keras.Model,
    cuts: Sequence[Cut],
    folder: ImageFolder,
    cache: Path,
    settings: ComputeSettings,
    share: Share = WHOLE,
) -> Features:
    """The features of the images of each cut; those not in the cache are computed.

    An image of several cuts goes through the network once, and only as far as the last cut that lacks it.

    Whether the features fit is decided for all images, also where only those of a share are computed: so all shares,
    and the training after them, decide the same.

    Args:
        cuts: of `model`.
        cache: the root of the local cache.
        share: of which images features are computed; other workers compute those of the others.

    Raises:
        LabelsError: an image that has to be read is not what it was in the snapshot.
    """
    cuts = [cut.keyed() for cut in cuts]
    caches = _caches_with_room(model, cuts, features_folder(cache), settings)
    wanted = [(cut, found) for cut, found in zip(cuts, caches, strict=True) if found is not None]
    if share == WHOLE:
        for cut, found in wanted:
            if isinstance(found, FeatureCache):
                found.fetch(cut.images["key"])
    images = pd.concat([cut.images for cut in cuts]).drop_duplicates("key")
    images = images.loc[[share.holds(sha256) for sha256 in images["sha256"]]]
    lacking = _lacking(wanted, images["key"], whole=share == WHOLE)
    rows = np.flatnonzero(lacking.any(axis=1))
    missing = images.iloc[rows]
    read_again = None in caches and share == WHOLE  # by the training
    require_unchanged(folder, _sha256s(images if read_again else missing), partial(delete_probes, cache))
    log.info("features: %d images in the cache, %d to compute", len(images) - len(missing), len(missing))
    progress, done = Progress(share.counted("frozen features")), 0
    for of_cuts in np.unique(lacking[rows], axis=0)[::-1]:  # those that all cuts lack first
        part = images.iloc[np.flatnonzero((lacking == of_cuts).all(axis=1))]
        into = [each for each, lacked in zip(wanted, of_cuts, strict=True) if lacked]
        _compute(model, into, part, folder, cache, settings, partial(_further, progress, done, len(missing)))
        done += len(part)
    return Features(caches, len(images), len(missing))


def decoded_images(images: pd.DataFrame, folder: ImageFolder, size: int) -> tf.data.Dataset:
    """The images one by one, decoded in parallel ahead of their use; JPEG at the smallest scale that suffices.

    Augmentations of an image that follow each other in `images` are made from one decoding.

    Args:
        images: columns `file_name`, `sha256`, `augmentation`.
        size: side of the result in pixels.

    Returns:
        float32 tensors of shape (size, size, 3), RGB values 0–255, in the order of `images`.
    """
    starts = np.flatnonzero(
        images["sha256"].ne(images["sha256"].shift()) | images["file_name"].ne(images["file_name"].shift())
    )
    numbers = tf.RaggedTensor.from_row_starts(images["augmentation"].to_numpy("int64"), starts)
    names, sha256s = (images[column].to_numpy(dtype="str")[starts] for column in ("file_name", "sha256"))

    def load(name: bytes, augmentations: np.ndarray, sha256: bytes) -> np.ndarray:
        return load_augmentations(folder.path(name.decode()), size, augmentations.tolist(), sha256.decode())

    def decode(name: tf.Tensor, augmentations: tf.Tensor, sha256: tf.Tensor) -> tf.Tensor:
        pixels = tf.numpy_function(load, [name, augmentations, sha256], tf.uint8, stateful=False)
        return tf.cast(tf.ensure_shape(pixels, (None, size, size, 3)), tf.float32)

    slices = tf.data.Dataset.from_tensor_slices((names, numbers, sha256s))
    return slices.map(decode, num_parallel_calls=cores()).unbatch()


def decoder(folder: ImageFolder, size: int) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]:
    """A function of (file name, augmentation, sha256) for `tf.data.Dataset.map`; see `decoded_images`."""

    def load(name: bytes, augmentation: np.int64, sha256: bytes) -> np.ndarray:
        return load_augmented(folder.path(name.decode()), size, int(augmentation), sha256.decode())

    def decode(name: tf.Tensor, augmentation: tf.Tensor, sha256: tf.Tensor) -> tf.Tensor:
        pixels = tf.numpy_function(load, [name, augmentation, sha256], tf.uint8, stateful=False)
        return tf.cast(tf.ensure_shape(pixels, (size, size, 3)), tf.float32)

    return decode


def prefix_digest(prefix: keras.Model) -> str:
    """A name for what the prefix computes: its operations, weights and input size, and how images are decoded."""
    dtype = row_dtype(prefix, prefix.outputs[0])
    digest = hashlib.sha256(f"{DECODING} {prefix.inputs[0].shape} {prefix.outputs[0].shape} {dtype}".encode())
    ignored = {"name", "trainable", "dtype", "seed"}
    for operation in _computed(prefix.operations):
        described = {key: value for key, value in operation.get_config().items() if key not in ignored}
        digest.update(f"{type(operation).__name__} {json.dumps(described, sort_keys=True, default=str)}".encode())
    for weight in prefix.weights:
        digest.update(np.ascontiguousarray(weight.numpy()).data)
    return digest.hexdigest()[:32]


def _computed(operations: Iterable[keras.Operation]) -> Iterator[keras.Operation]:
    """The operations, and in place of a model, such as a block of ConvNeXt, its own: its configuration has names."""
    for operation in operations:
        yield from _computed(operation.layers) if isinstance(operation, keras.Model) else (operation,)


def _lacking(
    cuts: Sequence[tuple[Cut, FeatureCache | StreamedFeatures]], keys: pd.Series, whole: bool
) -> npt.NDArray[np.bool_]:
    """Of each key, whether its features are wanted at each cut and are not stored; shape (keys, cuts).

    Args:
        whole: whether only what is in the local cache counts as stored there.
    """
    lacking = np.zeros((len(keys), len(cuts)), bool)
    for number, (cut, found) in enumerate(cuts):
        known = found if whole and isinstance(found, FeatureCache) else found.known()
        lacking[:, number] = keys.isin([key for key in cut.images["key"] if key not in known])
    return lacking


def row_dtype(model: keras.Model, cut: keras.KerasTensor) -> str:
    """What the features at a cut are stored as: pixels as they are decoded, all else in half precision."""
    return "uint8" if cut is model.inputs[0] else "float16"


class Prefix:
    """A network up to some of its tensors.

    Args:
        model: with one input, pixels.
        cuts: tensors of it.
        settings: of who computes it.
        count: of the images, about.
    """

    def __init__(
        self, model: keras.Model, cuts: Sequence[keras.KerasTensor], settings: ComputeSettings, count: int
    ) -> None:
        self.size = int(model.inputs[0].shape[1])
        self._dtypes = [row_dtype(model, cut) for cut in cuts]
        computed = [cut for cut in cuts if cut is not model.inputs[0]]
        self._network = FrozenNetwork(keras.Model(model.inputs, computed), settings, count) if computed else None

    def __call__(self, pixels: np.ndarray) -> list[np.ndarray]:
        """The features at each cut, as they are stored, shape (images, ...).

        Args:
            pixels: float32 of shape (images, size, size, 3), RGB values 0–255.
        """
        computed = iter(self._network(pixels) if self._network else ())
        return [(pixels if dtype == "uint8" else next(computed)).astype(dtype) for dtype in self._dtypes]


def _caches_with_room(
    model: keras.Model,
    cuts: Sequence[Cut],
    root: Path,
    settings: ComputeSettings,
) -> list[FeatureCache | StreamedFeatures | None]:
    """The cache of each cut; where budget or disk have no room for the rows that it lacks, the exchange's; or None."""
    room = settings.cache_budget_gb * 1e9 - sum(path.stat().st_size for path in root.rglob("*.npy"))
    room = min(room, free_bytes(root) - SPARE_BYTES)
    caches, remote = list[FeatureCache | StreamedFeatures | None](), remote_cache()
    there = room_in(remote) - SPARE_BYTES if remote else 0.0
    for cut in cuts:
        keys, shape = cut.images["key"].tolist(), tuple(cut.tensor.shape[1:])
        digest, dtype = prefix_digest(keras.Model(model.inputs, cut.tensor)), row_dtype(model, cut.tensor)
        row = np.dtype(dtype).itemsize * math.prod(shape)  # bytes
        shards = RemoteShards(remote, digest) if remote else None
        found = FeatureCache(root / digest, shards)
        needed, lacking = (sum(key not in rows for key in keys) * row for rows in (found, found.known()))
        lack = (
            f"{needed / 1e9:.1f} GB more are needed, {max(room, 0) / 1e9:.1f} GB are left of compute.cache_budget_gb = "
            f"{settings.cache_budget_gb:g} and of the disk of {root}"
        )
        if needed == 0 or needed <= room:
            room -= needed
            caches.append(found)
        elif shards and (lacking == 0 or lacking <= there):
            there -= lacking
            total = len(keys) * row / 1e9
            log.info("%.1f GB of features are streamed from %s in every epoch: %s", total, shards.store.url, lack)
            caches.append(StreamedFeatures(root / digest, shards, found.places(), shape, dtype))
        else:
            log.warning("the feature cache is full: %s; %s", lack, _way_out(remote, there))
            caches.append(None)
    return caches


def _further(progress: Progress, before: int, total: int, done: int) -> None:
    """Say that of all images those of earlier networks and `done` of the present one are finished."""
    progress(before + done, total)


def _way_out(remote: Store | None, there: float) -> str:
    """What happens without room for features, and how to make some."""
    images = "images are decoded, and their features computed, again in every epoch; raise compute.cache_budget_gb, or"
    if remote is None:
        return f"{images} set AGE_CACHE_REMOTE to stream features from a bucket or a shared disk"
    return f"{images} free space in {remote.url} (AGE_CACHE_REMOTE), which has room for {max(there, 0) / 1e9:.1f} GB"


def _sha256s(images: pd.DataFrame) -> dict[str, str]:
    """The sha256 of each image, by its file name."""
    return dict(zip(images["file_name"], images["sha256"], strict=True))


def _compute(
    model: keras.Model,
    cuts: Sequence[tuple[Cut, FeatureCache | StreamedFeatures]],
    images: pd.DataFrame,
    folder: ImageFolder,
    cache: Path,
    settings: ComputeSettings,
    progress: Callable[[int], None],
) -> None:
    """Run the images through the network up to the last cut and append the features of each, a shard at a time."""
    if any(isinstance(found, StreamedFeatures) for _, found in cuts):
        # A shard is then a random sample of a split, also of labels sorted by age; validation reads no training's.
        images = images.sort_values([column for column in ("split", "key") if column in images])
    # The augmentations of an image one after the other, since they are decoded together.
    images = images.iloc[np.argsort(pd.factorize(images["sha256"])[0], kind="stable")]
    prefix, rows = Prefix(model, [cut.tensor for cut, _ in cuts], settings, len(images)), min(ROWS, SHARD_ROWS)
    batches = untuned(decoded_images(images, folder, prefix.size).batch(rows).prefetch(2)).as_numpy_iterator()
    for start in range(0, len(images), SHARD_ROWS):
        shard = images.iloc[start : start + SHARD_ROWS]
        folder.fetch_all(shard["file_name"])
        outputs: list[list[np.ndarray]] = [[] for _ in cuts]  # of each cut, batch by batch
        for _ in range(-(-len(shard) // rows)):
            with timed("input"):  # what the network waits for: images are decoded while it computes
                batch = next(batches)
            keep_freed_memory()
            for collected, output in zip(outputs, prefix(batch), strict=True):
                collected.append(output)
            progress(start + sum(map(len, outputs[0])))
        # Cached features are never checked again.
        require_unchanged(folder, _sha256s(shard), partial(delete_probes, cache))
        for (_, found), collected in zip(cuts, outputs, strict=True):
            found.append(shard["key"].tolist(), np.concatenate(collected))
