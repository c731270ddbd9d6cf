"""Batches of what is read in every epoch, by tf.data, while the network computes."""

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from age_tasks.errors import AgeTasksError
from age_tasks.training.hardware import untuned
from age_tasks.training.rows import Rows

AHEAD = 8  # batches that are read before the network takes them


class Stream(ABC):
    """Batches of (inputs, targets), or (inputs, targets, weights).

    Inputs are float32; of rows with random crops, (pixels as uint8, or what stands for them, and boxes).

    Args:
        rows: each of which comes once in a pass.
        batch_size: in rows.
    """

    def __init__(self, rows: Rows, batch_size: int) -> None:
        self._rows, self._batch_size = rows, batch_size
        self._failure: AgeTasksError | None = None
        self.waited = 0.0  # seconds that whoever takes the batches has waited for them, in all passes
        self.start_at(0)

    def start_at(self, epoch: int) -> None:
        """Let the passes that begin from now on have order, augmentations and crops of an epoch, counted from 0."""
        self._epoch, self._boxes = epoch, self._rows.boxes(epoch)

    @property
    def count(self) -> int:
        """The number of batches in a pass."""
        return -(-len(self._rows) // self._batch_size)

    @property
    def order(self) -> np.ndarray:
        """The rows of the table in the order in which they come, if they are not shuffled; int64 of shape (rows,)."""
        return np.arange(len(self._rows))

    @abstractmethod
    def _batches(self) -> tf.data.Dataset:
        """The batches, as they are read."""

    @property
    def dataset(self) -> tf.data.Dataset:
        """The batches, for Keras."""
        counted = self._batches().apply(tf.data.experimental.assert_cardinality(self.count))
        return untuned(self._timed(counted.prefetch(AHEAD)))

    def _timed(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        """The batches; `waited` grows by the time from the moment when each is asked for to that when it is there."""
        asked = tf.data.Dataset.counter().map(lambda _: tf.timestamp())

        def note(asked: np.float64) -> None:
            self.waited += max(time.time() - float(asked), 0.0)

        def noted(asked: tf.Tensor, batch: Any) -> Any:
            tf.numpy_function(note, [asked], [])
            return batch

        return tf.data.Dataset.zip((asked, batches)).map(noted)

    @contextlib.contextmanager
    def own_errors(self) -> Iterator[None]:
        """Raise what went wrong while rows were read, in place of what TensorFlow makes of it.

        Raises:
            AgeTasksError: a row can't be read.
        """
        try:
            yield
        except tf.errors.OpError:
            if self._failure is None:
                raise
            raise self._failure from None

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        """Note an error for `own_errors`."""
        try:
            yield
        except AgeTasksError as error:
            self._failure = error
            raise

    def _answered(self, rows: tf.data.Dataset) -> tf.data.Dataset:
        """Batches of rows, of each of which come its inputs and its number in the table."""
        return rows.batch(self._batch_size).map(self._with_answers)

    def _with_answers(self, inputs: tf.Tensor, chosen: tf.Tensor) -> tuple[Any, ...]:
        like = self._beside(np.arange(0))

        def beside(chosen: np.ndarray) -> list[np.ndarray]:
            return list(tf.nest.flatten(self._beside(chosen)))

        flat = tf.numpy_function(beside, [chosen], [each.dtype for each in tf.nest.flatten(like)], stateful=False)
        shaped = [
            tf.ensure_shape(found, (None, *each.shape[1:]))
            for found, each in zip(flat, tf.nest.flatten(like), strict=True)
        ]
        found = tf.nest.pack_sequence_as(like, shaped)
        if self._boxes is None:
            return tf.cast(inputs, tf.float32), *found
        return (tf.cast(inputs, tf.uint8), found[0]), *found[1:]

    def _beside(self, chosen: np.ndarray) -> tuple[Any, ...]:
        """What comes with the inputs of some rows: boxes, where there are some, and answers."""
        boxes = () if self._boxes is None else (self._boxes[chosen],)
        return *boxes, *self._rows.answers(chosen)


class StartEpoch(keras.callbacks.Callback):
    """Tells a stream the epoch that begins: Keras may begin passes that it does not finish, so counting them is no way.

    Args:
        batches: of the training.
    """

    def __init__(self, batches: Stream) -> None:
        super().__init__()
        self._batches = batches

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Let the pass of this epoch have its order."""
        self._batches.start_at(epoch)
