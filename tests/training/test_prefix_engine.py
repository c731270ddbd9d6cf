import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest

from age_tasks.backbones import BACKBONES
from age_tasks.config import ComputeSettings, ModelSettings
from age_tasks.errors import SettingsError
from age_tasks.training import prefix_engine
from age_tasks.training.network import build_model, cut_point, freeze, with_mirror
from age_tasks.training.prefix_engine import FEW, FrozenNetwork
from tests.support.backbones import each_backbone

ENGINES = ("openvino", "litert")
# One of each family: residual, dense, inverted, grouped and separable convolutions; all ways of preprocessing.
SOME = (
    "efficientnet_lite0",
    "resnet50",
    "resnet50v2",
    "densenet121",
    "mobilenet",
    "mobilenetv3small",
    "efficientnetv2b0",
)


@pytest.fixture
def backbone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], keras.Model]]:
    """The network of a backbone with random weights, its normalisations those of a few images, with small outputs.

    As they are made, each of hundreds of layers enlarges values and rounding, until that decides the outputs.
    """
    monkeypatch.setattr("age_tasks.training.network._load_file", lambda base, settings: None)

    def built(name: str) -> keras.Model:
        keras.utils.set_random_seed(1)
        size = max(BACKBONES[name].least_size, 64)
        model = build_model(ModelSettings(backbone=name, weights="unread.h5", image_size=size), seed=1)
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = 0.0
                if layer.scale:
                    layer.gamma.assign(np.full(layer.gamma.shape, 0.2))
        model(images(model, 4), training=True)
        return model

    yield built
    keras.utils.clear_session()  # or the networks of all backbones stay in memory


@pytest.fixture(scope="module")
def small() -> keras.Model:
    """Two convolutions and two outputs; the second is computed from the first."""
    keras.utils.set_random_seed(1)
    pixels = keras.Input((16, 16, 3), name="pixels")
    first = keras.layers.Conv2D(4, 3, activation="relu")(pixels)
    return keras.Model(pixels, [keras.layers.Conv2D(2, 3)(first), first], name="small")


def images(model: keras.Model, count: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (count, *model.inputs[0].shape[1:])).astype("float32")


def by(engine: str, model: keras.Model, pixels: np.ndarray) -> list[np.ndarray]:
    return FrozenNetwork(model, ComputeSettings(prefix_engine=engine), len(pixels))(pixels)


def as_far_apart_as_rounding(outputs: list[np.ndarray], expected: list[np.ndarray]) -> bool:
    pairs = zip(outputs, expected, strict=True)
    return all(np.abs(one - other).max() <= 2.0**-11 * np.abs(other).max() for one, other in pairs)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", each_backbone(usually=SOME))
