import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from age_tasks.config import ModelSettings
from age_tasks.environment import PROJECT
from age_tasks.training import hardware as accelerate
from age_tasks.training.hardware import bfloat16, use_bfloat16, use_float16, use_xla
from age_tasks.training.learner import copy_of
from age_tasks.training.network import build_model, freeze

MIRRORED = """
import numpy as np, tensorflow as tf, keras
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from age_tasks.training import learner as learners
learners.gpus = lambda: ["CPU:0", "CPU:1"]
keras.utils.set_random_seed(1)
pixels = keras.Input((4,))
model = keras.Model(pixels, keras.layers.Dense(1, name="years")(pixels))
before = model.get_weights()
learner, strategy = learners.learner_of(model, "never")
assert strategy.num_replicas_in_sync == 2, strategy.num_replicas_in_sync
assert learner is not model
with strategy.scope():
    learner.compile(keras.optimizers.SGD(0.1), "mae")
x = np.random.default_rng(1).normal(size=(64, 4)).astype("float32")
losses = learner.fit(x, x @ np.ones((4, 1), "float32"), epochs=20, verbose=0).history["loss"]
assert losses[-1] < losses[0] / 2, losses
model.set_weights(learner.get_weights())
assert not np.allclose(model.get_weights()[0], before[0])
"""


def test_several_devices_train_one_model():
    done = subprocess.run([sys.executable, "-c", MIRRORED], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_mixed_precision_copy_gives_the_same_ages():
    model = build_model(ModelSettings(backbone="efficientnet_lite0", image_size=64), seed=1)
    freeze(model, 5)
    copy = copy_of(model, "mixed_float16")
    assert copy.get_layer("head_dense").compute_dtype == "float16"
    assert copy.get_layer("years").compute_dtype == "float32"
    assert [layer.trainable for layer in copy.layers] == [layer.trainable for layer in model.layers]
    pixels = np.random.default_rng(1).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    assert np.allclose(model.predict(pixels, verbose=0), copy.predict(pixels, verbose=0), atol=0.05)


def test_what_is_chosen_for_a_cpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(accelerate, "_cpu_has_bfloat16", lambda: True)
    assert [use_xla(setting) for setting in ("auto", "always", "never")] == [False, True, False]
    assert [use_bfloat16(setting) for setting in ("auto", "always", "never")] == [True, True, False]
    assert not use_float16("always")
    monkeypatch.setattr(accelerate, "_cpu_has_bfloat16", lambda: False)
    assert [use_bfloat16(setting) for setting in ("auto", "always")] == [False, True]


def test_bfloat16_is_for_what_is_traced_within():
    images = np.random.default_rng(1).normal(size=(2, 16, 16, 8)).astype("float32")
    convolution = keras.layers.Conv2D(16, 3)
    exact = convolution(images).numpy()

    def error() -> float:
        compute = tf.function(lambda batch: tf.nn.relu(convolution(batch)))  # alone, an operation is not worth a cast
        return float(np.abs(compute(images).numpy() - np.maximum(exact, 0)).max())

    with bfloat16(True):
        within = error()
    assert error() < 1e-5
    assert within < 0.1
    if accelerate._cpu_has_bfloat16():
        assert within > 1e-5


def test_depthwise_convolutions_stay_exact():
    images = np.random.default_rng(1).normal(size=(2, 16, 16, 8)).astype("float32")
    convolution = keras.layers.DepthwiseConv2D(3)
    exact = convolution(images).numpy()
    with bfloat16(True):
        compute = tf.function(lambda batch: tf.nn.relu(convolution(batch)))
        assert np.abs(compute(images).numpy() - np.maximum(exact, 0)).max() < 1e-5
