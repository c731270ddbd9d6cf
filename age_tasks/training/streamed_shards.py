"""Batches of features that are read from the exchange in every epoch, shard by shard."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from age_tasks.training.rows import Rows
from age_tasks.training.streamed_features import StreamedFeatures
from age_tasks.training.streams import Stream

IN_MEMORY = 800_000_000  # bytes of shards, whatever the number of images
FEWEST, MOST = 4, 16  # shards in memory

_SHARD = (
    tf.TensorSpec((), tf.string, "name"),
    tf.TensorSpec((None,), tf.string, "keys"),
    tf.TensorSpec((None,), tf.int64, "numbers"),
)


class StreamedShards(Stream):
    """Batches of features; each shard with rows of an epoch is read once in it, and dropped.

    With a seed, the order of the shards is random, and that of the rows in each; rows are taken from several shards in
    turn, while as many others are being read. Without one, shards and rows come in the order in which the table first
    needs them. Of `augmentations` an epoch reads all, and uses one.

    Args:
        rows: see `Rows`.
        features: that hold them.
    """

    def __init__(self, rows: Rows, batch_size: int, features: StreamedFeatures) -> None:
        super().__init__(rows, batch_size)
        self._features = features
        self._at_once = int(np.clip(IN_MEMORY // features.shard_bytes, FEWEST, MOST)) // 2

    @property
    def order(self) -> np.ndarray:
        """See `Stream`."""
        return np.array(self._features.reading_order(self._keys(self._rows.epoch(0)[1])))

    def _batches(self) -> tf.data.Dataset:
        shards = tf.data.Dataset.from_generator(self._shards, output_signature=_SHARD)
        # Read ahead before the interleave, not by it: of its own it would keep three times as many shards.
        read = shards.map(self._read, num_parallel_calls=self._at_once, deterministic=True)
        in_turn = 1 if self._rows.seed is None else self._at_once
        rows = read.interleave(lambda *rows: tf.data.Dataset.from_tensor_slices(rows), cycle_length=in_turn)
        return self._answered(rows)

    def _shards(self) -> Iterator[tuple[str, list[str], np.ndarray]]:
        """The shards of an epoch: of each its name, and of the rows that it has to give keys and numbers."""
        order, drawn = self._rows.epoch(self._epoch)
        keys = self._keys(drawn)
        found = list(self._features.by_shard(keys, order).items())
        if self._rows.seed is not None:
            shuffled = np.random.default_rng([self._rows.seed, self._epoch, len(found)]).permutation(len(found))
            found = [found[number] for number in shuffled]
        for name, numbers in found:
            yield name, [keys[number] for number in numbers], np.array(numbers)

    def _keys(self, drawn: np.ndarray) -> list[str]:
        return self._rows.keys(range(len(self._rows)), drawn)

    def _read(self, name: tf.Tensor, keys: tf.Tensor, numbers: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        def read(name: bytes, keys: np.ndarray) -> np.ndarray:
            with self._noted():
                return self._features.read(name.decode(), [key.decode() for key in keys])

        rows = tf.numpy_function(read, [name, keys], tf.as_dtype(self._features.dtype), stateful=False)
        return tf.ensure_shape(rows, (None, *self._features.shape)), numbers
