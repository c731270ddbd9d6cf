"""`label-next`: which unlabelled images a person labels next."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from age_tasks.cli.app import main
from age_tasks.demo.synthetic_faces import Sample
from age_tasks.environment import Locations
from age_tasks.registry.label_ranking import NEXT, newest_ranking
from age_tasks.store import open_store
from age_tasks.store.base import Store
from age_tasks.training import inference
from tests.support.new_faces import draw_new_faces


@pytest.fixture
def new_faces(tmp_path: Path, sample: Sample) -> Path:
    """A folder with 12 new faces, one of them twice, one that is labelled already, and a file that is no image."""
    folder = draw_new_faces(tmp_path / "drawn", 12, 7)
    faces = sorted(folder.iterdir())
    shutil.copy(faces[0], folder / "copy.jpg")
    shutil.copy(sorted(sample.images.glob("0*.jpg"))[0], folder / "labelled.jpg")
    (folder / "notes.txt").write_text("no image")
    return folder


def ranked(
    unlabelled: Path | str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> dict[str, object]:
    monkeypatch.setenv("AGE_UNLABELLED", str(unlabelled))
    assert main(["label-next"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def store(copied: Locations) -> Store:
    return open_store(copied.store)


def test_images_without_labels_are_ranked_once_each(
    store: Store, new_faces: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    counts = ranked(new_faces, monkeypatch, capsys)
    assert counts == {
        "version": "v1",
        **{"images": 15, "unreadable": 1, "name_taken": 0, "not_labelled": 12, "ranked": 12},
    }
    found = newest_ranking(store)
    assert len({image.sha256 for image in found.ranked}) == 12
    assert "labelled.jpg" not in {image.file_name for image in found.ranked}
    assert all(image.low <= image.age <= image.high for image in found.ranked)
    assert all(image.distance > 0 for image in found.ranked)


def test_no_age_of_the_ranking_is_below_zero(
    store: Store, new_faces: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    computed = inference.ages_and_features

    def too_low(*arguments: Any) -> tuple[np.ndarray, np.ndarray]:
        ages, features = computed(*arguments)
        return ages - 200, features

    monkeypatch.setattr(inference, "ages_and_features", too_low)
    ranked(new_faces, monkeypatch, capsys)
    assert {(image.age, image.low) for image in newest_ranking(store).ranked} == {(0, 0)}
    assert all(image.high > 0 for image in newest_ranking(store).ranked)


def test_the_ranking_is_a_table_to_fill_in_and_tasks_with_images(
    store: Store, new_faces: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    ranked(new_faces, monkeypatch, capsys)
    names = [image.file_name for image in newest_ranking(store).ranked]
    store.fetch(f"{NEXT}next.csv", tmp_path / "next.csv")
    table = pd.read_csv(tmp_path / "next.csv")
    assert table["file_name"].tolist() == names
    assert table["real_age"].isna().all()
    tasks = json.loads(store.get(f"{NEXT}tasks.json"))
    assert [task["data"]["file_name"] for task in tasks] == names
    assert all(task["data"]["image"].startswith("data:image/jpeg;base64,") for task in tasks)
    assert tasks[0]["predictions"][0]["model_version"] == "v1"


def test_a_name_below_the_images_folder_is_written_as_the_labels_write_it(
    store: Store,
    sample: Sample,
    new_faces: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
):
    """A table may list images in the images folder itself, of which most are labelled."""
    listed = tmp_path / "listed.csv"
    shutil.copytree(sample.images, tmp_path / "images")
    shutil.copy(new_faces / "new-00000.jpg", tmp_path / "images" / "new.jpg")
    listed.write_text("file_name\nimages/00000.jpg\nimages/new.jpg\n")
    run = store.get("runs/finished/run.json").decode().replace(str(sample.images), str(tmp_path / "images"))
    store.put("runs/finished/run.json", run.encode())
    assert ranked(listed, monkeypatch, capsys)["ranked"] == 1
    assert [image.file_name for image in newest_ranking(store).ranked] == ["new.jpg"]


def test_an_image_with_the_name_of_a_labelled_one_is_left_out(
    store: Store,
    new_faces: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
):
    """Its age would become that of the other image."""
    (new_faces / "new-00003.jpg").rename(new_faces / "00003.jpg")
    counts = ranked(new_faces, monkeypatch, capsys)
    assert (counts["name_taken"], counts["ranked"]) == (1, 11)
    assert newest_ranking(store).taken == 1
    assert "1 images have the name of a labelled image, such as 00003.jpg" in caplog.text


def test_where_all_images_are_labelled_the_ranking_is_empty(
    store: Store, sample: Sample, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    listed = tmp_path / "listed"
    listed.mkdir()
    shutil.copy(sorted(sample.images.glob("0*.jpg"))[0], listed)
    assert ranked(listed, monkeypatch, capsys)["ranked"] == 0
    assert newest_ranking(store).ranked == []
