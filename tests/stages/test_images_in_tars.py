"""A run whose images are in tar files, from which stages, pages and commands take them."""

from pathlib import Path

import pandas as pd
import pytest

from age_tasks.cli.app import main
from age_tasks.demo.synthetic_faces import Sample
from age_tasks.environment import Locations
from age_tasks.reports.labels_page import labels_page
from age_tasks.reports.thumbnails import faces_of
from age_tasks.runs.keys import run_file
from age_tasks.runs.run import StoredRun
from age_tasks.store import open_store
from age_tasks.store.base import Store
from tests.support.page import Page
from tests.support.tars import tar_of


def in_tars(images: Path, place: str, count: int = 3) -> str:
    """Put the images of a folder into so many tar files; returns the address of all of these."""
    contents = {path.relative_to(images).as_posix(): path.read_bytes() for path in images.rglob("*") if path.is_file()}
    names = sorted(contents)
    for number in range(count):
        open_store(place).put(f"{number}.tar", tar_of({name: contents[name] for name in names[number::count]}))
    return f"{place}/*.tar"


@pytest.fixture(params=["local", "s3"])
def tars(request: pytest.FixtureRequest, sample: Sample, tmp_path: Path) -> str:
    if request.param == "s3":
        request.getfixturevalue("s3")
    return in_tars(sample.images, f"s3://age/{tmp_path.name}" if request.param == "s3" else str(tmp_path / "tars"))


@pytest.fixture
def store(copied: Locations, tars: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Of a finished run whose images are now in tar files."""
    monkeypatch.setenv("AGE_IMAGES", tars)
    store = open_store(copied.store)
    settings = StoredRun("finished", store).settings().model_copy(update={"images": tars})
    store.put(run_file("finished"), settings.to_bytes())
    return store


def test_pages_show_the_faces(store: Store, copied: Locations):
    for stage in ("validate", "evaluate"):
        assert main([stage, "--run", "finished", "--again"]) == 0
    quarantine = Page(labels_page(store)).soup.select("table img")
    assert len(quarantine) > 5
    run = StoredRun("finished", store)
    tested = pd.read_csv(copied.store + "/runs/finished/evaluate/predictions.csv", dtype={"file_name": "str"})
    faces = faces_of(run, "evaluate")
    assert all(faces.uri(name, 64, sha256) for name, sha256 in zip(tested.file_name, tested.sha256, strict=True))
    assert faces.uri(tested.file_name[0], 64, tested.sha256[1]) is None


def test_ages_are_those_of_the_same_images_in_a_folder(store: Store, tars: str, sample: Sample, tmp_path: Path):
    ages = {}
    for kind, place in {"tars": tars, "folder": str(sample.images)}.items():
        assert main(["predict", place, "--out", f"{tmp_path}/{kind}.csv"]) == 0
        table = pd.read_csv(f"{tmp_path}/{kind}.csv", keep_default_na=False)
        names = table["file"].str.removeprefix(f"{sample.images}/").str.replace(r".*/\d\.tar/", "", regex=True)
        ages[kind] = dict(zip(names, table["age"], strict=True))
    assert len(ages["tars"]) > 100
    assert ages["tars"] == ages["folder"]
