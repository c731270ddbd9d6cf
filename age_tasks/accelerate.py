"""What the machine at hand can do to train faster: XLA, mixed precision, several GPUs, memory that is kept."""

import contextlib
import ctypes
from functools import cache
from typing import Literal

import keras
import tensorflow as tf

from age_tasks.backbones import EXPECTED_AGE, SHARES, YEARS

Switch = Literal["auto", "always", "never"]
_ALWAYS_FLOAT32 = {YEARS, SHARES, EXPECTED_AGE}  # an age in half precision is off by up to a month


def gpus() -> list[str]:
    return [device.name for device in tf.config.list_logical_devices("GPU")]


def use_xla(setting: Switch, model: keras.Model) -> bool:
    """Whether to compile with XLA; `auto`: on a GPU always, on a CPU unless the network has depthwise convolutions.

    On two CPU cores XLA took a prefix of ResNet50 from 67 to 52 ms an image, and that of EfficientNet-Lite0, which is
    depthwise, from 23.5 to 153.
    """
    if setting != "auto":
        return setting == "always"
    depthwise = (keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
    return bool(gpus()) or not any(isinstance(layer, depthwise) for layer in model.layers)


def use_mixed_precision(setting: Switch) -> bool:
    """Whether to compute in float16 and keep weights in float32; `auto`: on a GPU."""
    return setting == "always" or (setting == "auto" and bool(gpus()))


class KeepFreedMemory(keras.callbacks.Callback):
    """`keep_freed_memory` through a training; the iterators of each epoch undo it."""

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        keep_freed_memory()


def keep_freed_memory() -> None:
    """Let glibc keep the memory of freed tensors for the next ones; call it after a tf.data iterator has started.

    TensorFlow then has every large block mapped anew from the system and given back when it is freed. The page faults
    took half the time of a training step from generated batches: EfficientNet-Lite0's suffix 17.8 ms an image, 9.2 so.
    """
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
    with contextlib.suppress(AttributeError):  # another C library
        libc = _c_library()
        libc.mallopt(mmap_threshold, 32 << 20)  # bytes; the most that glibc allows
        libc.mallopt(trim_threshold, 2**31 - 1)


@cache
def _c_library() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def learner_of(model: keras.Model, mixed_precision: Switch) -> tuple[keras.Model, tf.distribute.Strategy]:
    """The model to train in place of `model`, and the strategy to train it in.

    It is `model` itself, or a copy with the same weights where precision or the number of GPUs asks for one: then copy
    its weights back with `model.set_weights(learner.get_weights())`.
    """
    strategy = tf.distribute.MirroredStrategy(gpus()) if len(gpus()) > 1 else tf.distribute.get_strategy()
    mixed = use_mixed_precision(mixed_precision)
    if not mixed and strategy.num_replicas_in_sync == 1:
        return model, strategy
    with strategy.scope():
        return copy_of(model, "mixed_float16" if mixed else "float32"), strategy


def copy_of(model: keras.Model, policy: str) -> keras.Model:
    """A copy with weights of its own that computes by the dtype policy; what gives out ages stays float32."""

    def layer_of(layer: keras.layers.Layer) -> keras.layers.Layer:
        dtype = "float32" if layer.name in _ALWAYS_FLOAT32 else policy
        return type(layer).from_config(layer.get_config() | {"dtype": dtype})

    copy = keras.models.clone_model(model, clone_function=layer_of)
    copy.set_weights(model.get_weights())
    for layer, original in zip(copy.layers, model.layers, strict=True):
        layer.trainable = original.trainable
    return copy
