from types import SimpleNamespace

import pandas as pd
import pytest

from age_tasks.data.expectations import Finding
from age_tasks.data.validation import judge, near_duplicates, quarantined, with_derived_columns
from age_tasks.stages._inputs import read_snapshot


def snapshot(**columns: list) -> pd.DataFrame:
    defaults = {
        "line": [2],
        "file_name": ["a.jpg"],
        "age_text": ["30"],
        "real_age": [30.0],
        "state": ["ok"],
        "sha256": ["ab"],
        "width": [40.0],
        "height": [50.0],
        "problem": [""],
    }
    rows = max(len(values) for values in columns.values())
    filled = {name: columns.get(name, values * rows) for name, values in defaults.items()}
    return pd.DataFrame(filled | {"line": range(2, 2 + rows)})


def finding(**changes: object) -> Finding:
    facts = {
        "description": "Ages are between 0 and 120 years.",
        "severity": "critical",
        "success": False,
        "column": "real_age",
        "arguments": {"max_value": 120},
        "observed": "",
        "failing_rows": (),
        "meta": {},
    }
    return Finding(**facts | changes)


def test_the_state_of_an_image_decides_what_is_asked_about_it_and_not_its_problem():
    problems = ["", "no such file in the images folder", "removed", "truncated"]
    table = with_derived_columns(
        snapshot(state=["ok", "unreadable", "missing", "unreadable"], problem=problems, file_name=["a", "b", "c", "d"])
    )
    assert table["image_exists"].tolist() == [True, True, False, True]
    assert table["image_decodes"].tolist()[:2] == [True, False]
    assert table["image_decodes"].isna().tolist() == [False, False, True, False]


@pytest.mark.parametrize("state_column", [True, False], ids=["with states", "written by version 0.1"])
def test_a_snapshot_is_read_with_and_without_states(tmp_path, state_column: bool):
    states = ["ok", "missing", "unreadable"]
    table = snapshot(state=states, problem=["", "no such file in the images folder", "truncated"])
    table = table.assign(bytes=1, dhash="")
    table.drop(columns=[] if state_column else ["state"]).to_csv(tmp_path / "snapshot.csv", index=False)
    run = SimpleNamespace(input=lambda stage, name: tmp_path / name)
    assert read_snapshot(run)["state"].tolist() == states


def test_quarantined_rows_have_the_first_fault_and_all_reasons():
    table = with_derived_columns(snapshot(file_name=["a", "b", "c"], real_age=[30.0, 130.0, 140.0]))
    findings = [
        finding(failing_rows=(1, 2), meta={"fault": "too old", "reason": "{real_age:g} is above {max_value}"}),
        finding(failing_rows=(2,), meta={"fault": "odd", "reason": "line {line}"}),
        finding(failing_rows=(0,), severity="warning", meta={"fault": "x", "reason": "y"}),
    ]
    quarantine = quarantined(table, findings)
    assert quarantine["file_name"].tolist() == ["b", "c"]
    assert quarantine["fault"].tolist() == ["too old", "too old"]
    assert quarantine["reason"].tolist() == ["130 is above 120", "140 is above 120; line 4"]


def test_a_row_written_differently_is_listed_twice():
    texts = ["38", "38.00", "3.8e1", "+38", "39", "", "-1", "", "0", "-0"]
    ages = [38.0, 38.0, 38.0, 38.0, 39.0, float("nan"), -1.0, float("nan"), 0.0, -0.0]
    table = with_derived_columns(snapshot(file_name=["a.jpg"] * len(texts), age_text=texts, real_age=ages))
    assert table["listed"].tolist() == [1, 2, 3, 4, 1, 1, 1, 2, 1, 2]
    assert table["first_line"].tolist() == [2, 2, 2, 2, 6, 7, 8, 7, 10, 10]


def test_near_duplicates_are_pairs_of_different_contents_the_nearest_first():
    hashes = ["00" * 32, "00" * 31 + "07", "ff" * 32, "ff" * 31 + "fe"]
    labels = snapshot(file_name=list("abcd"), sha256=list("abcd"), real_age=[1.0, 2.0, 3.0, 4.0]).assign(dhash=hashes)
    pairs = near_duplicates(pd.concat([labels, labels.head(1)]))
    assert pairs[["first_file_name", "second_file_name", "bits"]].to_numpy().tolist() == [["c", "d", 1], ["a", "b", 3]]
    columns = ["first_file_name", "first_line", "first_real_age", "second_file_name", "second_line", "second_real_age"]
    assert near_duplicates(labels.head(0)).columns.tolist() == [*columns, "bits"]


def test_too_many_quarantined_rows_and_failed_dataset_expectations_refuse_the_labels():
    rows = pd.DataFrame({"line": range(3)})
    assert judge(100, rows, [], 0.03).accepted
    verdict = judge(100, rows, [finding(), finding(meta={"fault": "x"}), finding(severity="warning")], 0.02)
    assert verdict.problems == (
        "3 of 100 rows (3.0%) are quarantined; at most 2.0% may be (validate.max_quarantine_fraction)",
        "not met: Ages are between 0 and 120 years.",
    )
