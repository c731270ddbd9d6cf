"""The columns of a labels file that say who is in an image, and which split a benchmark fixes."""

import pytest

from age_tasks.config import DataSettings
from age_tasks.data.label_columns import further_columns
from age_tasks.data.tables import Table, read_table
from age_tasks.errors import LabelsError

LABELS = b"""file_name,real_age,who,official
1.jpg,30,ann,train
2.jpg,31, bob ,Valid
3.jpg,32,,validation
4.jpg,9,ann,TEST
"""


@pytest.fixture
def table() -> Table:
    return read_table(LABELS, "labels.csv", ("file_name", "real_age"))


def test_without_settings_there_are_none(table: Table):
    assert further_columns(table, DataSettings(), (), "labels.csv").columns.tolist() == []


def test_people_are_texts_without_blanks_around_them(table: Table):
    found = further_columns(table, DataSettings(person_column="who"), (), "labels.csv")
    assert found.to_dict("list") == {"person": ["ann", "bob", "", "ann"]}


def test_splits_have_the_names_that_benchmarks_use(table: Table):
    found = further_columns(table, DataSettings(split_column="official"), (), "labels.csv")
    assert found.to_dict("list") == {"fixed_split": ["train", "val", "val", "test"]}


def test_what_is_measured_of_images_needs_no_column(table: Table):
    slices = ("image brightness", "official & image colour", "image size: 0, 100, 5000")
    assert further_columns(table, DataSettings(), slices, "labels.csv").columns.tolist() == ["slice:official"]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (
            "whom",
            r"no column 'whom' \(data.person_column\). Its columns: .*, who, official. Did you mean who",
        ),
        ("person", r"no column 'person' \(data.person_column\). Its columns: file_name, real_age, who, official."),
    ],
)
def test_an_unknown_column_is_refused_with_those_that_exist(table: Table, column: str, message: str):
    with pytest.raises(LabelsError, match=message):
        further_columns(table, DataSettings(person_column=column), (), "labels.csv")


def test_a_column_that_exists_twice_is_refused():
    table = read_table(b"file_name,real_age,who,who\n1.jpg,30,ann,bob\n", "labels.csv", ("file_name", "real_age"))
    with pytest.raises(LabelsError, match="2 columns 'who'"):
        further_columns(table, DataSettings(person_column="who"), (), "labels.csv")


@pytest.mark.parametrize("split", ["", "held out", "0"])
def test_another_split_is_refused_with_its_line(split: str):
    data = f"file_name,real_age,official\n1.jpg,30,train\n2.jpg,30,{split}\n".encode()
    table = read_table(data, "labels.csv", ("file_name", "real_age"))
    with pytest.raises(
        LabelsError, match=f"labels.csv line 3: '{split}' in the column official is no split; write train"
    ):
        further_columns(table, DataSettings(split_column="official"), (), "labels.csv")


def test_columns_to_slice_by_are_kept_as_written(table: Table):
    found = further_columns(table, DataSettings(), ("who & official", "who"), "labels.csv")
    assert found.to_dict("list") == {
        "slice:who": ["ann", "bob", "", "ann"],
        "slice:official": ["train", "Valid", "validation", "TEST"],
    }


def test_a_column_of_too_many_texts_to_slice_by_is_refused():
    rows = "".join(f"{number}.jpg,30,person {number}\n" for number in range(60))
    table = read_table(f"file_name,real_age,who\n{rows}".encode(), "labels.csv", ("file_name", "real_age"))
    with pytest.raises(LabelsError, match="the column who has 60 values, too many"):
        further_columns(table, DataSettings(), ("who",), "labels.csv")


def test_edges_need_numbers(table: Table):
    with pytest.raises(LabelsError, match="line 2: 'ann' in the column who is no number"):
        further_columns(table, DataSettings(), ("who: 0, 1",), "labels.csv")


def test_weights_are_numbers_and_one_where_none_is_given():
    table = read_table(b"file_name,real_age,w\n1.jpg,30,2.5\n2.jpg,31,\n", "labels.csv", ("file_name", "real_age"))
    found = further_columns(table, DataSettings(weight_column="w"), (), "labels.csv")
    assert found.to_dict("list") == {"weight": [2.5, 1.0]}


@pytest.mark.parametrize("weight", ["0", "-1", "much", "inf", "nan"])
def test_other_weights_are_refused_with_their_line(weight: str):
    data = f"file_name,real_age,w\n1.jpg,30,1\n2.jpg,30,{weight}\n".encode()
    table = read_table(data, "labels.csv", ("file_name", "real_age"))
    with pytest.raises(LabelsError, match=f"labels.csv line 3: '{weight}' in the column w is no weight"):
        further_columns(table, DataSettings(weight_column="w"), (), "labels.csv")
