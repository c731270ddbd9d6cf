"""Refusals of `labels merge`, each with its way out."""

from pathlib import Path

import pytest

from age_tasks.stages.merge_labels import merge_labels
from tests.support.label_studio import answered, exported
from tests.support.refusals import walks
from tests.support.walks import Walk

STAGE, READ, MERGED = "stages/merge_labels.py", "data/corrections.py", "data/merged_labels.py"
TASK = {"data": {"file_name": "a.jpg"}}


@pytest.fixture
def labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("labels.csv").write_text("file_name,real_age\na.jpg,5\nb.jpg,30\n")
    return Path("labels.csv")


def merge(corrections: bytes | str, out: str | None = None) -> None:
    Path("said").write_bytes(corrections.encode() if isinstance(corrections, str) else corrections)
    merge_labels("labels.csv", "said", str(Path("store").absolute()), out)


@walks(STAGE, "exists already")
def test_a_second_merge(refused: Walk, labels: Path):
    merge("file_name,real_age\na.jpg,6\n")
    again = refused(lambda: merge("file_name,real_age\na.jpg,7\n"), "labels.merged.csv exists", "--out")
    again(lambda: merge("file_name,real_age\na.jpg,7\n", "second.csv"))


@walks(READ, "has no column 'real_age'")
def test_a_table_without_ages(refused: Walk, labels: Path):
    again = refused(lambda: merge("file_name,age\na.jpg,6\n"), "said", "real_age", "file_name, age")
    again(lambda: merge("file_name,real_age\na.jpg,6\n"))


@walks(READ, "is no list of tasks")
def test_another_json(refused: Walk, labels: Path):
    again = refused(lambda: merge("[1]"), "said", "JSON, JSON-MIN or CSV")
    again(lambda: merge(exported([answered(TASK, 6)])))


@walks(READ, "is not valid JSON")
def test_an_export_that_was_cut_off(refused: Walk, labels: Path):
    again = refused(lambda: merge("[{"), "said", "export it again")
    again(lambda: merge(exported([answered(TASK, 6)])))


@walks(READ, "is no task of Label Studio")
def test_a_task_of_something_else(refused: Walk, labels: Path):
    again = refused(lambda: merge(exported([{"id": 3, "data": 5}])), "said task 3", "data")
    again(lambda: merge(exported([answered(TASK, 6)])))


@walks(READ, "numbers in one annotation")
def test_two_numbers_for_one_face(refused: Walk, labels: Path):
    twice = answered(TASK, 6)
    twice["annotations"][0]["result"] *= 2
    again = refused(lambda: merge(exported([twice])), "said task 1", "keep one")
    again(lambda: merge(exported([answered(TASK, 6)])))


@walks(READ, "has no file_name")
def test_tasks_that_others_wrote(refused: Walk, labels: Path):
    again = refused(lambda: merge(exported([answered({"data": {"image": "1.jpg"}}, 6)])), "task 1", "file_name")
    again(lambda: merge(exported([answered(TASK, 6)])))


@walks(READ, "is not an age from")
def test_an_impossible_age(refused: Walk, labels: Path):
    again = refused(lambda: merge("file_name,real_age\na.jpg,200\n"), "said line 2", "'200'", "0 to 120")
    again(lambda: merge("file_name,real_age\na.jpg,20\n"))


@walks(MERGED, "two ages for")
def test_two_people_disagree(refused: Walk, labels: Path):
    again = refused(lambda: merge("file_name,real_age\na.jpg,20\na.jpg,40\n"), "a.jpg", "line 2", "line 3")
    again(lambda: merge("file_name,real_age\na.jpg,20\n"))


@walks(MERGED, "which row is meant can't be known")
def test_an_image_with_two_rows(refused: Walk, labels: Path):
    labels.write_text("file_name,real_age\na.jpg,5\na.jpg,9\n")
    again = refused(lambda: merge("file_name,real_age\na.jpg,20\n"), "5 on line 2 and 9 on line 3")
    labels.write_text("file_name,real_age\na.jpg,5\n")
    again()


@walks(MERGED, "by now;")
def test_a_label_that_changed_meanwhile(refused: Walk, labels: Path):
    said = exported([answered({"data": {"file_name": "a.jpg", "real_age": 8.0}}, 20)])
    again = refused(lambda: merge(said), "in place of 8", "line 2 of labels.csv says '5'")
    again(lambda: merge("file_name,real_age\nb.jpg,20\n"))


@walks(MERGED, "an image without a label")
def test_a_new_image_with_the_name_of_a_labelled_one(refused: Walk, labels: Path):
    again = refused(lambda: merge("file_name,real_age,unlabelled\na.jpg,20,true\n"), "line 2 of labels.csv", "'5'")
    again(lambda: merge("file_name,real_age,unlabelled\nanother-a.jpg,20,true\n"))
