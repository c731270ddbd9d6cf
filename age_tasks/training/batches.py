"""Batches of training and prediction: features from the cache, or pictures streamed from their files."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from age_tasks.data.image_folder import ImageFolder
from age_tasks.training.feature_cache import FeatureCache, row_key
from age_tasks.training.features import decoder

Targets = Callable[[np.ndarray], Any]


class FeatureBatches(keras.utils.PyDataset):
    """Batches of (features, targets) from the cache, read in the background, in an order that seed and epoch decide.

    Args:
        table: columns `sha256`, `real_age` (years), and `view` where it is not 0.
        targets: from ages, float32 of shape (batch,), to what the outputs are compared with.
        seed: shuffles anew each epoch; None keeps the order.
        views: of each picture one of so many, by lot.
    """

    def __init__(
        self,
        cache: FeatureCache,
        table: pd.DataFrame,
        batch_size: int,
        targets: Targets,
        seed: int | None = None,
        views: int = 1,
    ) -> None:
        super().__init__(workers=1, max_queue_size=8)
        self._cache, self._targets, self._batch_size = cache, targets, batch_size
        self._sha256s, self._ages = table["sha256"].tolist(), table["real_age"].to_numpy("float32")
        self._fixed = _fixed_views(table)
        self._seed, self._views = seed, views
        self.start_at(0)

    def start_at(self, epoch: int) -> None:
        """Take the order of this epoch, counted from 0."""
        self._epoch, count = epoch, len(self._ages)
        self._order, self._view = np.arange(count), self._fixed
        if self._seed is not None:
            rng = np.random.default_rng([self._seed, epoch])
            self._order = rng.permutation(count)
            self._view = rng.integers(self._views, size=count) if self._views > 1 else self._fixed

    def __len__(self) -> int:
        return -(-len(self._ages) // self._batch_size)

    def __getitem__(self, batch: int) -> tuple[np.ndarray, Any]:
        chosen = self._order[batch * self._batch_size : (batch + 1) * self._batch_size]
        keys = [row_key(self._sha256s[row], self._view[row]) for row in chosen]
        return self._cache.rows(keys).astype("float32"), self._targets(self._ages[chosen])

    def on_epoch_end(self) -> None:
        self.start_at(self._epoch + 1)


def streamed_batches(
    table: pd.DataFrame,
    folder: ImageFolder,
    size: int,
    batch_size: int,
    targets: Targets,
    seed: int | None = None,
    views: int = 1,
) -> tf.data.Dataset:
    """Batches of (pixels, targets) decoded from the files anew each time; arguments as for `FeatureBatches`.

    Args:
        size: side of the pictures in pixels.
    """
    names, sha256s = (table[column].to_numpy(dtype="str") for column in ("file_name", "sha256"))
    ages = table["real_age"].to_numpy("float32")
    rows = tf.data.Dataset.from_tensor_slices((names, _fixed_views(table), sha256s, targets(ages)))
    if seed is not None:
        rows = rows.shuffle(len(table), seed=seed, reshuffle_each_iteration=True)
    lots = tf.data.Dataset.random(seed=seed or 0, rerandomize_each_iteration=True)
    decode = decoder(folder, size)

    def load(row: tuple, lot: tf.Tensor) -> tuple:
        name, view, sha256, target = row
        return decode(name, lot % views if views > 1 else view, sha256), target

    pairs = tf.data.Dataset.zip(rows, lots)
    return pairs.map(load, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size).prefetch(tf.data.AUTOTUNE)


def _fixed_views(table: pd.DataFrame) -> np.ndarray:
    """The view of each row, where none is drawn by lot."""
    return table["view"].to_numpy("int64") if "view" in table else np.zeros(len(table), "int64")
