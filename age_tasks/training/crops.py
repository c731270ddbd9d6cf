"""Random crops of images, cut out by the device that trains: part of the learner, never of the saved model."""

import logging
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from age_tasks.config import ComputeSettings
from age_tasks.training.feature_cache import FeatureCache
from age_tasks.training.hardware import gpus, use_xla
from age_tasks.training.streamed_features import StreamedFeatures

log = logging.getLogger(__name__)

MOST_RESIDENT = 4_000_000_000  # bytes of pixels in the memory of a GPU: 26,000 images of 224 pixels


class ResidentPixels:
    """Rows of pixels in the memory of a device, each once; batches then consist of their numbers.

    Args:
        cache: that holds them.
        keys: of the rows, see `row_key`.
        device: its name.
    """

    def __init__(self, cache: FeatureCache, keys: Sequence[str], device: str) -> None:
        self._numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        with tf.device(device):
            self.pixels = tf.constant(cache.rows(self._numbers))

    def rows(self, keys: Sequence[str]) -> np.ndarray:
        """The number of the row of each key, int64 of shape (keys,)."""
        return np.array([self._numbers[key] for key in keys], "int64")


def resident_pixels(
    cache: FeatureCache | ResidentPixels | StreamedFeatures | None,
    keys: Sequence[str],
    size: int,
    settings: ComputeSettings,
) -> ResidentPixels | None:
    """The pixels of these keys on the GPU; None where they do not fit, or batches of them have to be sent.

    That is without a GPU, with several, and without XLA: TensorFlow alone takes rows of bytes on a CPU only.

    Args:
        size: side of the images in pixels.
    """
    needed = len(set(keys)) * size * size * 3
    if not isinstance(cache, FeatureCache) or len(gpus()) != 1 or not use_xla(settings.xla) or needed > MOST_RESIDENT:
        return None
    log.info("%.1f GB of pixels are kept on the GPU", needed / 1e9)
    return ResidentPixels(cache, keys, gpus()[0])


def with_crops(learner: keras.Model, resident: ResidentPixels | None = None) -> keras.Model:
    """A model that cuts boxes out of images, and gives them to the learner; it has the learner's outputs and weights.

    Args:
        learner: its input is pixels.
        resident: where the pixels are, if batches consist of their numbers.

    Returns:
        Inputs: uint8 of shape (batch, size, size, 3), or int64 of shape (batch,); and boxes, see `RandomCrops`.
    """
    shape = learner.inputs[0].shape[1:]
    images = keras.Input(shape, dtype="uint8") if resident is None else keras.Input((), dtype="int64")
    boxes = keras.Input((4,))
    outputs = learner(_Crops(resident)(images, boxes))
    if isinstance(outputs, dict):  # by whose names losses are given
        outputs = {name: keras.layers.Identity(name=name, dtype="float32")(each) for name, each in outputs.items()}
    return keras.Model([images, boxes], outputs)


class _Crops(keras.layers.Layer):
    def __init__(self, resident: ResidentPixels | None) -> None:
        super().__init__(dtype="float32", autocast=False)
        self._pixels = None if resident is None else resident.pixels

    def call(self, images: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
        return cut_out(images if self._pixels is None else tf.gather(self._pixels, images), boxes)


def cut_out(pixels: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
    """A box of each image, scaled to the size of the image by bilinear interpolation.

    The box of the whole image gives its pixels, and that with the sides exchanged its mirror, to the last bit.

    Args:
        pixels: of shape (batch, size, size, 3).
        boxes: float32 of shape (batch, 4), see `RandomCrops.boxes`.

    Returns:
        float32 of the shape of the pixels.
    """
    top, left, bottom, right = tf.unstack(boxes, axis=1)
    return _scaled(_scaled(tf.cast(pixels, tf.float32), top, bottom, axis=1), left, right, axis=2)


def _scaled(pixels: tf.Tensor, start: tf.Tensor, end: tf.Tensor, axis: int) -> tf.Tensor:
    """What lies between start and end, fractions of an axis, on all of that axis."""
    size = pixels.shape[axis]
    centres = tf.range(size, dtype=tf.float32) + 0.5
    places = tf.clip_by_value(start[:, None] * size + centres * (end - start)[:, None] - 0.5, 0, size - 1)
    before = tf.cast(places, tf.int32)
    after = tf.minimum(before + 1, size - 1)
    between = places - tf.cast(before, tf.float32)
    between = between[:, :, None, None] if axis == 1 else between[:, None, :, None]
    low, high = (tf.gather(pixels, each, axis=axis, batch_dims=1) for each in (before, after))
    return low + (high - low) * between
