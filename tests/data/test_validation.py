import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from age_tasks.config import ValidateSettings
from age_tasks.data.expectations import Finding
from age_tasks.data.validation import (
    SHIFT,
    AgeShift,
    age_shift,
    enough_hundredths,
    judge,
    near_pairs,
    quarantined,
    with_derived_columns,
)
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
    found = read_snapshot(run)
    assert found["state"].tolist() == states
    assert not {"brightness", "sharpness", "colour"} & set(found)


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
    found = near_pairs(pd.concat([labels, labels.head(1)], ignore_index=True))
    pairs = found.nearest
    assert pairs[["first_file_name", "second_file_name", "bits"]].to_numpy().tolist() == [["c", "d", 1], ["a", "b", 3]]
    columns = ["first_file_name", "first_line", "first_real_age", "second_file_name", "second_line", "second_real_age"]
    assert found.count == 2
    a, b, c, d, again = found.group
    assert a == b == again != c == d
    assert near_pairs(labels.head(0)).nearest.columns.tolist() == [*columns, "bits"]


def test_too_many_quarantined_rows_and_failed_dataset_expectations_refuse_the_labels():
    rows = pd.DataFrame({"line": range(3)})
    bounds = ValidateSettings(max_quarantine_fraction=0.02)
    assert judge(100, rows, [], ValidateSettings(max_quarantine_fraction=0.03)).accepted
    verdict = judge(100, rows, [finding(), finding(meta={"fault": "x"}), finding(severity="warning")], bounds)
    assert verdict.problems == (
        "3 of 100 rows (3.0 %) are quarantined; at most 2.0 % may be (validate.max_quarantine_fraction)",
        "not met: Ages are between 0 and 120 years.",
    )


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 5000).flatmap(lambda rows: st.tuples(st.just(rows), st.integers(0, rows))))
@example((100, 29))
def test_the_fraction_that_is_suggested_lets_the_rows_pass(counts: tuple[int, int]):
    rows, bad = counts
    fraction = float(f"{enough_hundredths(bad / rows)}")
    assert bad / rows <= fraction < bad / rows + 0.01
    if fraction < 1:
        quarantine = pd.DataFrame({"line": range(bad)})
        assert judge(rows, quarantine, [], ValidateSettings(max_quarantine_fraction=fraction)).accepted


@given(st.floats(0, 1))
@example(math.nextafter(0.29, 1))
def test_what_is_suggested_is_never_below_what_was_found(value: float):
    assert value <= enough_hundredths(value) < value + 0.0101


def test_a_fixed_split_without_images_in_a_part_is_a_problem():
    verdict = judge(100, pd.DataFrame({"line": []}), [], ValidateSettings(), empty_splits=("val",))
    assert not verdict.accepted
    assert "no image is in val by the fixed split (data.split_column)" in verdict.problems[0]


def test_every_refusal_names_a_setting_or_the_suite_with_the_rule():
    none, bounds = pd.DataFrame({"line": []}), ValidateSettings()
    few = finding(column="rows", arguments={"min_value": 100})
    own = finding(description="Children are there.", column="first_quartile", suite="distribution")
    assert judge(10, none, [few, own], bounds).problems == (
        "10 rows are accepted; at least 100 must be (validate.min_rows)",
        "not met: Children are there. (a rule of expectations/suites/distribution.json)",
    )


def test_a_shift_of_ages_is_a_problem_unless_a_person_accepted_it():
    none, bounds = pd.DataFrame({"line": []}), ValidateSettings()
    shift, failed = AgeShift(distance=0.5, rows=400, previous_rows=600, previous_run="monday"), finding(column=SHIFT)
    verdict = judge(400, none, [failed], bounds, shift)
    assert not verdict.accepted
    assert verdict.shifted
    assert verdict.problems == (
        "The ages differ from those of run monday: Kolmogorov-Smirnov distance 0.500 (400 rows against 600), 0.374 "
        "beyond what chance explains; at most 0.15 may be (validate.max_age_shift)",
    )
    accepted = judge(400, none, [failed], bounds, shift, shift_accepted=True)
    assert (accepted.accepted, accepted.shifted, accepted.problems) == (True, True, ())
    fewer = finding(column="rows", arguments={"min_value": 100})
    assert not judge(50, none, [failed, fewer], bounds, shift, shift_accepted=True).accepted


