"""Exports of Label Studio and tables of corrections."""

import contextlib
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from age_tasks.data.corrections import Correction, read_corrections
from age_tasks.errors import LabelsError
from tests.support.label_studio import answered, exported

IMPORTED = {
    "data": {"image": "data:image/jpeg;base64,AAAA", "file_name": "a.jpg", "real_age": 5.0, "sha256": "ab", "run": "r"}
}
TASK = answered(IMPORTED, 51, 12)
FLAT = {  # JSON-MIN: https://labelstud.io/guide/export
    "id": 12,
    "image": "data:image/jpeg;base64,AAAA",
    "file_name": "a.jpg",
    "real_age": 5.0,
    "sha256": "ab",
    "run": "r",
    "age": [{"number": 51}],
    "annotator": "ann@example.org",
    "annotation_id": 1001,
    "created_at": "2026-11-01T10:00:00Z",
    "updated_at": "2026-11-02T10:00:00Z",
}
SAID = Correction("a.jpg", 51.0, 5.0, "ab", "r", "ann@example.org", "2026-11-02T10:00:00Z", "task 12")


def with_annotation(**changed: object) -> dict[str, Any]:
    return answered(IMPORTED, 51, 12, **changed)


@pytest.mark.parametrize(
    "data",
    [
        exported([TASK]),
        b"\xef\xbb\xbf" + exported([TASK]),
        exported([FLAT]),
        exported([FLAT | {"age": 51}]),
        exported([FLAT | {"age": ["51"]}]),
    ],
    ids=["JSON", "with a byte-order mark", "JSON-MIN", "a plain number", "a text area"],
)
def test_every_export_says_the_same(data: bytes):
    assert read_corrections(data, "export.json").given == [SAID]


def test_the_csv_of_label_studio_is_read():
    data = (
        b"age,annotation_id,annotator,created_at,file_name,id,real_age,run,sha256,updated_at\n"
        b'"[{""number"": 51}]",1001,ann@example.org,2026-11-01T10:00:00Z,a.jpg,12,5.0,r,ab,2026-11-02T10:00:00Z\n'
        b",1002,ann@example.org,2026-11-01T10:00:00Z,b.jpg,13,6.0,r,ac,2026-11-02T10:00:00Z\n"
    )
    found = read_corrections(data, "export.csv")
    assert [(each.file_name, each.age, each.before, each.where) for each in found.given] == [("a.jpg", 51, 5, "line 2")]
    assert found.unanswered == 1


def test_a_table_says_the_age_and_may_say_who_and_when():
    data = b"file_name,real_age,labelled_by,labelled_at\na.jpg,51,ann,2026-11-02\nb.jpg,,,\n"
    found = read_corrections(data, "corrections.csv")
    (said,) = found.given
    assert (said.file_name, said.age, said.who, said.when, said.where) == ("a.jpg", 51, "ann", "2026-11-02", "line 2")
    assert math.isnan(said.before)
    assert found.unanswered == 1


def test_an_image_that_had_no_label_says_so():
    table = read_corrections(b"file_name,real_age,unlabelled\na.jpg,51,true\nb.jpg,3,\n", "next.csv")
    assert table.given[0].before is None
    assert math.isnan(table.given[1].before)
    (said,) = read_corrections(exported([answered({"data": {"file_name": "a.jpg", "unlabelled": True}}, 5)]), "x").given
    assert said.before is None


def test_cancelled_annotations_are_skipped_and_tasks_without_an_answer_counted():
    cancelled = with_annotation(was_cancelled=True)
    found = read_corrections(exported([cancelled, TASK | {"annotations": []}, with_annotation(result=[])]), "x.json")
    assert (found.given, found.skipped, found.unanswered) == ([], 1, 2)


def test_a_number_of_a_user_is_named_as_one():
    (said,) = read_corrections(exported([with_annotation(completed_by=3)]), "x.json").given
    assert said.who == "Label Studio user 3"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"[1]", "no list of tasks"),
        (b"[{", "not valid JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (exported([TASK | {"data": {}}]), "task 12 has no file_name"),
        (exported([TASK | {"data": []}]), "task 12 is no task of Label Studio: data"),
        (exported([TASK | {"annotations": [5]}]), "task 12 is no task of Label Studio: annotations.0"),
        (exported([with_annotation(result=2 * TASK["annotations"][0]["result"])]), "task 12 has 2 numbers"),
        (exported([FLAT | {"age": "old"}]), "task 12: 'old' for a.jpg is not an age from 0 to 120"),
        (exported([FLAT | {"age": 1e400}]), "'inf' for a.jpg"),
        (b"file_name,real_age\na.jpg,130\n", "line 2: '130' for a.jpg"),
        (b"file_name,age\na.jpg,30\n", "has no column 'real_age'"),
    ],
)
def test_what_is_no_answer_is_refused_with_its_place(data: bytes, problem: str):
    with pytest.raises(LabelsError, match=r"x\.json") as refused:
        read_corrections(data, "x.json")
    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)


def read_or_refused(data: bytes) -> None:
    """Nothing but a refusal may be raised."""
    with contextlib.suppress(LabelsError):
        read_corrections(data, "x.json")


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(["data", "annotations", "id"]), json_values)
def test_any_other_value_in_a_task_is_read_or_refused(field: str, value: object):
    read_or_refused(exported([TASK | {field: value}]))


@given(st.sampled_from([*TASK["annotations"][0]]), json_values)
def test_any_other_value_in_an_annotation_is_read_or_refused(field: str, value: object):
    read_or_refused(exported([with_annotation(**{field: value})]))
