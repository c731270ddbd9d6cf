"""The frozen-prefix feature cache: what the frozen part of a network makes of an image, computed once and kept.

    <cache>/features/<prefix digest>/<shard>.npy    float16 rows, memory-mapped when read
    <cache>/features/<prefix digest>/<shard>.json   the sha256 of the image behind each row; written last

A shard without its .json does not exist, so a crash leaves nothing that is believed, and several runs may append to
the same cache: each writes shards of its own.
"""

import hashlib
import json
import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from age_tasks.backbones import cut_point
from age_tasks.images import ImageFolder, load_rgb
from age_tasks.progress import Progress

log = logging.getLogger(__name__)

SHARD_ROWS = 512
BATCH = 32
DECODERS = 4
DECODING = "1"  # raise when images.load_rgb changes what it returns


class FeatureCache:
    """Rows of features by image content. Open it anew to see what others have added."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._shards: list[np.ndarray] = []
        self._rows: dict[str, tuple[int, int]] = {}
        for index in sorted(folder.glob("*.json")):
            self._adopt(index)

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self._rows

    def append(self, sha256s: Sequence[str], features: np.ndarray) -> None:
        """Keep features of shape (len(sha256s), ...); they become visible all at once."""
        self._folder.mkdir(parents=True, exist_ok=True)
        name = self._folder / uuid.uuid4().hex
        with name.with_suffix(".npy.tmp").open("wb") as file:
            np.save(file, features)
        name.with_suffix(".npy.tmp").rename(name.with_suffix(".npy"))
        name.with_suffix(".json.tmp").write_text(json.dumps(list(sha256s)))
        name.with_suffix(".json.tmp").rename(name.with_suffix(".json"))
        self._adopt(name.with_suffix(".json"))

    def rows(self, sha256s: Iterable[str]) -> np.ndarray:
        """The features of these images as float16, shape (images, ...), copied out of the mapped files.

        Raises:
            KeyError: an image that was never appended.
        """
        places = [self._rows[sha256] for sha256 in sha256s]
        return np.stack([self._shards[shard][row] for shard, row in places])

    def _adopt(self, index: Path) -> None:
        self._shards.append(np.load(index.with_suffix(".npy"), mmap_mode="r"))
        for row, sha256 in enumerate(json.loads(index.read_text())):
            self._rows.setdefault(sha256, (len(self._shards) - 1, row))


class FeatureBatches(keras.utils.PyDataset):
    """Batches of (features, ages) from the cache, read in the background, in an order that seed and epoch decide.

    Args:
        ages: years, in the order of `sha256s`.
        seed: shuffles anew each epoch; None keeps the order.
    """

    def __init__(
        self,
        cache: FeatureCache,
        sha256s: Sequence[str],
        ages: np.ndarray,
        batch_size: int,
        seed: int | None = None,
    ):
        super().__init__(workers=1, max_queue_size=8)
        self._cache, self._sha256s, self._ages = cache, np.asarray(sha256s), np.asarray(ages, dtype="float32")
        self._batch_size, self._seed, self._epoch = batch_size, seed, 0
        self._order = self._shuffled()

    def __len__(self) -> int:
        return -(-len(self._ages) // self._batch_size)

    def __getitem__(self, batch: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self._order[batch * self._batch_size : (batch + 1) * self._batch_size]
        return self._cache.rows(self._sha256s[chosen]).astype("float32"), self._ages[chosen]

    def on_epoch_end(self) -> None:
        self._epoch += 1
        self._order = self._shuffled()

    def _shuffled(self) -> np.ndarray:
        if self._seed is None:
            return np.arange(len(self._ages))
        return np.random.default_rng([self._seed, self._epoch]).permutation(len(self._ages))


def suffix_model(model: keras.Model, *, at: keras.KerasTensor) -> keras.Model:
    """From the tensor `at` to years; shares its layers with `model`, so that training one trains the other."""
    return keras.Model(at, model.outputs)


def cached_features(
    model: keras.Model,
    cuts: Sequence[keras.KerasTensor],
    images: pd.DataFrame,
    folder: ImageFolder,
    cache: Path,
) -> list[FeatureCache]:
    """The features of all images at each cut; those not in the cache are computed, each image read once.

    Args:
        cuts: tensors of `model` behind which nothing before them learns.
        images: columns `file_name` and `sha256`.
        cache: the root of the local cache.
    """
    caches = [FeatureCache(cache / "features" / prefix_digest(keras.Model(model.inputs, cut))) for cut in cuts]
    distinct = images.drop_duplicates("sha256")
    missing = distinct[[any(sha not in kept for kept in caches) for sha in distinct["sha256"]]]
    log.info("features: %d images in the cache, %d to compute", len(distinct) - len(missing), len(missing))
    if len(missing):
        size = model.inputs[0].shape[1]
        _compute(
            keras.Model(model.inputs, list(cuts)),
            missing,
            caches,
            lambda name: load_rgb(folder.path(name), size),
        )
    return caches


def predict(model: keras.Model, images: pd.DataFrame, folder: ImageFolder, cache: Path) -> np.ndarray:
    """The network's ages for the images in years, shape (images,): cached features through the part that learned."""
    cut = cut_point(model)
    (features,) = cached_features(model, [cut], images, folder, cache)
    batches = FeatureBatches(features, images["sha256"].tolist(), np.zeros(len(images)), BATCH)
    return suffix_model(model, at=cut).predict(batches, verbose=0).ravel()


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


def _compute(
    network: keras.Model,
    images: pd.DataFrame,
    caches: Sequence[FeatureCache],
    load: Callable[[str], np.ndarray],
) -> None:
    """Run the images through the network and append each output to its cache, a shard at a time."""
    forward = tf.function(lambda pixels: network(pixels, training=False), jit_compile=False)
    progress, done = Progress("frozen features"), 0
    for shard in range(0, len(images), SHARD_ROWS):
        part = images.iloc[shard : shard + SHARD_ROWS]
        rows: list[list[np.ndarray]] = [[] for _ in caches]
        for pixels in _decoded(part["file_name"].tolist(), load):
            for kept, output in zip(rows, tf.nest.flatten(forward(pixels)), strict=True):
                kept.append(output.numpy().astype("float16"))
            done += len(pixels)
            progress(done, len(images))
        for kept, features in zip(caches, rows, strict=True):
            kept.append(part["sha256"].tolist(), np.concatenate(features))


def _decoded(names: Sequence[str], load: Callable[[str], np.ndarray]) -> Iterator[np.ndarray]:
    """Float32 batches of pictures, decoded in parallel one batch ahead of the network."""
    batches = [names[start : start + BATCH] for start in range(0, len(names), BATCH)]
    with ThreadPoolExecutor(DECODERS) as pool:
        ahead = [pool.submit(load, name) for name in batches[0]]
        for following in [*batches[1:], []]:
            ready, ahead = ahead, [pool.submit(load, name) for name in following]
            yield np.stack([future.result() for future in ready]).astype("float32")
