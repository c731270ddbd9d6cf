"""The page for people who label."""

import io
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from age_tasks.config import Config
from age_tasks.data.image_folder import ImageFolder
from age_tasks.data.image_places import PLACES, write_places
from age_tasks.environment import Locations
from age_tasks.registry.label_ranking import put_ranking
from age_tasks.reports.labels_page import labels_page
from age_tasks.reports.safe_csv import as_csv
from age_tasks.runs.keys import stage_folder
from age_tasks.runs.run import StoredRun, start_run
from age_tasks.store.files import FileStore
from tests.support.page import Page
from tests.support.rankings import RANKED, RANKING
from tests.support.records import put_record
from tests.support.tars import tar_of

ROWS = (
    '"line","file_name","age_text","fault","reason"\n'
    '10,"b.jpg","x","age is not a number","no number"\n'
    '9,"c.jpg","999","age out of range","too old"\n'
    '11,"a.jpg","y","age is not a number","no number"\n'
)


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    """With a run that accepted its labels, and a later one that refused them."""
    store = FileStore(tmp_path / "store")
    for key, facts in {
        "monday": {"summary": {"rows": 100, "accepted": 97, "quarantined": 3}},
        "tuesday": {"status": "failed", "error": "too many rows are quarantined"},
    }.items():
        start_run(StoredRun(key, store), Config(), Locations(labels="labels.csv", images=str(tmp_path / "images")))
        store.put(stage_folder(key, "validate") + "quarantine.csv", ROWS.encode())
        outputs = {"quarantine.csv": {"sha256": "0" * 64, "bytes": len(ROWS)}}
        put_record(store, "validate", key, outputs=outputs, **facts)
    return store


def lines(page: str) -> list[str]:
    return [
        cells[1]
        for cells in ([cell.text for cell in row.select("td")] for row in Page(page).soup.select("tr"))
        if cells
    ]


def test_the_newest_validation_is_shown_also_if_it_refused_the_labels(store: FileStore):
    page = Page(labels_page(store))
    assert page.verdict == "Refused. too many rows are quarantined"
    assert "age is not a number (2)" in page.text
    assert "age_retraining/tuesday/validate/quarantine.csv" in page.addresses


def test_rows_are_filtered_and_sorted_by_links(store: FileStore):
    assert lines(labels_page(store)) == ["9", "10", "11"]
    assert lines(labels_page(store, order="file name")) == ["11", "10", "9"]
    assert lines(labels_page(store, fault="age is not a number", order="file name")) == ["11", "10"]
    assert "?fault=age%20is%20not%20a%20number&order=line#quarantine" in Page(labels_page(store)).addresses


def test_quarantined_rows_have_their_faces_out_of_tar_files(store: FileStore, tmp_path: Path):
    face = io.BytesIO()
    Image.new("RGB", (8, 8)).save(face, "PNG")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "faces.tar").write_bytes(tar_of({"a.jpg": face.getvalue(), "c.jpg": b"no image"}))
    tars = f"{tmp_path}/images/*.tar"
    start_run(StoredRun("tuesday", store), Config(), Locations(labels="labels.csv", images=tars))
    assert Page(labels_page(store)).soup.select("table img") == []  # an earlier version wrote no places
    write_places(ImageFolder(tars, tmp_path / "cache"), ["a.jpg", "b.jpg", "c.jpg"], tmp_path)
    content = (tmp_path / PLACES).read_bytes()
    store.put(stage_folder("tuesday", "validate") + PLACES, content)
    outputs = {PLACES: {"sha256": "0" * 64, "bytes": len(content)}, "quarantine.csv": {"sha256": "0" * 64, "bytes": 1}}
    put_record(store, "validate", "tuesday", outputs=outputs, summary={"rows": 100, "accepted": 97, "quarantined": 3})
    page = Page(labels_page(store))
    assert [row.select_one("td.n").text for row in page.soup.select("tr") if row.select("img")] == ["11"]
    assert lines(page.html) == ["9", "10", "11"]


def test_a_name_that_a_spreadsheet_takes_for_a_formula_is_shown_as_it_is_with_its_face(
    store: FileStore, tmp_path: Path
):
    (tmp_path / "images").mkdir()
    rows = {"line": [1, 2], "file_name": ["=1.png", "-b c.png"], "age_text": ["+x", "-3"]}
    table = pd.DataFrame(rows | {"fault": "an age", "reason": "no number"})
    for name in table["file_name"]:
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / name)
    store.put(stage_folder("tuesday", "validate") + "quarantine.csv", as_csv(table).encode())
    page = Page(labels_page(store))
    assert [cells[2].text for cells in (row.select("td") for row in page.soup.select("tr")) if cells] == [
        "=1.png",
        "-b c.png",
    ]
    assert len(page.soup.select("table img")) == 2
    assert "'" not in page.soup.select_one("table").text


def test_what_to_label_next_is_shown_with_faces_and_downloads(store: FileStore):
    shown = RANKED.model_copy(update={"image": "data:image/jpeg;,"})
    ranking = RANKING.model_copy(update={"ranked": [shown, RANKED]})
    put_ranking(store, ranking, b"[]", b"file_name")
    page = Page(labels_page(store))
    assert "What to label next" in page.headings
    assert "v3 would learn most from these" in page.text
    assert "Of 900 images without labels" in page.text
    assert "2 are ranked; 2 can't be read" in page.text
    assert "31 years?" in page.text
    assert {"labels/next/next.csv", "labels/next/tasks.json"} <= set(page.addresses)


def test_a_store_without_runs_says_what_will_come(tmp_path: Path):
    page = Page(labels_page(FileStore(tmp_path / "new")))
    assert page.verdict.startswith("No labels have been validated yet.")
    assert page.headings == []
