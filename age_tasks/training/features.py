"""The output of the frozen part of a network for each image, computed once and stored by `FeatureCache`."""

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from age_tasks.config import ComputeSettings
from age_tasks.data.augmentation import load_augmented
from age_tasks.data.image_folder import ImageFolder, require_unchanged
from age_tasks.progress import Progress
from age_tasks.store.disk import free_bytes
from age_tasks.training.feature_cache import FeatureCache, row_key
from age_tasks.training.hardware import gpus, keep_freed_memory, use_xla

log = logging.getLogger(__name__)

SHARD_ROWS = 512
GPU_BATCH = 64
CPU_BATCH = 8  # its intermediate results stay in the processor's cache: 15 ms an image, against 21 in batches of 32
SPARE_BYTES = 1_000_000_000  # of the disk, left to what else is written: pictures, unfinished trainings
DECODING = "1"  # raise when images.load_rgb changes what it returns


def cached_features(
    model: keras.Model,
    cuts: Sequence[keras.KerasTensor],
    pictures: pd.DataFrame,
    folder: ImageFolder,
    cache: Path,
    settings: ComputeSettings,
) -> list[FeatureCache | None]:
    """The features of all pictures at each cut; those not in the cache are computed, each picture read once.

    Args:
        cuts: tensors of `model` behind which nothing before them learns.
        pictures: columns `file_name`, `sha256`, `view`.
        cache: the root of the local cache.

    Returns:
        A cache for each cut; None for a cut whose features would not fit into `cache_budget_gb`, or on the disk.

    Raises:
        LabelsError: a picture that has to be read is not what it was in the snapshot.
    """
    keys = [row_key(sha256, view) for sha256, view in zip(pictures["sha256"], pictures["view"], strict=True)]
    pictures = pictures.assign(key=keys).drop_duplicates("key")
    root = cache / "features"
    room = settings.cache_budget_gb * 1e9 - sum(path.stat().st_size for path in root.rglob("*.npy"))
    room = min(room, free_bytes(root) - SPARE_BYTES)
    found: list[FeatureCache | None] = []
    for cut in cuts:
        kept = FeatureCache(root / prefix_digest(keras.Model(model.inputs, cut)))
        needed = sum(key not in kept for key in pictures["key"]) * 2 * int(np.prod(cut.shape[1:]))
        fits = needed == 0 or needed <= room
        if not fits:
            log.warning(
                "the feature cache is full: %.1f GB more are needed, %.1f GB are left of compute.cache_budget_gb = %g "
                "and of the disk of %s; these features are computed again in every epoch",
                needed / 1e9,
                max(room, 0) / 1e9,
                settings.cache_budget_gb,
                root,
            )
        room -= needed * fits
        found.append(kept if fits else None)
    wanted = [(cut, kept) for cut, kept in zip(cuts, found, strict=True) if kept is not None]
    missing = pictures[[any(key not in kept for _, kept in wanted) for key in pictures["key"]]]
    require_unchanged(folder, _sha256s(pictures if None in found else missing))
    log.info("features: %d pictures in the cache, %d to compute", len(pictures) - len(missing), len(missing))
    if len(missing):
        network = keras.Model(model.inputs, [cut for cut, _ in wanted])
        _compute(network, missing, [kept for _, kept in wanted], folder, settings)
    return found


def pixels(pictures: pd.DataFrame, folder: ImageFolder, size: int) -> tf.data.Dataset:
    """The pictures one by one, decoded in parallel ahead of their use, JPEG at the smallest scale that will do.

    Args:
        pictures: columns `file_name`, `sha256`, `view`.

    Returns:
        float32 tensors of shape (size, size, 3), RGB values 0–255, in the order of `pictures`.
    """
    names, sha256s = (pictures[column].to_numpy(dtype="str") for column in ("file_name", "sha256"))
    slices = (names, pictures["view"].to_numpy(dtype="int64"), sha256s)
    decode = decoder(folder, size)
    return tf.data.Dataset.from_tensor_slices(slices).map(decode, num_parallel_calls=tf.data.AUTOTUNE)


def decoder(folder: ImageFolder, size: int):
    """A function of (file name, view, sha256) for `tf.data.Dataset.map`; see `pixels`."""

    def load(name: bytes, view: np.int64, sha256: bytes) -> np.ndarray:
        return load_augmented(folder.path(name.decode()), size, int(view), sha256.decode())

    def decode(name: tf.Tensor, view: tf.Tensor, sha256: tf.Tensor) -> tf.Tensor:
        picture = tf.numpy_function(load, [name, view, sha256], tf.uint8, stateful=False)
        return tf.cast(tf.ensure_shape(picture, (size, size, 3)), tf.float32)

    return decode


def prefix_digest(prefix: keras.Model) -> str:
    """What the prefix computes, as a name: its operations, weights, input size and how images are decoded."""
    digest = hashlib.sha256(f"{DECODING} {prefix.inputs[0].shape} {prefix.outputs[0].shape} float16".encode())
    ignored = {"name", "trainable", "dtype", "seed"}
    for operation in prefix.operations:
        described = {key: value for key, value in operation.get_config().items() if key not in ignored}
        digest.update(f"{type(operation).__name__} {json.dumps(described, sort_keys=True, default=str)}".encode())
    for weight in prefix.weights:
        digest.update(np.ascontiguousarray(weight.numpy()))
    return digest.hexdigest()[:32]


def _sha256s(pictures: pd.DataFrame) -> dict[str, str]:
    return dict(zip(pictures["file_name"], pictures["sha256"], strict=True))


def _compute(
    network: keras.Model,
    pictures: pd.DataFrame,
    caches: Sequence[FeatureCache],
    folder: ImageFolder,
    settings: ComputeSettings,
) -> None:
    """Run the pictures through the network and append each output to its cache, a shard at a time."""
    forward = tf.function(
        lambda batch: tf.nest.flatten(network([batch], training=False)),
        jit_compile=use_xla(settings.xla),
    )
    size = GPU_BATCH if gpus() else CPU_BATCH
    batches = pixels(pictures, folder, network.inputs[0].shape[1]).batch(size).prefetch(4).as_numpy_iterator()
    progress = Progress("frozen features")
    for start in range(0, len(pictures), SHARD_ROWS):
        keys = pictures["key"].iloc[start : start + SHARD_ROWS].tolist()
        rows: list[list[np.ndarray]] = [[] for _ in caches]
        for done, batch in _filled(batches, -(-len(keys) // size), size):
            for kept, output in zip(rows, forward(batch), strict=True):
                kept.append(output.numpy()[:done].astype("float16"))
            progress(start + sum(map(len, rows[0])), len(pictures))
        require_unchanged(folder, _sha256s(pictures.iloc[start : start + SHARD_ROWS]))  # what is kept is kept for ever
        for kept, features in zip(caches, rows, strict=True):
            kept.append(keys, np.concatenate(features))


def _filled(batches: Iterator[np.ndarray], count: int, size: int) -> Iterator[tuple[int, np.ndarray]]:
    """The next batches, filled up to one size, so that nothing is compiled twice; with the number of true pictures."""
    for _ in range(count):
        batch = next(batches)
        keep_freed_memory()
        yield len(batch), np.pad(batch, ((0, size - len(batch)), (0, 0), (0, 0), (0, 0)))