def test_features_are_those_of_tensorflow(backbone, name: str, engine: str):
    model = backbone(name)
    freeze(model, min(30, BACKBONES[name].layers // 2))
    finetune_cut = cut_point(model)
    freeze(model, 0)
    prefix = keras.Model(model.inputs, [cut_point(model), finetune_cut])
    pixels = images(model, 3)
    expected = by("tensorflow", prefix, pixels)
    if not as_far_apart_as_rounding(by("tensorflow", prefix, pixels * np.float32(1 + 2.0**-23)), expected):
        pytest.skip("one rounding of the pixels changes what TensorFlow itself computes with these random weights")
    assert as_far_apart_as_rounding(by(engine, prefix, pixels), expected)


@pytest.mark.parametrize("engine", ["tensorflow", *ENGINES])
@pytest.mark.parametrize("count", [1, 9, 64, 70])
def test_any_number_of_images_gives_as_many_rows_in_their_order(small, engine: str, count: int):
    pixels = images(small, count)
    outputs = by(engine, small, pixels)
    assert [output.shape for output in outputs] == [(count, 12, 12, 2), (count, 14, 14, 4)]
    assert as_far_apart_as_rounding(outputs, [np.asarray(each) for each in small(pixels)])


@pytest.mark.parametrize("engine", ENGINES)
def test_outputs_of_one_call_outlast_the_next(small, engine: str):
    network, pixels = FrozenNetwork(small, ComputeSettings(prefix_engine=engine), 8), images(small, 8)
    first = network(pixels)
    before = [output.copy() for output in first]
    network(pixels[::-1])
    assert all(map(np.array_equal, first, before))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_whole_network_with_its_mirror_gives_the_same_ages(backbone, engine: str):
    model = with_mirror(backbone("efficientnet_lite0"))
    pixels = images(model, 4)
    (ages,) = by(engine, model, pixels)
    assert ages == pytest.approx(model.predict(pixels, verbose=0), abs=0.01)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_weights_are_those_of_the_moment(small, engine: str):
    kept, pixels = small.get_weights(), images(small, 2)
    before = by(engine, small, pixels)
    small.set_weights([2 * weight for weight in kept])
    after = by(engine, small, pixels)
    small.set_weights(kept)
    assert np.allclose(after[1], 2 * before[1], rtol=1e-4)


def test_auto_takes_the_fastest_engine_and_none_for_a_few_images(small):
    assert FrozenNetwork(small, ComputeSettings(), FEW).engine == "openvino"
    assert FrozenNetwork(small, ComputeSettings(), FEW - 1).engine == "tensorflow"


@pytest.mark.parametrize(
    ("installed", "engine"), [(("openvino", "litert"), "openvino"), (("litert",), "litert"), ((), "tensorflow")]
)
def test_auto_takes_what_is_installed(small, monkeypatch: pytest.MonkeyPatch, installed: tuple[str, ...], engine: str):
    monkeypatch.setattr(prefix_engine, "installed_engines", lambda: installed)
    assert FrozenNetwork(small, ComputeSettings(), FEW).engine == engine


def test_on_a_gpu_auto_is_tensorflow(small, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(prefix_engine, "gpus", lambda: ["/device:GPU:0"])
    assert FrozenNetwork(small, ComputeSettings(), FEW).engine == "tensorflow"


def slightly_off(*_: Any) -> prefix_engine.Forward:
    return lambda batches: [[np.full((2, 12, 12, 2), 1.0), np.full((2, 14, 14, 4), 1.0)] for _ in batches]


def broken(*_: Any) -> prefix_engine.Forward:
    raise RuntimeError("no kernel for\n this operation")


@pytest.mark.parametrize(
    ("convert", "why"), [(slightly_off, "its numbers differ from TensorFlow's by "), (broken, "no kernel for this")]
)
def test_auto_falls_back_to_tensorflow_and_says_why(small, monkeypatch: pytest.MonkeyPatch, caplog, convert, why: str):
    monkeypatch.setitem(prefix_engine.CONVERTERS, "openvino", (2, convert))
    network, pixels = FrozenNetwork(small, ComputeSettings(), FEW), images(small, 5)
    with caplog.at_level(logging.WARNING):
        outputs = network(pixels)
    assert as_far_apart_as_rounding(outputs, by("tensorflow", small, pixels))
    assert network.engine == "tensorflow"
    (record,) = caplog.records
    assert record.getMessage().startswith("the frozen layers are computed by TensorFlow, not by openvino: ")
    assert why in record.getMessage()


def test_not_a_number_is_a_difference(small, monkeypatch: pytest.MonkeyPatch):
    outputs = [np.full((2, 12, 12, 2), np.nan), np.full((2, 14, 14, 4), np.nan)]
    monkeypatch.setitem(prefix_engine.CONVERTERS, "openvino", (2, lambda _: lambda batches: [outputs]))
    with pytest.raises(SettingsError, match="differ from TensorFlow's by nan"):
        by("openvino", small, images(small, 2))


def test_openvino_reports_to_nobody(small, monkeypatch: pytest.MonkeyPatch):
    import openvino_telemetry

    def reported(*_: Any, **__: Any) -> None:
        raise AssertionError("a connection was opened, or a report was begun")

    monkeypatch.setattr(openvino_telemetry.Telemetry, "init", reported)
    monkeypatch.setattr(socket.socket, "connect", reported)
    by("openvino", small, images(small, 2))
