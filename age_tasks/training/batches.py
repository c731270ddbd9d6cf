"""Batches for training and prediction: features from the cache or streamed from the exchange, or streamed images."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import tensorflow as tf

from age_tasks.data.image_folder import ImageFolder
from age_tasks.training.crops import ResidentPixels
from age_tasks.training.feature_cache import FeatureCache
from age_tasks.training.rows import RandomCrops, Rows, Targets
from age_tasks.training.streamed_features import StreamedFeatures
from age_tasks.training.streamed_images import StreamedImages
from age_tasks.training.streamed_shards import StreamedShards
from age_tasks.training.streams import Stream


class FeatureBatches(Stream):
    """Batches of (features, targets) from the cache; seed and epoch determine their order.

    With weights, batches of (features, targets, weights).

    Args:
        cache: of the features, or pixels on the device.
        table, targets, seed, augmentations, crops: see `Rows`.
    """

    def __init__(
        self,
        cache: FeatureCache | ResidentPixels,
        table: pd.DataFrame,
        batch_size: int,
        targets: Targets,
        seed: int | None = None,
        augmentations: int = 1,
        crops: RandomCrops | None = None,
    ) -> None:
        super().__init__(Rows(table, targets, seed, augmentations, crops), batch_size)
        self._cache = cache

    def _batches(self) -> tf.data.Dataset:
        like = self._batch(np.arange(1), *self._rows.epoch(0)[1:])
        signature = tf.nest.map_structure(lambda array: tf.TensorSpec((None, *array.shape[1:]), array.dtype), like)
        return tf.data.Dataset.from_generator(self._read, output_signature=signature)

    def _read(self) -> Iterator[tuple[Any, ...]]:
        order, drawn = self._rows.epoch(self._epoch)
        for batch in range(self.count):
            yield self._batch(order[batch * self._batch_size : (batch + 1) * self._batch_size], drawn)

    def _batch(self, chosen: np.ndarray, drawn: np.ndarray) -> tuple[Any, ...]:
        rows, beside = self._cache.rows(self._rows.keys(chosen, drawn)), self._beside(chosen)
        if self._boxes is None:
            return rows.astype("float32"), *beside
        return (rows, beside[0]), *beside[1:]


Network: TypeAlias = Callable[[np.ndarray], Sequence[np.ndarray]]


@dataclass(frozen=True)
class Source:
    """Where a network's inputs come from.

    Args:
        features: the features that the network starts from, or None: then it starts from pixels.
        folder: of the images.
        size: side of the images in pixels.
        crops: of the pixels that the network starts from.
    """

    features: FeatureCache | ResidentPixels | StreamedFeatures | None
    folder: ImageFolder
    size: int
    crops: RandomCrops | None = None

    def batches(
        self, table: pd.DataFrame, batch_size: int, targets: Targets, seed: int | None = None, augmentations: int = 1
    ) -> Stream:
        """Batches of the rows of `table`, which has a column `file_name` too; further arguments as for `Rows`."""
        if isinstance(self.features, FeatureCache | ResidentPixels):
            return FeatureBatches(self.features, table, batch_size, targets, seed, augmentations, self.crops)
        rows = Rows(table, targets, seed, augmentations, self.crops)
        if self.features is None:
            return StreamedImages(rows, batch_size, self.folder, self.size)
        return StreamedShards(rows, batch_size, self.features)

    def predict(self, network: Network, table: pd.DataFrame, batch_size: int) -> list[np.ndarray]:
        """The outputs of a network for the rows of a table, in their order, in whatever order they are read.

        Args:
            network: from a batch of inputs to its outputs.
            table: columns `file_name`, `sha256`, `augmentation`.

        Raises:
            AgeTasksError: a row can't be read.
        """
        batches = self.batches(table.assign(real_age=0.0), batch_size, np.asarray)
        with batches.own_errors():
            found = _outputs(network, batches.dataset.as_numpy_iterator())
        back = np.argsort(batches.order)
        return [output[back] for output in found]


def _outputs(network: Network, batches: Iterable[tuple[Any, ...]]) -> list[np.ndarray]:
    """Each output of the network for all batches of (inputs, targets)."""
    return [np.concatenate(parts) for parts in zip(*(network(inputs) for inputs, *_ in batches), strict=True)]