def population(count: int, rng: np.random.Generator, youngest: int = 0) -> pd.Series:
    """Whole years of many children and few old people, drawn anew."""
    ages = np.arange(youngest, 95)
    weights = np.exp(-ages / 35)
    return pd.Series(rng.choice(ages, count, p=weights / weights.sum()).astype("float64"))


def test_samples_of_one_population_are_not_refused_for_their_chance_differences():
    rng, pairs = np.random.default_rng(7), 1000
    shifts = [age_shift(population(100, rng), population(100, rng), "before") for _ in range(pairs)]
    above_distance = sum(shift.distance > 0.15 for shift in shifts)
    refused = sum(shift.beyond_chance > 0.15 for shift in shifts)
    refused_at_0 = sum(shift.beyond_chance > 0 for shift in shifts)
    assert (above_distance > 0.1 * pairs, refused, refused_at_0 < 0.005 * pairs) == (True, 0, True)


@pytest.mark.parametrize(("before", "now"), [(1000, 1000), (5000, 1000), (1000, 5000)])
def test_a_real_shift_of_many_ages_is_refused(before: int, now: int):
    rng, pairs = np.random.default_rng(8), 50
    shifts = [age_shift(population(now, rng, youngest=18), population(before, rng), "all") for _ in range(pairs)]
    assert sum(shift.beyond_chance > 0.15 for shift in shifts) == pairs


def test_the_distance_of_ages_is_that_of_kolmogorov_and_smirnov():
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(10)
    for now, before in ((1, 1), (1, 7), (300, 80), (100, 5000)):
        ages, others = population(now, rng), population(before, rng, youngest=10)
        expected = ks_2samp(ages, others, method="exact" if now < 100 else "asymp").statistic
        assert age_shift(ages, others, "before").distance == pytest.approx(expected)


def test_a_set_that_grows_is_not_refused_and_few_rows_show_little():
    rng, pairs = np.random.default_rng(9), 100
    grown = [population(5000, rng) for _ in range(pairs)]
    assert sum(age_shift(ages, ages.head(100), "first").beyond_chance > 0 for ages in grown) == 0
    assert age_shift(pd.Series([60.0] * 10), pd.Series([5.0] * 5000), "all").beyond_chance < 0.4
    assert age_shift(pd.Series([60.0]), pd.Series([5.0]), "all").beyond_chance == 0
    assert age_shift(pd.Series([60.0]), pd.Series([], dtype="float64"), "none") is None


@pytest.mark.parametrize("impossible", [205.0, -4.0, np.nan], ids=["too old", "negative", "no number"])
def test_an_impossible_age_does_not_take_the_good_row_with_it(impossible: float):
    """Neither that of the same name, nor that of the same content under another name."""
    table = with_derived_columns(
        snapshot(
            file_name=["a.jpg", "a.jpg", "b.jpg", "copy.jpg"],
            sha256=["a", "a", "b", "b"],
            real_age=[30.0, impossible, impossible, 40.0],
            age_text=["30", "x", "x", "40"],
        )
    )
    good = table.loc[[0, 3]]
    assert good["ages_of_name"].tolist() == [1, 1]
    assert good["ages_of_content"].tolist() == [1, 1]
    assert table.loc[[1, 2], "ages_of_name"].isna().all()


def test_two_possible_ages_of_one_name_still_contradict_each_other():
    table = with_derived_columns(snapshot(file_name=["a.jpg"] * 3, real_age=[30.0, 205.0, 31.0]))
    assert table["ages_of_name"].fillna(0).tolist() == [2, 0, 2]
    assert "205" not in table["ages_of_name_text"].iloc[0]


def test_a_row_without_a_possible_age_has_a_hint():
    table = with_derived_columns(snapshot(age_text=["12,5", "1985", "30"], real_age=[np.nan, 1985.0, 30.0]))
    assert table["age_hint"].tolist() == ["; write 12.5", "; if it is a year of birth, write the age in years", ""]
