import json
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from age_tasks.config import ModelSettings
from age_tasks.environment import PROJECT
from age_tasks.training import hardware
from age_tasks.training.hardware import bfloat16, use_bfloat16, use_float16, use_xla
from age_tasks.training.learner import copy_of
from age_tasks.training.network import build_model, freeze


def trained_on(devices: int, folder: Path, source: str, killed_after: int = 0) -> dict[str, list[float]]:
    """The loss and validation MAE of each epoch of a training that shares each batch between logical devices."""
    folder.mkdir(exist_ok=True)
    words = [str(devices), str(folder), source, *([str(killed_after)] if killed_after else [])]
    command = [sys.executable, "-m", "tests.programs.train_on_two_devices", *words]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == (-signal.SIGKILL if killed_after else 0), done.stderr[-2000:]
    return {} if killed_after else json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("source", ["cache", "exchange"])
def test_several_devices_learn_what_one_does(tmp_path: Path, source: str):
    """A batch is shared out between them, so that a step is the same but for rounding."""
    one, two = trained_on(1, tmp_path / "one", source), trained_on(2, tmp_path / "two", source)
    assert one["loss"][-1] < one["loss"][0] / 2
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-3)
    assert two["val_mae"] == pytest.approx(one["val_mae"], rel=1e-3)


@pytest.mark.parametrize("source", ["cache", "exchange"])
def test_an_interrupted_training_on_several_devices_goes_on(tmp_path: Path, source: str):
    whole = trained_on(2, tmp_path / "whole", source)
    trained_on(2, tmp_path / "killed", source, killed_after=3)
    rest = trained_on(2, tmp_path / "killed", source)
    assert rest["epoch"] == whole["epoch"]
    assert rest["loss"] == pytest.approx(whole["loss"], rel=1e-3)
    assert rest["val_mae"] == pytest.approx(whole["val_mae"], rel=1e-3)


def test_a_mixed_precision_copy_predicts_the_same_ages():
    model = build_model(ModelSettings(backbone="efficientnet_lite0", image_size=64), seed=1)
    freeze(model, 5)
    copy = copy_of(model, "mixed_float16")
    assert copy.get_layer("head_dense").compute_dtype == "float16"
    assert copy.get_layer("years").compute_dtype == "float32"
    assert [layer.trainable for layer in copy.layers] == [layer.trainable for layer in model.layers]
    pixels = np.random.default_rng(1).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    assert np.allclose(model.predict(pixels, verbose=0), copy.predict(pixels, verbose=0), atol=0.05)


def test_a_bare_operation_is_copied_too():
    features = keras.Input((4,))
    model = keras.Model(features, keras.layers.Dense(1, name="years")(features + keras.layers.Dense(4)(features)))
    batch = np.ones((2, 4), "float32")
    assert np.allclose(copy_of(model, "mixed_float16")(batch), model(batch), atol=0.05)


def test_the_automatic_choices_on_a_cpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hardware, "_cpu_has_bfloat16", lambda: True)
    assert [use_xla(setting) for setting in ("auto", "always", "never")] == [False, True, False]
    assert [use_bfloat16(setting) for setting in ("auto", "always", "never")] == [True, True, False]
    assert not use_float16("always")
    monkeypatch.setattr(hardware, "_cpu_has_bfloat16", lambda: False)
    assert [use_bfloat16(setting) for setting in ("auto", "always")] == [False, True]


def test_bfloat16_applies_only_to_what_is_traced_inside():
    images = np.random.default_rng(1).normal(size=(2, 16, 16, 8)).astype("float32")
    convolution = keras.layers.Conv2D(16, 3)
    exact = convolution(images).numpy()

    def error() -> float:
        compute = tf.function(lambda batch: tf.nn.relu(convolution(batch)))  # a single operation is not cast
        return float(np.abs(compute(images).numpy() - np.maximum(exact, 0)).max())

    with bfloat16(True):
        inside = error()
    assert error() < 1e-5
    assert inside < 0.1
    if hardware._cpu_has_bfloat16():
        assert inside > 1e-5


def test_depthwise_convolutions_stay_in_float32():
    images = np.random.default_rng(1).normal(size=(2, 16, 16, 8)).astype("float32")
    convolution = keras.layers.DepthwiseConv2D(3)
    exact = convolution(images).numpy()
    with bfloat16(True):
        compute = tf.function(lambda batch: tf.nn.relu(convolution(batch)))
        assert np.abs(compute(images).numpy() - np.maximum(exact, 0)).max() < 1e-5
