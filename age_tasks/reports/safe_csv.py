"""CSV files that people open in a spreadsheet: text from outside stays text there.

Stages read none of them back: what they hand on to each other is written as it is.
"""

import csv
import re
from typing import Any

import pandas as pd

# What begins so is a formula to Excel, LibreOffice and Google Sheets (OWASP, "CSV Injection").
_FORMULA = re.compile(r"[=+\-@\t\r\n＝＋－＠]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def as_csv(table: pd.DataFrame) -> str:
    """The table as CSV; an apostrophe comes before a text that would be a formula.

    All text is quoted: where spreadsheets separate by semicolons, one in a file name would begin another cell.
    """
    return table.map(_text).to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC)


def _text(value: Any) -> Any:
    formula = isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value)
    return f"'{value}" if formula else value
