"""A copy of a network that computes the same and trains sooner on a CPU.

A frozen BatchNorm multiplies each channel by a number and adds one. The copy multiplies the kernel of the convolution
before it instead, and adds a bias: the same function of the same trained weights, with the same gradients, and without
two passes over each feature map. And the gradient of a depthwise kernel that is wider than three columns is computed
three columns at a time: oneDNN has fast code for that, and takes three times as long for five at once.
"""

from collections import Counter
from collections.abc import Collection
from typing import Any

import keras
import numpy as np
import tensorflow as tf

COLUMNS = 3  # of a depthwise kernel, the most whose gradient oneDNN computes fast


def folded(model: keras.Model) -> keras.Model:
    """The copy, with its own weights; `model` itself where nothing can be folded.

    A BatchNorm can be that is frozen, and alone takes the output of a convolution without an activation of its own.
    """
    found = _foldable(model)
    if not found:
        return model
    normalisations = {normalisation.name for normalisation in found.values()}

    def layer_of(layer: keras.layers.Layer) -> keras.layers.Layer:
        if layer.name in normalisations:
            return _Passed(name=layer.name)
        if layer.name not in found:
            return type(layer).from_config(layer.get_config())
        kind = _Depthwise if isinstance(layer, keras.layers.DepthwiseConv2D) else _Convolution
        copy = kind.from_config(layer.get_config())
        copy.normalise(found[layer.name])
        return copy

    copy = keras.models.clone_model(model, clone_function=layer_of)
    take_weights(copy, model, but=normalisations)
    return copy


def take_weights(copy: keras.Model, model: keras.Model, but: Collection[str] = ()) -> None:
    """Give each layer of a copy, but those of these names, the weights of the model's, trainable or not as there."""
    for layer, original in zip(copy.layers, model.layers, strict=True):
        if layer.name in but:
            continue
        layer.set_weights(original.get_weights())
        layer.trainable = original.trainable
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            layer.finalize_state()  # what it computes with


def give_back(learner: keras.Model, model: keras.Model) -> None:
    """Copy what `learner`, a copy of `model`, has learnt into `model`."""
    for learnt, weight in zip(learner.trainable_variables, model.trainable_variables, strict=True):
        weight.assign(learnt)


def _foldable(model: keras.Model) -> dict[str, keras.layers.BatchNormalization]:
    """By the name of a convolution the BatchNorm that can be folded into it."""
    nodes = [node for depth in model._nodes_by_depth.values() for node in depth]  # a layer's own may be of other models
    calls = Counter(node.operation.name for node in nodes)
    takers: dict[int, list[keras.layers.Layer]] = {}  # of each tensor
    for node in nodes:
        for tensor in node.input_tensors:
            takers.setdefault(id(tensor), []).append(node.operation)
    found = {}
    for node in nodes:
        layer, after = node.operation, takers.get(id(node.outputs[0]), [])
        alone = len(after) == 1 and calls[layer.name] == calls[after[0].name] == 1
        if alone and _plain(layer) and _frozen_normalisation(after[0]):
            found[layer.name] = after[0]
    return found


def _plain(layer: keras.layers.Layer) -> bool:
    """Whether it is a convolution without an activation of its own."""
    if type(layer) not in (keras.layers.Conv2D, keras.layers.DepthwiseConv2D):
        return False
    return layer.activation is keras.activations.linear and layer.data_format == "channels_last"


def _frozen_normalisation(layer: keras.layers.Layer) -> bool:
    return type(layer) is keras.layers.BatchNormalization and not layer.trainable


class _Passed(keras.layers.Layer):
    """In the place of a BatchNorm that is part of the convolution before it."""

    def call(self, x: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None) -> tf.Tensor:
        return x


class _Normalised:
    """A convolution with the numbers, by channel, of the BatchNorm after it."""

    bias: keras.Variable | None

    def normalise(self, by: keras.layers.BatchNormalization) -> None:
        scale = 1 / np.sqrt(by.moving_variance.numpy() + by.epsilon)
        if by.scale:
            scale = scale * by.gamma.numpy()
        offset = -by.moving_mean.numpy() * scale
        if by.center:
            offset = offset + by.beta.numpy()
        self._scale, self._offset = scale.astype("float32"), offset.astype("float32")

    def _with_offset(self, x: tf.Tensor) -> tf.Tensor:
        offset = self._offset if self.bias is None else self.bias * self._scale + self._offset
        return tf.nn.bias_add(x, offset)


class _Convolution(_Normalised, keras.layers.Conv2D):
    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self._with_offset(self.convolution_op(x, self.kernel * self._scale))


class _Depthwise(_Normalised, keras.layers.DepthwiseConv2D):
    def call(self, x: tf.Tensor) -> tf.Tensor:
        kernel = self.kernel * self._scale.reshape(self.kernel.shape[2:])
        if kernel.shape[1] > COLUMNS and self.dilation_rate == (1, 1) and None not in x.shape[1:]:
            return self._with_offset(depthwise_in_columns(x, kernel, self.strides, self.padding))
        convolved = keras.ops.depthwise_conv(
            x, kernel, self.strides, self.padding, self.data_format, self.dilation_rate
        )
        return self._with_offset(convolved)


def depthwise_in_columns(x: tf.Tensor, kernel: tf.Tensor, strides: tuple[int, int], padding: str) -> tf.Tensor:
    """A depthwise convolution; the gradient of its kernel is computed `COLUMNS` columns of the kernel at a time.

    Args:
        x: (batch, height, width, channels), of known height and width.
        kernel: (height, width, channels, outputs of a channel).
        padding: "same" or "valid".
    """
    steps, padding = (1, *strides, 1), padding.upper()

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def convolution(x: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Any]:
        y = tf.nn.depthwise_conv2d(x, kernel, steps, padding)

        def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            dx = tf.nn.depthwise_conv2d_backprop_input(tf.shape(x), kernel, dy, steps, padding)
            return dx, _kernel_gradient(x, kernel.shape, dy, strides)

        return y, gradient

    return convolution(x, kernel)


def _kernel_gradient(x: tf.Tensor, shape: tf.TensorShape, dy: tf.Tensor, strides: tuple[int, int]) -> tf.Tensor:
    """Of a kernel of this shape: the inputs that each of its parts met, by the gradient of what came of them."""
    height, width, *channels = shape
    reach = [(out - 1) * stride for out, stride in zip(dy.shape[1:3], strides, strict=True)]
    missing = [max(far + side - size, 0) for far, side, size in zip(reach, (height, width), x.shape[1:3], strict=True)]
    padded = tf.pad(x, [[0, 0], *([lack // 2, lack - lack // 2] for lack in missing), [0, 0]])
    rows = padded[:, : reach[0] + height]
    parts = [
        tf.nn.depthwise_conv2d_backprop_filter(
            rows[:, :, left : left + reach[1] + columns], (height, columns, *channels), dy, (1, *strides, 1), "VALID"
        )
        for left in range(0, width, COLUMNS)
        for columns in [min(COLUMNS, width - left)]
    ]
    return tf.concat(parts, axis=1)
