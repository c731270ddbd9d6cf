"""CSV files that people open in a spreadsheet: protected against CSV injection.

No stage reads such a file back: files that stages hand to each other are written unchanged.
"""

import csv
import re

import pandas as pd

# Excel, LibreOffice and Google Sheets take a text that begins so for a formula (OWASP, "CSV Injection").
_FORMULA = re.compile(r"[=+\-@\t\r\n＝＋－＠]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def as_csv(table: pd.DataFrame) -> str:
    """The table as CSV, with an apostrophe before every text that would be a formula.

    All text is quoted: a spreadsheet that separates by semicolons would otherwise split a file name that contains one.
    """
    return table.map(_text).to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC)


def _text(value: object) -> object:
    formula = isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value)
    return f"'{value}" if formula else value
