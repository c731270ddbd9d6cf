import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from age_tasks.environment import PROJECT
from age_tasks.serving import litert
from age_tasks.serving.litert import BOUND, export_checked, litert_predict, model_signature


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(1)
    for number in range(5):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


def network(path: Path) -> Path:
    """A small network from pixels to years, with the operations of the real ones."""
    pixels = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 128, -127 / 128)(keras.ops.flip(pixels, axis=-1))
    x = keras.layers.DepthwiseConv2D(3, activation="relu6")(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.BatchNormalization()(x))
    years = keras.layers.Dense(1, bias_initializer=keras.initializers.Constant(30))(x)
    keras.Model(pixels, years).save(path)
    return path


def test_an_export_with_the_same_ages_is_kept(images: list[Path], tmp_path: Path):
    out = tmp_path / "model.tflite"
    found = export_checked(network(tmp_path / "model.keras"), images, 32, out)
    assert (found["file"], found["problem"], found["images"]) == ("model.tflite", "", 5)
    assert found["largest_difference"] <= BOUND / 10
    ages = litert_predict(out, np.zeros((2, 32, 32, 3), "float32"))
    assert ages.shape == (2,)
    assert ages[0] == pytest.approx(ages[1])


def test_an_export_names_its_input_and_its_signature_as_keras_does(images: list[Path], tmp_path: Path):
    model, theirs, ours = network(tmp_path / "model.keras"), tmp_path / "theirs.tflite", tmp_path / "ours.tflite"
    litert.convert(model, np.zeros((3, 32, 32, 3), "float32"), ours)
    keras.models.load_model(model).export(theirs, format="litert", verbose=False)
    found = [Interpreter(str(file)) for file in (ours, theirs)]
    assert found[0].get_signature_list() == found[1].get_signature_list()
    assert [each.get_input_details()[0]["shape_signature"].tolist() for each in found] == [[-1, 32, 32, 3]] * 2
    pixels = np.random.default_rng(2).integers(0, 256, (4, 32, 32, 3)).astype("float32")
    assert litert_predict(ours, pixels) == pytest.approx(litert_predict(theirs, pixels))


@pytest.mark.skipif(not litert.FORKS, reason="TensorFlow is imported again where a fork is not safe")
def test_a_process_that_has_not_used_tensorflow_is_forked_for_the_export(tmp_path: Path):
    code = "import age_tasks.stages, keras; from age_tasks.serving.litert import _start_method as f; a = f()"
    code += "; keras.ops.zeros(1) + 1; print(a, f())"
    found = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["fork", "spawn"]


def test_an_export_with_other_ages_is_rejected_with_difference_and_bound(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(litert, "BOUND", -1.0)
    out = tmp_path / "model.tflite"
    found = export_checked(network(tmp_path / "model.keras"), images, 32, out)
    assert found["file"] is None
    assert not out.exists()
    assert "years from the model's on 5 test images; at most -1 are allowed" in found["problem"]
    assert found["problem"] in caplog.text


def test_a_failed_conversion_is_reported_and_raises_nothing(images: list[Path], tmp_path: Path):
    (tmp_path / "model.keras").write_text("not a model")
    found = export_checked(tmp_path / "model.keras", images, 32, tmp_path / "model.tflite")
    assert found["file"] is None
    assert "model.keras" in found["problem"]


def test_the_signature_describes_input_and_output():
    assert model_signature(224)["input"]["shape"] == [None, 224, 224, 3]
    assert model_signature(224)["input"]["values"] == [0, 255]
    assert model_signature(224)["output"]["unit"] == "years"
