import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from age_tasks.cli.app import main
from age_tasks.errors import LabelsError
from age_tasks.registry.promotions import VERSIONS, champion
from age_tasks.runs.run import Workspace
from age_tasks.serving.predict import find_images
from age_tasks.store.files import FileStore
from tests.support.settings import point_at


@pytest.fixture
def model(finished: Workspace, sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileStore:
    """A store with the finished run's version, and nothing else."""
    point_at(monkeypatch, tmp_path, sample.labels)
    root = Path(finished.store.where("registry"))
    shutil.copytree(root, tmp_path / "store" / "registry")
    return FileStore(tmp_path / "store")


def test_ages_equal_those_of_the_run_s_evaluation(model: FileStore, finished: Workspace, sample, capsys):
    tested = pd.read_csv(finished.input("evaluate", "predictions.csv")).head(5)
    images = [str(sample.images / name) for name in tested["file_name"]]
    assert main(["predict", "--json", *images]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["version"] == "v1"
    for row, age in zip(result["images"], tested["finetune"], strict=True):
        assert row["age"] == pytest.approx(age, abs=0.1)
        assert 0 <= row["low"] <= row["age"] <= row["high"]


def test_a_folder_is_predicted_into_a_table(model: FileStore, sample, tmp_path: Path):
    folder, out = tmp_path / "new", tmp_path / "ages.csv"
    folder.mkdir()
    for image in sorted(sample.images.glob("0000*.jpg"))[:4]:
        shutil.copy(image, folder)
    (folder / "page.jpg").write_text("<!doctype html>")
    assert main(["predict", str(folder), "--out", str(out)]) == 0
    table = pd.read_csv(out, keep_default_na=False).set_index("file")
    assert len(table) == 5
    assert table.loc[str(folder / "page.jpg"), "problem"] == "not an image: an HTML page"
    assert (table["age"] != "").sum() == 4


def test_images_can_be_listed_in_a_csv(model: FileStore, sample, capsys):
    listed = sample.images / "list.csv"
    listed.write_text("file_name,note\n00003.jpg,x\nnone.jpg,y\n")
    assert main(["predict", str(listed)]) == 0
    first, second, model_line = capsys.readouterr().out.splitlines()
    assert "00003.jpg: " in first
    assert "90 % interval" in first
    assert second.endswith("none.jpg: no such file")
    assert "cropped like the training images" in model_line
    listed.unlink()


@pytest.mark.parametrize("name", ["../secret.jpg", "/etc/passwd", "a/../../x.jpg"])
def test_a_csv_lists_no_images_outside_its_folder(name: str, tmp_path: Path):
    listed = tmp_path / "list.csv"
    listed.write_text(f"file_name\n00003.jpg\n{name}\n")
    with pytest.raises(LabelsError, match=rf"list\.csv row 2: '{name}': the file name leaves"):
        find_images([listed])


def test_a_changed_byte_is_refused_by_name(model: FileStore, sample, capsys: pytest.CaptureFixture[str]):
    file = Path(model.where(f"{VERSIONS}{champion(model).version}/model.keras"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert main(["predict", str(sample.images / "00003.jpg")]) == 74
    assert "model.keras is not what its manifest says" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.jpg"], "nothing.jpg: no such image, folder or CSV file"),
        (["{images}/00003.jpg", "--version", "9"], "no version '9' has been promoted; there are: v1"),
    ],
)
def test_mistakes_are_reported_in_one_line(
    model: FileStore, sample, arguments, message, capsys: pytest.CaptureFixture[str]
):
    assert main(["predict", *(word.format(images=sample.images) for word in arguments)]) != 0
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_prediction_needs_a_promoted_model(place: Path, sample, capsys: pytest.CaptureFixture[str]):
    assert main(["predict", str(sample.images / "00003.jpg")]) == 74
    assert "no model has been promoted yet" in capsys.readouterr().err
