import pandas as pd

from age_tasks.reports.face_sheets import (
    CHANGED_FACES,
    CHANGED_ON_A_SHEET,
    LABEL_ISSUES,
    LARGEST_ERRORS,
    SAMPLE_BAND,
    SAMPLE_FACES,
    SEGMENT_FACES,
    SHEETS,
    changed_most,
    got_better,
    got_worse,
    in_weak_segments,
    largest_errors,
    sample_faces,
)


def people(count: int) -> pd.DataFrame:
    ages = [float(number * 7 % 90) for number in range(count)]
    sha256s = [f"{number:064x}" for number in range(count)]
    weak = [number % 3 for number in range(count)]
    columns = {"real_age": ages, "finetune": 30.0, "champion": 50.0, "sha256": sha256s, "weak_segment": weak}
    return pd.DataFrame(columns)


def test_sample_faces_are_spread_from_young_to_old():
    chosen = sample_faces(people(900))
    assert len(chosen) == 90 / SAMPLE_BAND
    assert chosen["real_age"].is_monotonic_increasing
    assert chosen["real_age"].iloc[0] == 0
    assert chosen["real_age"].iloc[-1] > 80


def test_the_sample_stays_when_other_faces_are_erased():
    chosen = sample_faces(people(900))
    others = people(900).drop(chosen.index).sample(400, random_state=1)
    assert sample_faces(people(900).drop(others.index))["sha256"].tolist() == chosen["sha256"].tolist()


def test_a_face_that_version_0_1_0_showed_is_found():
    rows = SHEETS["validate/audit/faces.png"][1](people(900))
    by_age = people(900).sort_values(["real_age", "sha256"])
    assert set(by_age["sha256"].iloc[[0, int(900 / SAMPLE_FACES)]]) <= set(rows["sha256"])
    assert set(sample_faces(people(900))["sha256"]) <= set(rows["sha256"])


def test_few_faces_are_all_shown_whatever_their_order():
    table = people(5)
    assert set(sample_faces(table)["sha256"]) == set(table["sha256"])
    shuffled = table.sample(frac=1, random_state=1)
    assert sample_faces(shuffled)["sha256"].tolist() == sample_faces(table)["sha256"].tolist()


def test_the_largest_errors_come_first():
    errors = (largest_errors(people(100))["real_age"] - 30).abs()
    assert len(errors) == LARGEST_ERRORS
    assert errors.is_monotonic_decreasing
    assert errors.iloc[0] == 59


def test_the_faces_whose_errors_changed_most_are_those_that_got_worse_then_those_that_got_better():
    table = pd.DataFrame({"real_age": [30.0] * 4, "champion": [30, 40, 45, 33], "finetune": [41, 30, 45, 35]})
    assert changed_most(table).index.tolist() == [0, 3, 1]
    assert got_worse(table).index.tolist() == [0, 3]
    assert got_better(table).index.tolist() == [1]
    assert changed_most(table.assign(finetune=table["champion"])).empty


def test_each_weak_segment_has_a_row_of_faces():
    chosen = in_weak_segments(people(100).sample(frac=1, random_state=1))
    assert chosen["weak_segment"].tolist() == [1] * SEGMENT_FACES + [2] * SEGMENT_FACES
    as_text = people(100).astype({"weak_segment": "str"})
    assert in_weak_segments(as_text)["sha256"].tolist() == chosen["sha256"].tolist()
    assert in_weak_segments(people(100).drop(columns="weak_segment")).empty


def test_the_faces_of_weak_segments_stay_when_others_are_erased():
    chosen = in_weak_segments(people(100))
    others = people(100).drop(chosen.index).sample(40, random_state=1)
    assert in_weak_segments(people(100).drop(others.index))["sha256"].tolist() == chosen["sha256"].tolist()


def test_every_sheet_names_its_table_and_chooses_rows_of_it():
    table = people(100)
    sizes = {sheet: len(rows(table)) for sheet, (_, rows) in SHEETS.items()}
    assert SAMPLE_FACES <= sizes.pop("validate/audit/faces.png") <= 2 * SAMPLE_FACES
    assert sizes == {
        "evaluate/worst_errors.png": LARGEST_ERRORS,
        "evaluate/got_worse.png": CHANGED_ON_A_SHEET,
        "evaluate/got_better.png": CHANGED_ON_A_SHEET,
        "evaluate/changed_faces.png": 2 * CHANGED_FACES,
        "evaluate/weak_segments.png": 2 * SEGMENT_FACES,
        "evaluate/labels_to_look_at.png": LABEL_ISSUES,
    }
    assert all(source.endswith(".csv") for source, _ in SHEETS.values())
