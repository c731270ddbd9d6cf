import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from age_tasks.config import ModelSettings
from age_tasks.training.folding import depthwise_in_columns, folded, give_back
from age_tasks.training.network import build_model, cut_point, freeze, learning_model


@pytest.fixture(scope="module")
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def normalised(x: keras.KerasTensor, rng: np.random.Generator, **given) -> keras.KerasTensor:
    layer = keras.layers.BatchNormalization(**given)
    x = layer(x)
    layer.set_weights([rng.uniform(0.5, 2, weight.shape) for weight in layer.weights])
    layer.trainable = False
    return x


def network(rng: np.random.Generator) -> keras.Model:
    """Convolutions with and without bias, depthwise and strided; a BatchNorm without scale, one without offset."""
    pixels = keras.Input((12, 12, 3))
    x = normalised(keras.layers.Conv2D(8, 3, padding="same")(pixels), rng)
    x = keras.layers.ReLU(6.0)(x)
    y = normalised(keras.layers.DepthwiseConv2D(5, 1, "same", use_bias=False)(x), rng, scale=False)
    x = keras.layers.Add()([x, y])
    x = normalised(keras.layers.DepthwiseConv2D(5, 2, "same", depth_multiplier=2)(x), rng, center=False)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 1, activation="relu")(x))
    return keras.Model(pixels, keras.layers.Dense(1)(x))


def layers_of(model: keras.Model) -> list[str]:
    return [type(layer).__name__ for layer in model.layers]


def test_a_folded_network_computes_and_learns_the_same(rng):
    model = network(rng)
    copy, images, ages = folded(model), rng.normal(size=(6, 12, 12, 3)), rng.uniform(size=(6, 1))
    assert layers_of(copy).count("_Passed") == 3
    np.testing.assert_allclose(copy(images), model(images), rtol=1e-4, atol=1e-5)
    before = [weight.numpy() for weight in model.trainable_weights]
    for each in (model, copy):
        each.compile(keras.optimizers.SGD(0.01), "mse")
        each.fit(images, ages, epochs=3, verbose=0)
    learnt = [weight.numpy() for weight in model.trainable_weights]
    assert all(not np.allclose(one, other) for one, other in zip(before, learnt, strict=True))
    for one, other in zip(learnt, copy.trainable_weights, strict=True):
        np.testing.assert_allclose(one, other.numpy(), rtol=1e-3, atol=1e-5)


def test_what_the_copy_has_learnt_comes_back(rng):
    model = network(rng)
    copy, images = folded(model), rng.normal(size=(6, 12, 12, 3))
    for weight in copy.trainable_weights:
        weight.assign(weight.numpy() + 0.1)
    assert not np.allclose(copy(images), model(images))
    give_back(copy, model)
    np.testing.assert_allclose(copy(images), model(images), rtol=1e-4, atol=1e-5)


def test_a_head_without_convolutions_is_trained_itself():
    features = keras.Input((8,))
    model = keras.Model(features, keras.layers.Dense(1)(features))
    assert folded(model) is model


def test_only_a_frozen_batchnorm_that_alone_follows_a_plain_convolution_is_folded(rng):
    pixels = keras.Input((8, 8, 3))
    x = normalised(keras.layers.Conv2D(4, 1, activation="relu")(pixels), rng)
    twice = keras.layers.Conv2D(4, 1)(x)
    x = keras.layers.Add()([twice, normalised(twice, rng)])
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 1)(x))
    assert "_Passed" not in layers_of(folded(keras.Model(pixels, x)))


@pytest.mark.parametrize("backbone", ["efficientnet_lite0", "resnet50", "mobilenetv2", "efficientnetv2b0"])
def test_the_last_layers_of_a_backbone_are_folded(backbone: str, tmp_path, rng, monkeypatch):
    monkeypatch.setattr("age_tasks.training.network._load_file", lambda base, settings: None)
    model = build_model(ModelSettings(backbone=backbone, image_size=64, weights=str(tmp_path / "none.h5")), 1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.8, 1.2, weight.shape) for weight in layer.weights])
    freeze(model, 40)
    learner = learning_model(model, at=cut_point(model))  # its layers are parts of two models
    copy, features = folded(learner), rng.uniform(0, 1, (2, *learner.input_shape[1:]))
    assert layers_of(copy).count("_Passed") == layers_of(learner).count("BatchNormalization") > 0
    np.testing.assert_allclose(copy(features), learner(features), rtol=1e-3)


def test_a_network_from_pixels_keeps_the_normalisation_that_it_was_given(rng):
    pixels = keras.Input((8, 8, 3))
    scaled = keras.layers.Normalization()
    x = normalised(keras.layers.Conv2D(4, 1)(scaled(pixels)), rng)
    scaled.set_weights([np.array([90.0, 100, 110]), np.array([9.0, 16, 25]), np.array(0)])
    scaled.finalize_state()
    model, images = keras.Model(pixels, x), rng.uniform(0, 255, (2, 8, 8, 3))
    np.testing.assert_allclose(folded(model)(images), model(images), rtol=1e-3, atol=1e-3)


@settings(max_examples=25, deadline=None)
@given(
    size=st.tuples(st.integers(7, 12), st.integers(7, 12)),
    kernel=st.tuples(st.integers(1, 7), st.integers(4, 7)),
    stride=st.integers(1, 3),
    padding=st.sampled_from(["same", "valid"]),
    outputs=st.integers(1, 2),
)
def test_gradients_in_columns_are_those_of_tensorflow(size, kernel, stride, padding, outputs):
    rng = np.random.default_rng(1)
    x = tf.constant(rng.normal(size=(2, *size, 3)), "float32")
    weights = tf.constant(rng.normal(size=(*kernel, 3, outputs)), "float32")
    found = []
    for convolve in (
        lambda: depthwise_in_columns(x, weights, (stride, stride), padding),
        lambda: tf.nn.depthwise_conv2d(x, weights, (1, stride, stride, 1), padding.upper()),
    ):
        with tf.GradientTape() as tape:
            tape.watch([x, weights])
            y = convolve()
            loss = tf.reduce_sum(tf.sin(y))
        found.append([y, *tape.gradient(loss, [x, weights])])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
