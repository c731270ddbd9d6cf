"""`labels merge`: what people said in a labelling tool comes back into the labels."""

import json
from pathlib import Path

import pytest

from age_tasks.cli.app import main
from age_tasks.registry.label_confirmations import confirmation, confirmed_labels
from age_tasks.reports.label_studio import task
from age_tasks.store import open_store
from tests.support.label_studio import answered, exported

LABELS = b"file_name,real_age\na.jpg,5\nb.jpg,30\n"


@pytest.fixture
def labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A labels file, and a store in use."""
    monkeypatch.setenv("AGE_STORE", (tmp_path / "store").as_uri())
    monkeypatch.setenv("AGE_WHO", "operator")
    (tmp_path / "labels.csv").write_bytes(LABELS)
    return tmp_path / "labels.csv"


def merge(corrections: bytes, labels: Path, *options: str) -> int:
    (file := labels.parent / "said").write_bytes(corrections)
    return main(["labels", "merge", str(file), "--labels", str(labels), *options])


def looked_at(name: str, age: float) -> dict[str, object]:
    """A task of the list of labels to look at of the run monday."""
    data = {"file_name": name, "real_age": age, "sha256": name[0] * 64, "run": "monday"}
    return task("data:image/jpeg;base64,AAAA", 44.4, "out of fold, monday", data)


def test_a_labelled_project_becomes_a_new_labels_file_beside_the_old(
    labels: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO")
    tasks = [looked_at("a.jpg", 5), looked_at("b.jpg", 30)]
    assert merge(exported([answered(tasks[0], 51, 1), answered(tasks[1], 30, 2)]), labels) == 0
    assert json.loads(capsys.readouterr().out) == {
        "labels": str(labels.parent / "labels.merged.csv"),
        **{"changed": 1, "added": 0, "unchanged": 1, "confirmed": 1, "unanswered": 0, "skipped": 0},
    }
    assert labels.read_bytes() == LABELS
    assert (labels.parent / "labels.merged.csv").read_text().splitlines() == [
        "file_name,real_age,labelled_by,labelled_at",
        "a.jpg,51,ann@example.org,2026-11-02T10:00:00Z",
        "b.jpg,30,,",
    ]
    assert "line 2, a.jpg: 5 → 51, by ann@example.org" in caplog.messages


def test_a_label_that_was_found_right_is_no_longer_looked_at(labels: Path):
    assert merge(exported([answered(looked_at("b.jpg", 30), 30)]), labels) == 0
    store = open_store((labels.parent / "store").as_uri())
    ((label, key),) = confirmed_labels(store).items()
    assert label == ("b" * 64, "30")
    said = confirmation(store, key)
    assert (said.who, said.at, said.run) == ("ann@example.org", "2026-11-02T10:00:00Z", "monday")


def test_a_table_without_names_is_what_the_person_at_the_machine_says(labels: Path):
    assert merge(b"file_name,real_age\nb.jpg,31\nnew.jpg,8\n", labels, "--out", str(labels.parent / "new.csv")) == 0
    rows = (labels.parent / "new.csv").read_text().splitlines()
    assert rows[2].startswith("b.jpg,31,operator,20")
    assert rows[3].startswith("new.jpg,8,operator,20")


def test_a_conflict_writes_nothing(labels: Path, capsys: pytest.CaptureFixture[str]):
    assert merge(b"file_name,real_age\na.jpg,31\na.jpg,8\n", labels) == 65
    assert "two ages for a.jpg" in capsys.readouterr().err
    assert not (labels.parent / "labels.merged.csv").exists()
