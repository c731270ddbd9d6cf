"""Labels that name people, or fix the split, through the stages before the training."""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest

from age_tasks.cli.app import main
from age_tasks.environment import Locations
from age_tasks.errors import LabelsError
from age_tasks.runs.run import open_run
from age_tasks.stages._inputs import read_accepted, read_splits
from tests.support.page import Page
from tests.support.settings import QUICK, overrides, point_at
from tests.support.stages import run_stages, table

PEOPLE = 40
Run = Callable[..., int]


@pytest.fixture
def run(sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Snapshot, validate and split labels with the columns `who` and `official`; the exit code of the last command."""
    rows = list(csv.reader(sample.labels.open(newline="")))[1:]
    labels = tmp_path / "labels.csv"
    with labels.open("w", newline="") as file:
        write = csv.writer(file).writerow
        write(["file_name", "real_age", "who", "official"])
        for number, row in enumerate(rows):
            write([*row, f"person {number % PEOPLE}", ("train", "train", "Valid", "test")[number % 4]])
    point_at(monkeypatch, tmp_path, labels)
    monkeypatch.setenv("AGE_IMAGES", str(sample.images))

    def run(stages: Sequence[str] = ("snapshot", "validate", "split"), **settings: object) -> int:
        named = {f"data.{name}": value for name, value in settings.items()}
        for stage in stages:
            code = main([stage, "--run", "x", "--recipe", "demo", *overrides(QUICK | named)])
            if code:
                return code
        return 0

    return run


def splits() -> dict[str, set[str]]:
    """The people in each split."""
    with open_run("x", Locations.from_env()) as opened:
        return {name: set(table(opened, "split", f"{name}.csv")["person"]) for name in ("train", "val", "test")}


def test_a_person_is_in_one_split_and_the_page_counts_people(run: Run):
    assert run(person_column="who") == 0
    found = splits()
    assert sum(map(len, found.values())) == len(set.union(*found.values()))
    assert all(found.values())
    with open_run("x", Locations.from_env()) as opened:
        page = Page(opened.input("validate", "index.html").read_text())
        assert opened.record("validate").summary["people"] == PEOPLE
    assert f"{PEOPLE} people, " in page.text
    assert "All images of a person are in one split." in page.text


def test_a_fixed_split_is_used(run: Run):
    assert run(split_column="official") == 0
    with open_run("x", Locations.from_env()) as opened:
        official = {
            row["file_name"]: row["fixed_split"] for row in table(opened, "validate", "accepted.csv").to_dict("records")
        }
        for name in ("train", "val", "test"):
            rows = table(opened, "split", f"{name}.csv")
            assert len(rows)
            assert {official[row] for row in rows["file_name"]} == {name}
        assert "The labels fix the split" in Page(opened.input("validate", "index.html").read_text()).text


def change(labels: Path, column: int, cell: Callable[[int], str]) -> None:
    """Write other cells, by the number of the row, into a column of the labels."""
    rows = list(csv.reader(labels.open(newline="")))
    with labels.open("w", newline="") as file:
        write = csv.writer(file, quoting=csv.QUOTE_ALL).writerow
        for number, row in enumerate(rows):
            write([*row[:column], cell(number) if number else row[column], *row[column + 1 :]])


def test_a_fixed_split_without_a_part_is_refused_before_it_is_split(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    change(tmp_path / "labels.csv", 3, lambda number: ("train", "test")[number % 2])
    assert run(("snapshot", "validate"), split_column="official") == LabelsError.exit_code
    assert "no image is in val by the fixed split (data.split_column)" in capsys.readouterr().err
    assert run() == 0


def test_too_few_people_are_refused_in_one_line(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    change(tmp_path / "labels.csv", 2, lambda number: f"person {number % 2}")
    assert run(person_column="who") == LabelsError.exit_code
    said = capsys.readouterr().err
    assert "2 known people (data.person_column)" in said
    assert "Traceback" not in said
    change(tmp_path / "labels.csv", 2, lambda number: "" if number > 1 else "ann")
    assert run(person_column="who") == 0


def test_cells_that_end_a_line_or_look_like_other_types_are_kept(run: Run, tmp_path: Path):
    cells = ("a\rb", 'a "quoted", cell', "007", "NA", "two\nlines", "1e5")
    change(tmp_path / "labels.csv", 2, lambda number: f"{cells[number % 6]} {number // 6}")
    assert run(person_column="who") == 0
    rows = list(csv.reader((tmp_path / "labels.csv").open(newline="")))[1:]
    given = {row[0]: row[2] for row in reversed(rows)}  # of an image that is listed twice the first row counts
    with open_run("x", Locations.from_env()) as opened:
        accepted = read_accepted(opened)
        people = dict(zip(accepted["file_name"], accepted["person"], strict=True))
        parts = read_splits(opened)
        assignments = pd.read_csv(opened.input("split", "assignments.csv"), dtype="str", keep_default_na=False)
    assert people == {name: given[name] for name in people}
    for part in parts.values():
        assert part["person"].tolist() == [given[name] for name in part["file_name"]]
    assert len(assignments) == len(pd.concat(parts.values()).drop_duplicates("sha256"))
    assert set(assignments["person"]) <= set(people.values())


def test_people_across_a_fixed_split_are_left_out_of_training(run: Run):
    assert run(person_column="who", split_column="official") == 0
    found = splits()
    assert sum(map(len, found.values())) == len(set.union(*found.values()))
    with open_run("x", Locations.from_env()) as opened:
        assert len(table(opened, "validate", "across_splits.csv")) == opened.record("split").summary["left_out"] > 0


def test_people_across_a_fixed_split_can_be_refused(run: Run, capsys: pytest.CaptureFixture[str]):
    settings = {"person_column": "who", "split_column": "official", "across_splits": "refuse"}
    assert run(("snapshot", "validate"), **settings) == 65
    assert "rows of the fixed split show a person, or a duplicate, of another split" in capsys.readouterr().err


@pytest.mark.slow
def test_slices_reach_the_report_the_card_and_the_gate(run: Run, tmp_path: Path):
    settings = {
        "evaluate.slices": ["official", "image colour & official"],
        "gate.max_slice_gap_years": 0.01,
        "baseline.epochs": 1,
        "finetune.epochs": 1,
    }
    run_stages("x", "demo", QUICK | settings)
    with open_run("x", Locations.from_env()) as opened:
        metrics = json.loads(opened.input("evaluate", "metrics.json").read_text())
        predictions = table(opened, "evaluate", "predictions.csv")
        report = Page(opened.input("publish", "report.html").read_text())
        card = opened.input("publish", "model_card.md").read_text()
        rules = [rule["name"] for rule in opened.record("gate").summary["rules"]]
    errors = (predictions["finetune"] - predictions["real_age"]).abs()
    official = predictions["slice:official"]
    by = {"official": official, "image colour & official": predictions["slice:image colour"] + ", " + official}
    expected = {(name, value): mae for name, keys in by.items() for value, mae in errors.groupby(keys).mean().items()}
    found = {(each["column"], each["value"]): each["mae"]["value"] for each in metrics["slices"]}
    assert found == pytest.approx(expected, abs=1e-3)
    assert "Errors by slice" in report.headings
    assert report.row("Valid few images") or report.row("Valid")
    assert "| official | images |" in card
    assert any(name.startswith("gap between slices") for name in rules)


def test_several_raters_give_one_age_and_weights_reach_the_training(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    labels = tmp_path / "labels.csv"
    rows = list(csv.reader(labels.open(newline="")))
    good = next(row for row in rows if row[0] == "00010.jpg")
    with labels.open("w", newline="") as file:
        write = csv.writer(file).writerow
        write([*rows[0], "trust"])
        for number, row in enumerate(rows[1:]):
            write([*row, 1 + number % 2])
        write([good[0], str(float(good[1]) + 6), good[2], good[3], 4])
    assert run(("snapshot", "validate")) == 0
    with open_run("x", Locations.from_env()) as opened:
        assert "age_spread" not in table(opened, "validate", "accepted.csv")
        assert "00010.jpg" not in set(table(opened, "validate", "accepted.csv")["file_name"])
    assert run(repeated_labels="mean", weight_column="trust", balance_ages=3) == 0
    with open_run("x", Locations.from_env()) as opened:
        accepted = table(opened, "validate", "accepted.csv").set_index("file_name")
        merged = accepted.loc["00010.jpg"]
        assert (merged["real_age"], merged["age_spread"], merged["raters"]) == (float(good[1]) + 3, 3.0, 2)
        assert "Images with several labels" in Page(opened.input("validate", "index.html").read_text()).headings
        train, test = (table(opened, "split", f"{name}.csv") for name in ("train", "test"))
        assert train["weight"].mean() == pytest.approx(1, abs=1e-3)
        assert train["weight"].max() / train["weight"].min() > 3
        assert "weight" not in test


def test_images_count_by_how_far_their_raters_agree(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    labels = tmp_path / "labels.csv"
    rows = list(csv.reader(labels.open(newline="")))
    doubted = [row for row in rows if row[0] in {f"{number:05d}.jpg" for number in range(10, 40)}]
    with labels.open("a", newline="") as file:
        csv.writer(file).writerows([name, float(age) + 10, *rest] for name, age, *rest in doubted)
    assert run(("snapshot",), weight_column="age_spread") == LabelsError.exit_code
    assert "no column 'age_spread'" in capsys.readouterr().err
    assert run(("snapshot", "validate", "split"), repeated_labels="mean", weight_column="age_spread") == 0
    with open_run("x", Locations.from_env()) as opened:
        train = table(opened, "split", "train.csv").set_index("file_name")["weight"]
    names = {row[0] for row in doubted} & set(train.index)
    assert names
    assert (train[list(names)] / train.max()).round(2).unique().tolist() == [0.67]


def test_another_use_of_the_labels_is_no_reason_to_reuse_a_split(run: Run):
    assert run() == 0
    assert main(["split", "--run", "x", "--set", "data.balance_ages=5"]) == 0
    with open_run("x", Locations.from_env()) as opened:
        assert "weight" in table(opened, "split", "train.csv")


def test_an_unknown_column_stops_the_snapshot(run: Run, capsys: pytest.CaptureFixture[str]):
    assert run(person_column="whom") == 65
    said = capsys.readouterr().err
    assert "no column 'whom' (data.person_column). Its columns: file_name, real_age, who, official." in said
    assert "Did you mean who?" in said


def test_the_snapshot_of_labels_without_such_settings_has_no_such_columns(run: Run):
    assert run() == 0
    with open_run("x", Locations.from_env()) as opened:
        for stage, name in (("snapshot", "snapshot.csv"), ("validate", "accepted.csv"), ("split", "assignments.csv")):
            assert not {"person", "fixed_split"} & set(table(opened, stage, name).columns)
        assert "people" not in json.dumps(opened.record("validate").summary)
