"""The LiteRT file of a model: the same ages, or none."""

from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from age_tasks.serving import litert as export
from age_tasks.serving.litert import BOUND, ages, contract, export_checked


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(1)
    for number in range(5):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


def network(path: Path) -> Path:
    """A small network from pixels to years, with the operations that ours have."""
    pixels = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 128, -127 / 128)(keras.ops.flip(pixels, axis=-1))
    x = keras.layers.DepthwiseConv2D(3, activation="relu6")(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.BatchNormalization()(x))
    years = keras.layers.Dense(1, bias_initializer=keras.initializers.Constant(30))(x)
    keras.Model(pixels, years).save(path)
    return path


def test_a_file_with_the_same_ages_is_kept(pictures: list[Path], tmp_path: Path):
    out = tmp_path / "model.tflite"
    found = export_checked(network(tmp_path / "model.keras"), pictures, 32, out)
    assert (found["file"], found["problem"], found["images"]) == ("model.tflite", "", 5)
    assert found["largest_difference"] <= BOUND / 10
    theirs = ages(out, np.zeros((2, 32, 32, 3), "float32"))
    assert theirs.shape == (2,)
    assert theirs[0] == pytest.approx(theirs[1])


def test_other_ages_are_refused_with_the_number_and_the_bound(
    pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(export, "BOUND", -1.0)
    out = tmp_path / "model.tflite"
    found = export_checked(network(tmp_path / "model.keras"), pictures, 32, out)
    assert found["file"] is None
    assert not out.exists()
    assert "years from the model's on 5 test pictures; at most -1 are allowed" in found["problem"]
    assert found["problem"] in caplog.text


def test_a_model_that_does_not_convert_is_said_and_raises_nothing(pictures: list[Path], tmp_path: Path):
    (tmp_path / "model.keras").write_text("not a model")
    found = export_checked(tmp_path / "model.keras", pictures, 32, tmp_path / "model.tflite")
    assert found["file"] is None
    assert "model.keras" in found["problem"]


def test_the_contract_says_what_goes_in_and_comes_out():
    assert contract(224)["input"]["shape"] == [None, 224, 224, 3]
    assert contract(224)["input"]["values"] == [0, 255]
    assert contract(224)["output"]["unit"] == "years"
