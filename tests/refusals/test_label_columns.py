"""Columns of the labels, and slices, that are refused."""

import re

import pandas as pd
import pytest

from age_tasks.config import Config, DataSettings, EvaluateSettings, parse_overrides
from age_tasks.data.label_columns import further_columns
from age_tasks.data.tables import read_table
from age_tasks.stages.evaluate import require_slices
from tests.support.refusals import walks
from tests.support.walks import Walk

CONFIG, COLUMNS = "config.py", "data/label_columns.py"


def columns_of(rows: str, slices: tuple[str, ...] = (), **settings: str) -> pd.DataFrame:
    """The further columns of labels with the columns `who` and `n`."""
    table = read_table(f"file_name,real_age,who,n\n{rows}".encode(), "labels.csv", ("file_name", "real_age"))
    return further_columns(table, DataSettings(**settings), slices, "labels.csv")


def as_printed(message: str) -> DataSettings:
    """The settings with what a message says in `(--set …)`."""
    (printed,) = re.findall(r"\(--set (\S+)\)", message)
    named = {"data.split_column": "who", "data.weight_column": "n"}
    return Config().with_overrides(named).with_overrides(parse_overrides([printed])).data


@walks(CONFIG, "is no slice")
@pytest.mark.parametrize("wrong", ["", "& sex", "bmi: thin"])
def test_a_text_that_is_no_slice(refused: Walk, wrong: str):
    again = refused(lambda: Config().with_overrides({"evaluate.slices": [wrong]}), "evaluate.slices", repr(wrong))
    again(lambda: Config().with_overrides({"evaluate.slices": ["sex"]}))


@walks(CONFIG, "needs two edges or more")
@pytest.mark.parametrize("wrong", ["bmi: 25", "bmi: 30, 25"])
def test_edges_that_make_no_bins(refused: Walk, wrong: str):
    again = refused(lambda: Config().with_overrides({"evaluate.slices": [wrong]}), "evaluate.slices", repr(wrong))
    again(lambda: Config().with_overrides({"evaluate.slices": ["bmi: 25, 30"]}))


@walks(CONFIG, "join two at most")
def test_a_slice_of_three_columns(refused: Walk):
    again = refused(lambda: Config().with_overrides({"evaluate.slices": ["a & b & c"]}), "'a & b & c'", "3 columns")
    again(lambda: Config().with_overrides({"evaluate.slices": ["a & b"]}))


@walks(COLUMNS, "_column: ")
def test_a_column_that_the_labels_do_not_have(refused: Walk):
    again = refused(
        lambda: columns_of("a.jpg,30,ann,1\n", person_column="whom"), "labels.csv", "'whom'", "who", "Did you mean who?"
    )
    again(lambda: columns_of("a.jpg,30,ann,1\n", person_column="who"))


@walks(COLUMNS, "is no split")
def test_a_row_with_another_split(refused: Walk):
    again = refused(lambda: columns_of("a.jpg,30,held out,1\n", split_column="who"), "line 2", "'held out'", "who")
    again(lambda: columns_of("a.jpg,30,test,1\n", split_column="who"))
    assert as_printed(refused.message).split_column == ""
    again(lambda: columns_of("a.jpg,30,held out,1\n", split_column=""))


@walks(COLUMNS, "is no weight")
def test_a_row_with_no_weight(refused: Walk):
    again = refused(lambda: columns_of("a.jpg,30,ann,-1\n", weight_column="n"), "line 2", "'-1'", "the column n")
    again(lambda: columns_of("a.jpg,30,ann,1\n", weight_column="n"))
    assert as_printed(refused.message).weight_column == ""
    again(lambda: columns_of("a.jpg,30,ann,-1\n", weight_column=""))


@walks(COLUMNS, "is no number")
def test_edges_for_a_column_of_texts(refused: Walk):
    again = refused(lambda: columns_of("a.jpg,30,ann,1\n", ("who: 0, 1",)), "line 2", "'ann'", "the column who")
    again(lambda: columns_of("a.jpg,30,ann,1\n", ("n: 0, 1",)))
    again(lambda: columns_of("a.jpg,30,ann,1\n", ("who",)))


@walks(COLUMNS, "too many to measure each apart")
def test_a_column_of_too_many_texts(refused: Walk):
    rows = "".join(f"{number}.jpg,30,person {number},{number % 50}\n" for number in range(60))
    again = refused(lambda: columns_of(rows, ("who",)), "labels.csv", "the column who", "60 values")
    again(lambda: columns_of(rows, ("n",)))


@walks("stages/evaluate.py", "require_slices")
def test_slices_by_a_column_that_the_snapshot_lacks(refused: Walk):
    tests, settings = pd.DataFrame({"slice:who": ["ann"]}), EvaluateSettings(slices=("n",))
    again = refused(lambda: require_slices(tests, settings), "evaluate.slices", "'n'", "from snapshot on")
    again(lambda: require_slices(tests.assign(**{"slice:n": ["1"]}), settings))
