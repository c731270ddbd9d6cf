"""CSV files that people open in a spreadsheet: protected against CSV injection.

No stage reads such a text back: files that stages hand to each other are written unchanged. Who does, a page or
`forget`, takes the apostrophe away by `as_written`; `data.merged_labels` does so with what people bring back.
"""

import csv
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

# Excel, LibreOffice and Google Sheets take a text that begins so for a formula (OWASP, "CSV Injection").
_FORMULA = re.compile(r"[=+\-@\t\r\n＝＋－＠]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def as_csv(table: "pd.DataFrame") -> str:
    """The table as CSV, with an apostrophe before every text that would be a formula.

    All text is quoted: a spreadsheet that separates by semicolons would otherwise split a file name that contains one.
    """
    return table.map(_text).to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC)


def as_written(cell: str) -> str:
    """The text that `as_csv` was given for this cell, such as `=a.jpg` for `'=a.jpg`."""
    return cell[1:] if cell.startswith("'") and _is_formula(cell[1:]) else cell


def _text(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and _is_formula(value) else value


def _is_formula(text: str) -> bool:
    return bool(_FORMULA.match(text)) and not _NUMBER.fullmatch(text)
