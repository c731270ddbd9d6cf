"""Batches for training and prediction: features from the cache, or images streamed from their files."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from age_tasks.data.image_folder import ImageFolder
from age_tasks.training.feature_cache import FeatureCache, row_key
from age_tasks.training.features import decoder

# From ages in years, float32 of shape (batch,), to what the outputs of a network are compared with.
Targets = Callable[[np.ndarray], np.ndarray | dict[str, np.ndarray]]


class FeatureBatches(keras.utils.PyDataset):
    """Batches of (features, targets) from the cache, read in the background; seed and epoch determine their order.

    With weights, batches of (features, targets, weights).

    Args:
        table: columns `sha256`, `real_age` (years), `augmentation` where it is not 0, and `weight` where it is not 1.
        targets: from ages to what the outputs are compared with.
        seed: of the order, another one in each epoch; None keeps the order of the table.
        augmentations: number of cached augmentations; one is drawn at random per image and epoch.
    """

    def __init__(
        self,
        cache: FeatureCache,
        table: pd.DataFrame,
        batch_size: int,
        targets: Targets,
        seed: int | None = None,
        augmentations: int = 1,
    ) -> None:
        super().__init__(workers=1, max_queue_size=8)
        self._cache, self._targets, self._batch_size = cache, targets, batch_size
        self._sha256s, self._ages = table["sha256"].tolist(), table["real_age"].to_numpy("float32")
        self._given, self._weights = _given_augmentations(table), _weights(table)
        self._seed, self._augmentations = seed, augmentations
        self.start_at(0)

    def start_at(self, epoch: int) -> None:
        """Take the order and the augmentations of this epoch, counted from 0."""
        self._epoch, count = epoch, len(self._ages)
        self._order, self._drawn = np.arange(count), self._given
        if self._seed is not None:
            rng = np.random.default_rng([self._seed, epoch])
            self._order = rng.permutation(count)
            if self._augmentations > 1:
                self._drawn = rng.integers(self._augmentations, size=count)

    def __len__(self) -> int:
        return -(-len(self._ages) // self._batch_size)

    def __getitem__(self, batch: int) -> tuple[Any, ...]:
        chosen = self._order[batch * self._batch_size : (batch + 1) * self._batch_size]
        keys = [row_key(self._sha256s[row], self._drawn[row]) for row in chosen]
        targets = self._targets(self._ages[chosen])
        weights = () if self._weights is None else (_for_each_output(targets, self._weights[chosen]),)
        return self._cache.rows(keys).astype("float32"), targets, *weights

    def on_epoch_end(self) -> None:
        """Go on to the next epoch's order."""
        self.start_at(self._epoch + 1)


Batches: TypeAlias = FeatureBatches | tf.data.Dataset


@dataclass(frozen=True)
class Source:
    """Where a network's inputs come from.

    Args:
        features: the cached features that the network starts from, or None: then it starts from pixels.
        folder: of the images.
        size: side of the images in pixels.
    """

    features: FeatureCache | None
    folder: ImageFolder
    size: int

    def batches(
        self, table: pd.DataFrame, batch_size: int, targets: Targets, seed: int | None = None, augmentations: int = 1
    ) -> Batches:
        """Batches of the rows of `table`; arguments as for `FeatureBatches`."""
        if self.features is None:
            return streamed_batches(table, self.folder, self.size, batch_size, targets, seed, augmentations)
        return FeatureBatches(self.features, table, batch_size, targets, seed, augmentations)


def streamed_batches(
    table: pd.DataFrame,
    folder: ImageFolder,
    size: int,
    batch_size: int,
    targets: Targets,
    seed: int | None = None,
    augmentations: int = 1,
) -> tf.data.Dataset:
    """Batches of (pixels, targets) and weights, decoded from the files in every epoch; as for `FeatureBatches`.

    Args:
        table: the column `file_name` too.
        size: side of the images in pixels.
    """
    names, sha256s = (table[column].to_numpy(dtype="str") for column in ("file_name", "sha256"))
    ages = table["real_age"].to_numpy("float32")
    wanted, weights = targets(ages), _weights(table)
    weighted = (wanted,) if weights is None else (wanted, _for_each_output(wanted, weights))
    rows = tf.data.Dataset.from_tensor_slices((names, _given_augmentations(table), sha256s, weighted))
    if seed is not None:
        rows = rows.shuffle(len(table), seed=seed, reshuffle_each_iteration=True)
    draws = tf.data.Dataset.random(seed=seed or 0, rerandomize_each_iteration=True)
    decode = decoder(folder, size)

    def load(row: tuple[Any, ...], draw: tf.Tensor) -> tuple[Any, ...]:
        name, given, sha256, target_and_weight = row
        return decode(name, draw % augmentations if augmentations > 1 else given, sha256), *target_and_weight

    pairs = tf.data.Dataset.zip(rows, draws)
    return pairs.map(load, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size).prefetch(tf.data.AUTOTUNE)


def _weights(table: pd.DataFrame) -> np.ndarray | None:
    """The weight of each row, float32 of shape (rows,); None if all count alike."""
    return table["weight"].to_numpy("float32") if "weight" in table else None


def _for_each_output(targets: Any, weights: np.ndarray) -> Any:
    """The weights as Keras takes them: once for each output that has a target of its own."""
    return dict.fromkeys(targets, weights) if isinstance(targets, dict) else weights


def _given_augmentations(table: pd.DataFrame) -> np.ndarray:
    """The augmentation of each row, where none is drawn at random; int64 of shape (rows,)."""
    return table["augmentation"].to_numpy("int64") if "augmentation" in table else np.zeros(len(table), "int64")
