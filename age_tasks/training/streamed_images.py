"""Batches of images that are decoded anew in every epoch; those of a bucket are fetched ahead, in parallel."""

from collections.abc import Iterator

import tensorflow as tf

from age_tasks.data.image_folder import ImageFolder
from age_tasks.training.features import decoder
from age_tasks.training.hardware import cores
from age_tasks.training.rows import Rows
from age_tasks.training.streams import Stream

_ROW = (
    tf.TensorSpec((), tf.string, "file_name"),
    tf.TensorSpec((), tf.int64, "augmentation"),
    tf.TensorSpec((), tf.string, "sha256"),
    tf.TensorSpec((), tf.int64, "number"),
)


class StreamedImages(Stream):
    """Batches of pixels, RGB values 0–255, in the order that `FeatureBatches` would have.

    Args:
        rows: of a table with the column `file_name` too.
        folder: of the images.
        size: side of the images in pixels.
    """

    def __init__(self, rows: Rows, batch_size: int, folder: ImageFolder, size: int) -> None:
        super().__init__(rows, batch_size)
        self._folder, self._size = folder, size

    def _batches(self) -> tf.data.Dataset:
        decode = decoder(self._folder, self._size)
        rows = tf.data.Dataset.from_generator(self._fetched, output_signature=_ROW).map(
            lambda name, augmentation, sha256, number: (decode(name, augmentation, sha256), number),
            num_parallel_calls=cores(),
            deterministic=True,
        )
        return self._answered(rows)

    def _fetched(self) -> Iterator[tuple[str, int, str, int]]:
        """The rows, each when its file is at hand: a bounded number of others is being fetched meanwhile."""
        order, drawn = self._rows.epoch(self._epoch)
        names, sha256s = (self._rows.table[column].to_numpy() for column in ("file_name", "sha256"))
        with self._noted():
            for number, name in zip(order, self._folder.fetched(names[order]), strict=True):
                yield name, drawn[number], sha256s[number], number
