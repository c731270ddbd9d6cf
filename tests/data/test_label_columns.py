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
    assert further_columns(table, DataSettings(), "labels.csv").columns.tolist() == []


def test_people_are_texts_without_blanks_around_them(table: Table):
    found = further_columns(table, DataSettings(person_column="who"), "labels.csv")
    assert found.to_dict("list") == {"person": ["ann", "bob", "", "ann"]}


def test_splits_have_the_names_that_benchmarks_use(table: Table):
    found = further_columns(table, DataSettings(split_column="official"), "labels.csv")
    assert found.to_dict("list") == {"fixed_split": ["train", "val", "val", "test"]}


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
        further_columns(table, DataSettings(person_column=column), "labels.csv")


def test_a_column_that_exists_twice_is_refused():
    table = read_table(b"file_name,real_age,who,who\n1.jpg,30,ann,bob\n", "labels.csv", ("file_name", "real_age"))
    with pytest.raises(LabelsError, match="2 columns 'who'"):
        further_columns(table, DataSettings(person_column="who"), "labels.csv")


@pytest.mark.parametrize("split", ["", "held out", "0"])
def test_another_split_is_refused_with_its_line(split: str):
    data = f"file_name,real_age,official\n1.jpg,30,train\n2.jpg,30,{split}\n".encode()
    table = read_table(data, "labels.csv", ("file_name", "real_age"))
    with pytest.raises(
        LabelsError, match=f"labels.csv line 3: '{split}' in the column official is no split; write train"
    ):
        further_columns(table, DataSettings(split_column="official"), "labels.csv")
