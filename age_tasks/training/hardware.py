"""Hardware features that make training faster: XLA, half precision, several GPUs, reuse of freed memory."""

import contextlib
import ctypes
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import keras
import tensorflow as tf

Switch = Literal["auto", "always", "never"]
_DEPTHWISE = ",".join(f"DepthwiseConv2dNative{of}" for of in ("", "BackpropInput", "BackpropFilter"))


def gpus() -> list[str]:
    """The names of the GPUs that TensorFlow uses."""
    return [device.name for device in tf.config.list_logical_devices("GPU")]


def cores() -> int:
    """The number of cores that this process may use, as TensorFlow counts them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_xla(setting: Switch) -> bool:
    """Whether to compile with XLA; `auto`: on a GPU.

    On two CPU cores (AMD EPYC, Zen 4) a training step of ResNet50's last 30 layers took 30 ms an image with XLA and 21
    without, their prefix 44 and 41; the depthwise prefix of EfficientNet-Lite0 took 153 and 23.5.
    """
    return setting == "always" or (setting == "auto" and bool(gpus()))


def use_float16(setting: Switch) -> bool:
    """Whether to compute in float16 on a GPU and keep weights in float32; `auto`: yes."""
    return setting != "never" and bool(gpus())


def use_bfloat16(setting: Switch) -> bool:
    """Whether a training on a CPU computes its convolutions and products in bfloat16.

    `auto`: where the processor has instructions for it. On the two cores of `use_xla` it took the training step of
    ResNet50's last 30 layers from 21 to 15 ms an image, that of EfficientNet-Lite0's from 4.0 to 2.9.
    """
    return not gpus() and (setting == "always" or (setting == "auto" and _cpu_has_bfloat16()))


@contextlib.contextmanager
def bfloat16(on: bool) -> Iterator[None]:
    """Let oneDNN compute in bfloat16 what is traced inside; weights, and what is traced outside, stay float32.

    Depthwise convolutions, for which it has no fast kernels in bfloat16, stay float32 too: with them, a training step
    of EfficientNet-Lite0 took longer than without any bfloat16.
    """
    for kinds in ("ALLOWLIST_REMOVE", "INFERLIST_REMOVE", "DENYLIST_ADD"):
        os.environ[f"TF_AUTO_MIXED_PRECISION_GRAPH_REWRITE_{kinds}"] = _DEPTHWISE
    option = "auto_mixed_precision_onednn_bfloat16"
    tf.config.optimizer.set_experimental_options({option: on})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({option: False})


@cache
def _cpu_has_bfloat16() -> bool:
    try:
        flags = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags"))
    except (OSError, StopIteration):  # not Linux, or not x86
        return False
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags.split())


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The dataset without TensorFlow's tuning of buffers and parallel calls, whose numbers must be given then.

    An iterator that ends waits for its tuner, which sleeps 10, 20, 40 ms and so on, up to a minute: epochs of 13 s took
    20, also with the `keras.utils.PyDataset` that Keras wraps itself.
    """
    fixed = tf.data.Options()
    fixed.autotune.enabled = False
    return dataset.with_options(fixed)


class KeepFreedMemory(keras.callbacks.Callback):
    """Calls `keep_freed_memory` in every step: the iterators of each epoch undo it."""

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """See `keep_freed_memory`."""
        keep_freed_memory()


def keep_freed_memory() -> None:
    """Let glibc keep the memory of freed tensors for the next ones; call it after a tf.data iterator has started.

    Starting one makes glibc map every large block from the system again and return it when it is freed. The page faults
    took half the time of a training step from generated batches: EfficientNet-Lite0's suffix 17.8 ms an image, with
    this call 9.2.
    """
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
    with contextlib.suppress(AttributeError):  # another C library
        libc = _c_library()
        libc.mallopt(mmap_threshold, 32 << 20)  # bytes; the most that glibc allows
        libc.mallopt(trim_threshold, 2**31 - 1)


@cache
def _c_library() -> ctypes.CDLL:
    return ctypes.CDLL(None)
