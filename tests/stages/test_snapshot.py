"""The stage `snapshot`."""

import json
import shutil
from pathlib import Path

import pytest

from age_tasks.cli.app import main
from age_tasks.runs.run import Workspace
from tests.support.settings import point_at
from tests.support.stages import table


def test_a_snapshot_holds_the_labels_file_and_a_row_for_each_of_its_lines(prepared: Workspace, sample):
    assert prepared.input("snapshot", "labels.csv").read_bytes() == sample.labels.read_bytes()
    assert len(table(prepared, "snapshot", "snapshot.csv")) == sample.rows


def test_a_snapshot_says_what_was_measured_of_each_image(prepared: Workspace):
    found = table(prepared, "snapshot", "snapshot.csv")
    decoded = found[found["state"] == "ok"]
    assert decoded["brightness"].astype(float).between(0, 1).all()
    assert set(decoded["colour"]) <= {"colour", "greyscale"}
    assert set(found.loc[found["state"] != "ok", "sharpness"]) == {""}
    accepted = table(prepared, "validate", "accepted.csv")
    assert accepted["sharpness"].tolist() == pytest.approx(
        decoded.set_index("line").loc[accepted["line"], "sharpness"].astype(float).tolist()
    )


def test_a_table_of_another_program_is_frozen_as_plain_csv_and_said_on_the_validation_page(
    place: Path, sample, monkeypatch: pytest.MonkeyPatch, capsys
):
    images = place / "images"
    images.mkdir()
    for number in range(3):
        shutil.copy(sample.images / f"{number:05d}.jpg", images / f"e\u0301{number}.jpg")
    rows = [f"./\xe9{number}.jpg;3{number},5\r\n" for number in range(3)] + ["\xe90.jpg;30,50\r\n"]
    (place / "labels.csv").write_bytes(("file_name;real_age\r\n" + "".join(rows)).encode("utf-16"))
    monkeypatch.setenv("AGE_LABELS", str(place / "labels.csv"))
    monkeypatch.setenv("AGE_IMAGES", str(images))
    assert main(["snapshot", "--run", "x", "--recipe", "demo"]) == 0
    assert json.loads(capsys.readouterr().out)["read_as"] == "UTF-16, semicolons, decimal comma"
    stage = place / "store" / "runs" / "x" / "snapshot"
    frozen = "file_name,real_age\n" + "".join(f'e\u0301{n}.jpg,"3{n},5"\n' for n in range(3))
    assert (stage / "labels.csv").read_text() == frozen + 'e\u03010.jpg,"30,50"\n'
    assert main(["validate", "--run", "x"]) == 65  # too few
    validated = place / "store" / "runs" / "x" / "validate"
    assert "read as: UTF-16, semicolons, decimal comma" in (validated / "index.html").read_text()
    assert "already listed on line 2" in (validated / "quarantine.csv").read_text()
    assert main(["forget", "./\xe91.jpg", "--delete"]) == 0
    assert "e\u03011.jpg" not in (stage / "labels.csv").read_text()
    assert "e\u03012.jpg" in (stage / "labels.csv").read_text()


def test_again_reads_every_image_anew(sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    point_at(monkeypatch, tmp_path, sample.labels)
    read = []
    for options in ([], [], ["--again"]):
        assert main(["snapshot", "--run", "x", *options]) == 0
        record = json.loads((tmp_path / "store/runs/x/snapshot/stage.json").read_bytes())
        read.append(record["summary"]["images_read"])
    assert read[0] > 0
    assert read == [read[0], 0, read[0]]
