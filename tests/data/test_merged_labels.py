"""Corrections merged into labels."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from age_tasks.data.corrections import Correction
from age_tasks.data.labels import parse_labels, read_labels
from age_tasks.data.merged_labels import MergedLabels, merge, with_defaults
from age_tasks.errors import LabelsError

LABELS = b"file_name,real_age,site\na.jpg,5,north\nb.jpg,30.0,south\nd/c.jpg,40,south\n"
SAID = Correction("a.jpg", 51.0, math.nan, "", "", "ann", "2026-11-02", "line 2")


def merged(*corrections: Correction, labels: bytes = LABELS) -> MergedLabels:
    return merge(parse_labels(labels, "labels.csv"), corrections, "labels.csv", "said.csv")


def test_only_rows_that_were_corrected_change_and_say_who_and_when():
    found = merged(SAID, replace(SAID, file_name="new.jpg", age=7.5))
    assert found.content.decode().splitlines() == [
        "file_name,real_age,site,labelled_by,labelled_at",
        "a.jpg,51,north,ann,2026-11-02",
        "b.jpg,30.0,south,,",
        "d/c.jpg,40,south,,",
        "new.jpg,7.5,,ann,2026-11-02",
    ]
    assert [(change.line, change.before) for change in found.changed] == [(2, "5")]
    assert [each.file_name for each in found.added] == ["new.jpg"]


def test_the_ages_of_a_file_with_decimal_commas_stay_what_they_are():
    found = merged(SAID, labels=b"file_name;real_age\na.jpg;5\nb.jpg;30,5\nc.jpg;x\n")
    rows = read_labels(found.content, "merged.csv")
    assert rows["real_age"].tolist()[:2] == [51, 30.5]
    assert rows["age_text"].tolist()[2] == "x"


def test_a_cell_with_a_carriage_return_stays_in_its_row():
    found = merged(SAID, labels=b'file_name,real_age,note\na.jpg,5,"one\rtwo"\nb.jpg,6,\n')
    assert read_labels(found.content, "merged.csv")["file_name"].tolist() == ["a.jpg", "b.jpg"]


def test_an_age_that_is_the_same_changes_nothing():
    found = merged(replace(SAID, file_name="b.jpg", age=30))
    assert (found.content, found.changed, len(found.unchanged)) == (LABELS, [], 1)


@pytest.mark.parametrize("name", ["./a.jpg", " a.jpg", "d//c.jpg"])
def test_all_ways_to_write_a_name_mean_the_same_row(name: str):
    found = merged(replace(SAID, file_name=name))
    assert (len(found.changed), found.added) == (1, [])


def test_a_name_that_a_table_had_to_escape_is_found():
    found = merged(replace(SAID, file_name="'=1.jpg"), labels=b"file_name,real_age\n=1.jpg,5\n")
    assert (len(found.changed), found.added) == (1, [])
    added = merged(replace(SAID, file_name="'=1.jpg")).added
    assert [each.file_name for each in added] == ["=1.jpg"]


def test_several_people_may_say_the_same():
    assert len(merged(SAID, replace(SAID, who="bob")).changed) == 1


def test_raters_in_several_rows_that_agree_are_corrected_together():
    found = merged(SAID, labels=b"file_name,real_age\na.jpg,5\na.jpg,5.0\n")
    assert [change.line for change in found.changed] == [2, 3]


@pytest.mark.parametrize(
    ("corrections", "labels", "parts"),
    [
        ([SAID, replace(SAID, age=60, who="bob")], LABELS, ["said.csv", "51 (ann", "60 (bob", "keep one"]),
        ([SAID], b"file_name,real_age\na.jpg,5\na.jpg,9\n", ["5 on line 2 and 9 on line 3", "which row is meant"]),
        ([replace(SAID, before=None)], LABELS, ["an image without a label", "line 2 of labels.csv lists this name"]),
        ([replace(SAID, before=8)], LABELS, ["in place of 8", "line 2 of labels.csv says '5' by now"]),
    ],
    ids=["two people", "two rows", "another image", "changed since"],
)
def test_what_contradicts_is_refused(corrections: list[Correction], labels: bytes, parts: list[str]):
    with pytest.raises(LabelsError) as refused:
        merged(*corrections, labels=labels)
    assert all(part in str(refused.value) for part in parts), str(refused.value)


@pytest.mark.parametrize("before", [5.0, math.nan])
def test_a_correction_of_what_the_person_saw_is_taken(before: float):
    assert len(merged(replace(SAID, before=before)).changed) == 1


def test_a_correction_that_somebody_has_made_meanwhile_is_no_conflict():
    found = merged(replace(SAID, age=5, before=8))
    assert (found.changed, len(found.unchanged)) == ([], 1)


def test_an_image_without_a_label_is_added_or_has_got_the_same_age_meanwhile():
    assert len(merged(replace(SAID, before=None, file_name="new.jpg")).added) == 1
    assert len(merged(replace(SAID, before=None, age=5)).unchanged) == 1


def test_who_and_when_are_filled_in_where_nobody_said():
    (known, unknown) = with_defaults([SAID, replace(SAID, who="", when="")], "me", "now")
    assert known == SAID
    assert (unknown.who, unknown.when) == ("me", "now")


ages = st.integers(0, 120)


@given(st.dictionaries(st.sampled_from("abcdef"), ages, min_size=1), st.dictionaries(st.sampled_from("defghi"), ages))
def test_the_merged_labels_are_the_old_ones_with_what_was_said(old: dict[str, int], said: dict[str, int]):
    labels = "file_name,real_age\n" + "".join(f"{name}.jpg,{age}\n" for name, age in old.items())
    corrections = [replace(SAID, file_name=f"{name}.jpg", age=age) for name, age in said.items()]
    found = read_labels(merged(*corrections, labels=labels.encode()).content, "merged.csv")
    wanted = {f"{name}.jpg": float(age) for name, age in (old | said).items()}
    assert dict(zip(found["file_name"], found["real_age"], strict=True)) == wanted
