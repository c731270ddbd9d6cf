"""Runs side by side, from what their stages left in the store."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from age_tasks.config import config_from_dict
from age_tasks.data.image_folder import ImageFolder
from age_tasks.data.image_places import PLACES, write_places
from age_tasks.environment import Locations
from age_tasks.reports.compare_page import compare_page
from age_tasks.reports.safe_csv import as_csv
from age_tasks.reports.thumbnails import faces_of
from age_tasks.runs.keys import run_file, stage_folder
from age_tasks.runs.run import StoredRun, start_run
from age_tasks.store import open_store
from age_tasks.store.base import Store
from age_tasks.store.files import FileStore
from tests.support.answering_server import Answer, answering_s3, s3_error
from tests.support.metrics import metrics_of
from tests.support.page import Page, text_of
from tests.support.records import put_record
from tests.support.tars import tar_of

IMAGES = 60
EDGES = [0, 30, 60, 120]


@pytest.fixture
def locations(tmp_path: Path) -> Locations:
    """With an image for each name that the runs tested."""
    (tmp_path / "images").mkdir()
    for number in range(IMAGES):
        pixels = np.full((8, 8, 3), number, "uint8")
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    places = {name: str(tmp_path / name) for name in ("labels", "images", "store")}
    return Locations(**places, cache=tmp_path / "cache")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return FileStore(tmp_path / "store")


def predicted(locations: Locations, *, errors: float, first: int = 0) -> pd.DataFrame:
    """Predictions of images from number `first` on, each off by so many years."""
    numbers = range(first, IMAGES)
    digests = [hashlib.sha256(Path(locations.images, f"{number}.png").read_bytes()).hexdigest() for number in numbers]
    real = np.array([20.0 + number for number in numbers])
    names = [f"{number}.png" for number in numbers]
    return pd.DataFrame({"file_name": names, "sha256": digests, "real_age": real, "finetune": real + errors})


def digests(outputs: dict[str, bytes]) -> dict[str, dict[str, object]]:
    """As a record lists them."""
    return {name: {"sha256": hashlib.sha256(each).hexdigest(), "bytes": len(each)} for name, each in outputs.items()}


def put_run(
    store: Store, locations: Locations, key: str, predictions: pd.DataFrame | None = None, **settings: object
) -> StoredRun:
    """A run as its stages leave it, up to `evaluate` if there are predictions."""
    run = StoredRun(key, store)
    start_run(run, config_from_dict(settings), locations)
    if predictions is None:
        return run
    history = pd.DataFrame({"epoch": [1, 2], "mae": [9.0, 8.0], "val_mae": [9.5, 8.5]})
    files = {
        "baseline": {"history.csv": history.to_csv(index=False).encode()},
        "evaluate": {
            "metrics.json": metrics_of().to_bytes(),
            "predictions.csv": as_csv(predictions).encode(),
        },
    }
    for stage, outputs in files.items():
        for name, content in outputs.items():
            store.put(stage_folder(key, stage) + name, content)
        put_record(store, stage, key, outputs=digests(outputs), settings={"evaluate": {"bin_edges": EDGES}})
    return run


def test_the_later_run_is_compared_with_the_earlier_one_on_the_same_images(store: Store, locations: Locations):
    older = put_run(store, locations, "monday", predicted(locations, errors=6.0))
    newer = put_run(store, locations, "tuesday", predicted(locations, errors=4.0))
    page = Page(compare_page([newer, older]))
    assert "B is better than A." in page.text
    assert "MAE on the same 60 test images: 4.00 against 6.00 years, difference -2.00" in page.text
    assert "left out" not in page.text
    worse = Page(compare_page([put_run(store, locations, "wednesday", predicted(locations, errors=9.0)), newer]))
    assert "B is worse than A." in worse.text


def test_images_that_one_of_them_has_not_tested_are_left_out_and_counted(store: Store, locations: Locations):
    older = put_run(store, locations, "monday", predicted(locations, errors=6.0, first=20))
    corrected = predicted(locations, errors=4.0)
    corrected.loc[50:, "real_age"] += 1
    newer = put_run(store, locations, "tuesday", corrected)
    text = Page(compare_page([older, newer])).text
    assert "MAE on the same 30 test images" in text
    assert "30 test images of B are left out" in text


def test_a_copy_under_another_name_counts_once_for_each_name(store: Store, locations: Locations):
    twice = pd.concat([rows := predicted(locations, errors=6.0), rows.head(1).assign(file_name="copy.png")])
    older = put_run(store, locations, "monday", twice)
    newer = put_run(store, locations, "tuesday", twice)
    text = Page(compare_page([older, newer])).text
    assert "MAE on the same 61 test images" in text
    assert "left out" not in text


def test_people_are_resampled_where_the_labels_name_them(store: Store, locations: Locations):
    before, after = predicted(locations, errors=6.0), predicted(locations, errors=6.0)
    after["finetune"] += np.where(np.arange(len(after)) < IMAGES / 2, -3.0, 1.0)
    older, newer = put_run(store, locations, "monday", before), put_run(store, locations, "tuesday", after)
    assert "B is better than A." in Page(compare_page([older, newer])).text
    after["person"] = np.where(np.arange(len(after)) < IMAGES / 2, "ann", "bob")
    newer = put_run(store, locations, "wednesday", after)
    assert "B is not significantly different from A." in Page(compare_page([older, newer])).text


def test_runs_without_a_common_image_are_still_shown(store: Store, locations: Locations):
    older = put_run(store, locations, "monday")
    newer = put_run(store, locations, "tuesday", predicted(locations, errors=4.0))
    text = Page(compare_page([older, newer])).text
    assert "B and A can't be compared." in text
    assert "not decided" in text


def test_only_settings_that_differ_are_listed(store: Store, locations: Locations):
    older = put_run(store, locations, "monday", finetune={"epochs": 8})
    newer = put_run(store, locations, "tuesday", finetune={"epochs": 9})
    page = Page(compare_page([older, newer]))
    (table,) = [table for table in page.soup.select("table") if text_of(table.caption) == "Settings that differ"]
    assert [text_of(row) for row in table.select("tr")] == ["A B", "finetune.epochs 8 9"]
    same = Page(compare_page([older, put_run(store, locations, "wednesday", finetune={"epochs": 8})]))
    assert "Settings that differ None." in same.text


def test_faces_are_shown_as_they_were_tested(store: Store, locations: Locations):
    older = put_run(store, locations, "monday", predicted(locations, errors=6.0))
    after = predicted(locations, errors=6.0)
    after.loc[[3, 4], "finetune"] += 20.0
    after.loc[5, "finetune"] -= 5.0
    newer = put_run(store, locations, "tuesday", after)
    Image.new("RGB", (8, 8)).save(Path(locations.images, "4.png"))  # another image since
    page = Page(compare_page([older, newer]))
    assert [image["alt"] for image in page.soup.select("figure img")] == ["Test image 3.png", "Test image 5.png"]
    assert "no image here" in page.text
    assert "23 : 29 → 49 3.png" in page.text


def test_a_face_is_found_whose_name_a_spreadsheet_takes_for_a_formula(store: Store, locations: Locations):
    rows = predicted(locations, errors=6.0)
    Path(locations.images, "3.png").rename(Path(locations.images, "=3.png"))
    rows.loc[3, "file_name"] = "=3.png"
    after = rows.copy()
    after.loc[3, "finetune"] += 20.0
    runs = [put_run(store, locations, "monday", rows), put_run(store, locations, "tuesday", after)]
    assert "'=3.png" in StoredRun("tuesday", store).read("evaluate", "predictions.csv").decode()
    assert faces(compare_page(runs)) == ["=3.png"]


def in_tars(store: Store, locations: Locations, runs: list[StoredRun], place: str) -> None:
    """Put the images into two tar files at a place, and what `evaluate` then writes; the files are gone."""
    images = {path.name: path.read_bytes() for path in sorted(Path(locations.images).iterdir())}
    for tar, names in {"a.tar": list(images)[:30], "b.tar": list(images)[30:]}.items():
        open_store(place).put(tar, tar_of({name: images[name] for name in names}))
    folder, written = ImageFolder(f"{place}/*.tar", locations.cache), locations.cache / "written"
    written.mkdir()
    write_places(folder, images, written)
    shutil.rmtree(locations.images)
    for run in runs:
        settings = run.settings().model_copy(update={"images": f"{place}/*.tar"})
        store.put(run_file(run.key), settings.to_bytes())
        found = {PLACES: (written / PLACES).read_bytes()}
        store.put(stage_folder(run.key, "evaluate") + PLACES, found[PLACES])
        outputs = run.require_record("evaluate").outputs | digests(found)
        put_record(store, "evaluate", run.key, outputs=outputs, settings={"evaluate": {"bin_edges": EDGES}})


def three_changed(store: Store, locations: Locations) -> list[StoredRun]:
    """Two runs that differ in images 3, 4 and 40."""
    after = predicted(locations, errors=6.0)
    after.loc[[3, 4, 40], "finetune"] += [20.0, 15.0, 10.0]
    older = put_run(store, locations, "monday", predicted(locations, errors=6.0))
    return [older, put_run(store, locations, "tuesday", after)]


def faces(page: str) -> list[str]:
    return [image["alt"].removeprefix("Test image ") for image in Page(page).soup.select("figure img")]


@pytest.mark.parametrize("where", ["local", "s3"])
def test_faces_in_tar_files_are_read_one_by_one(
    store: Store, locations: Locations, where: str, tmp_path: Path, request: pytest.FixtureRequest
):
    place = str(tmp_path / "shards")
    if where == "s3":
        request.getfixturevalue("s3")
        place = f"s3://age/{tmp_path.name}"
    runs = three_changed(store, locations)
    in_tars(store, locations, runs, place)
    assert faces(compare_page(runs)) == ["3.png", "4.png", "40.png"]
    open_store(place).put("a.tar", tar_of({"another.png": b"x" * 100_000}))  # written anew since
    assert faces(compare_page(runs)) == ["4.png", "40.png"]
    assert "3.png" in Page(compare_page(runs)).text


def test_of_a_tar_file_in_a_bucket_only_the_faces_are_read_and_one_that_is_away_is_given_up(
    store: Store, locations: Locations, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    runs = three_changed(store, locations)
    with answering_s3(monkeypatch, tmp_path / "home") as server:
        in_tars(store, locations, runs, "s3://bucket/shards")
        server.asked = []
        assert faces(compare_page(runs)) == ["3.png", "4.png", "40.png"]
        assert [(each.method, "range" in each.headers) for each in server.asked] == [("GET", True)] * 3
        for answer, asked in ((s3_error(412, "PreconditionFailed"), 6), (Answer(503), 3)):  # replaced, or away
            server.asked, server.plan = [], lambda request, answer=answer: answer
            found = faces_of(runs[1], "evaluate")
            assert [found.uri(f"{number}.png", 8) for number in range(6)] == [None] * 6
            assert len(server.asked) == asked
        assert faces(compare_page(runs)) == []


def test_a_name_that_leaves_the_folder_shows_no_file(store: Store, locations: Locations):
    Image.new("RGB", (8, 8)).save(Path(locations.images).parent / "secret.png")
    digest = hashlib.sha256((Path(locations.images).parent / "secret.png").read_bytes()).hexdigest()
    rows = predicted(locations, errors=6.0)
    rows.loc[0, ["file_name", "sha256"]] = ["../secret.png", digest]
    older = put_run(store, locations, "monday", rows)
    after = rows.copy()
    after.loc[0, "finetune"] += 9
    newer = put_run(store, locations, "tuesday", after)
    page = Page(compare_page([older, newer]))
    assert page.soup.select("figure img") == []
    assert "no image here" in page.text


def test_four_runs_fit_on_the_page(store: Store, locations: Locations):
    days = ("monday", "tuesday", "wednesday", "thursday")
    runs = [put_run(store, locations, day, predicted(locations, errors=number)) for number, day in enumerate(days, 3)]
    page = Page(compare_page(runs))
    assert [heading for heading in page.headings if heading.endswith("by age")] == [
        "B against A, by age",
        "C against A, by age",
        "D against A, by age",
    ]
    assert len(page.soup.select("polyline")) == 4
