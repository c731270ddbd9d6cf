"""The output of the frozen part of a network for each image, computed once and stored by `FeatureCache`.

Where nothing is frozen, these are the pixels.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras
import numpy as np
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
    cuts: Sequence[keras.KerasTensor],
    images: pd.DataFrame,
    folder: ImageFolder,
    cache: Path,
    settings: ComputeSettings,
    share: Share = WHOLE,
) -> Features:
    """The features of all images at each cut; those not in the cache are computed, and each image is read once.

    Whether the features fit is decided for all images, also where only those of a share are computed: so all shares,
    and the training after them, decide the same.

    Args:
        cuts: tensors of `model`; no layer before them is trained. At its input, the features are the pixels.
        images: columns `file_name`, `sha256`, `augmentation` (its number, see `data.augmentation`), and `split` where
            images of several are not read together.
        cache: the root of the local cache.
        share: of which images features are computed; other workers compute those of the others.

    Raises:
        LabelsError: an image that has to be read is not what it was in the snapshot.
    """
    numbers = zip(images["sha256"], images["augmentation"], strict=True)
    images = images.assign(key=[row_key(sha256, number) for sha256, number in numbers]).drop_duplicates("key")
    caches = _caches_with_room(model, cuts, images["key"].tolist(), features_folder(cache), settings)
    wanted = [(cut, found) for cut, found in zip(cuts, caches, strict=True) if found is not None]
    if share == WHOLE:
        for _, found in wanted:
            if isinstance(found, FeatureCache):
                found.fetch(images["key"])
    images = images[[share.holds(sha256) for sha256 in images["sha256"]]]
    local = FeatureCache if share == WHOLE else ()  # of these, only what is here counts
    known = [found if isinstance(found, local) else found.known() for _, found in wanted]
    missing = images[[any(key not in rows for rows in known) for key in images["key"]]]
    if any(isinstance(found, StreamedFeatures) for _, found in wanted):
        # A shard is then a random sample of a split, also of labels sorted by age; validation reads no training's.
        missing = missing.sort_values([column for column in ("split", "key") if column in missing])
    read_again = None in caches and share == WHOLE  # by the training
    require_unchanged(folder, _sha256s(images if read_again else missing), partial(delete_probes, cache))
    log.info("features: %d images in the cache, %d to compute", len(images) - len(missing), len(missing))
    if len(missing):
        prefix = Prefix(model, [cut for cut, _ in wanted], settings, len(missing))
        progress = Progress(share.counted("frozen features"))
        _compute(prefix, missing, [found for _, found in wanted], known, folder, cache, progress)
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
    for operation in prefix.operations:
        described = {key: value for key, value in operation.get_config().items() if key not in ignored}
        digest.update(f"{type(operation).__name__} {json.dumps(described, sort_keys=True, default=str)}".encode())
    for weight in prefix.weights:
        digest.update(np.ascontiguousarray(weight.numpy()).data)
    return digest.hexdigest()[:32]


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
    cuts: Sequence[keras.KerasTensor],
    keys: Sequence[str],
    root: Path,
    settings: ComputeSettings,
) -> list[FeatureCache | StreamedFeatures | None]:
    """The cache of each cut; where budget or disk have no room for the rows that it lacks, the exchange's; or None."""
    room = settings.cache_budget_gb * 1e9 - sum(path.stat().st_size for path in root.rglob("*.npy"))
    room = min(room, free_bytes(root) - SPARE_BYTES)
    caches, remote = list[FeatureCache | StreamedFeatures | None](), remote_cache()
    there = room_in(remote) - SPARE_BYTES if remote else 0.0
    for cut in cuts:
        digest, dtype = prefix_digest(keras.Model(model.inputs, cut)), row_dtype(model, cut)
        row = np.dtype(dtype).itemsize * int(np.prod(cut.shape[1:]))  # bytes
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
            caches.append(StreamedFeatures(root / digest, shards, found.places(), tuple(cut.shape[1:]), dtype))
        else:
            log.warning("the feature cache is full: %s; %s", lack, _way_out(remote, there))
            caches.append(None)
    return caches


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
    prefix: Prefix,
    images: pd.DataFrame,
    caches: Sequence[FeatureCache | StreamedFeatures],
    known: Sequence[Container[str]],
    folder: ImageFolder,
    cache: Path,
    progress: Progress,
) -> None:
    """Run the images through the prefix and append each of its outputs to its cache, a shard at a time.

    Args:
        known: of each cache the keys that it has: a worker that was killed may have added rows to some of the caches.
    """
    # The augmentations of an image one after the other, since they are decoded together.
    images = images.iloc[np.argsort(pd.factorize(images["sha256"])[0], kind="stable")]
    rows = min(ROWS, SHARD_ROWS)
    batches = untuned(decoded_images(images, folder, prefix.size).batch(rows).prefetch(2)).as_numpy_iterator()
    for start in range(0, len(images), SHARD_ROWS):
        shard = images.iloc[start : start + SHARD_ROWS]
        folder.fetch_all(shard["file_name"])
        outputs: list[list[np.ndarray]] = [[] for _ in caches]  # of each cut, batch by batch
        for _ in range(-(-len(shard) // rows)):
            with timed("input"):  # what the network waits for: images are decoded while it computes
                batch = next(batches)
            keep_freed_memory()
            for collected, output in zip(outputs, prefix(batch), strict=True):
                collected.append(output)
            progress(start + sum(map(len, outputs[0])), len(images))
        # Cached features are never checked again.
        require_unchanged(folder, _sha256s(shard), partial(delete_probes, cache))
        for features, had, collected in zip(caches, known, outputs, strict=True):
            new, rows_of_shard = [key not in had for key in shard["key"]], np.concatenate(collected)
            if any(new):
                features.append(shard["key"][new].tolist(), rows_of_shard if all(new) else rows_of_shard[new])
