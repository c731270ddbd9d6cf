"""Parsing a labels file. Rows are neither guessed nor dropped: what can't be parsed is an error with its line."""

import csv
import io
import math
import re

import pandas as pd

from age_tasks.errors import LabelsError

COLUMNS = ("file_name", "real_age")
# float() accepts more than people take for a number: 3_4, or digits of other scripts.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def read_labels(data: bytes, name: str) -> pd.DataFrame:
    """Parse `file_name,real_age` rows; a byte-order mark, CRLF and further columns are accepted.

    Args:
        data: the file's bytes, UTF-8.
        name: the file's name in errors.

    Returns:
        Columns `line` (1-based, where the row starts), `file_name`, `real_age` (years; NaN where the text is not a
        finite number), `age_text` (as written).

    Raises:
        LabelsError: empty, no rows, not UTF-8, another separator, a missing or repeated column, a row of another width.
    """
    rows = _rows(_decode(data, name), name)
    if not rows:
        raise LabelsError(f"{name} is empty (0 rows); its first line must be 'file_name,real_age'")
    header = [cell.strip() for cell in rows[0][1]]
    _check_header(header, name)
    if len(rows) == 1:
        raise LabelsError(f"{name} has a header but no rows; add a line such as 'image.jpg,34' for each image")
    for line, cells in rows[1:]:
        if len(cells) != len(header):
            raise LabelsError(
                f"{name} line {line}: {len(cells)} values where the header has {len(header)}: "
                f"{','.join(cells)[:80]!r}; quote a file name that contains a comma"
            )
    name_at, age_at = (header.index(column) for column in COLUMNS)
    labels = pd.DataFrame(
        {
            "line": [line for line, _ in rows[1:]],
            "file_name": [cells[name_at].strip() for _, cells in rows[1:]],
            "age_text": [cells[age_at].strip() for _, cells in rows[1:]],
        }
    )
    labels["real_age"] = labels["age_text"].map(_years).astype(float)
    return labels[["line", "file_name", "real_age", "age_text"]]


def _decode(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise LabelsError(
            f"{name} line {line}: byte 0x{data[error.start]:02x} is not UTF-8 (the file may be Latin-1 or UTF-16); "
            "save it as UTF-8"
        ) from None


def _rows(text: str, name: str) -> list[tuple[int, list[str]]]:
    """(line where the row starts, cells) of every row that is not blank."""
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise LabelsError(f"{name} line {line}: a NUL character; this is not a text file, save it as CSV in UTF-8")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows, start = [], 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((start, cells))
            start = reader.line_num + 1
    except csv.Error as error:
        raise LabelsError(f"{name} line {start}: {error}; check the quotes around this row's values") from None
    return rows


def _check_header(header: list[str], name: str) -> None:
    for separator, description in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and separator in header[0]:
            raise LabelsError(f"{name} line 1: the columns are separated by {description}; save it with commas")
    for column in COLUMNS:
        if header.count(column) != 1:
            found = "no column" if column not in header else f"{header.count(column)} columns named"
            raise LabelsError(
                f"{name} line 1: {found} '{column}' among {', '.join(header)}; expected 'file_name,real_age'"
            )


def _years(text: str) -> float:
    years = float(text) if _NUMBER.fullmatch(text) else math.nan
    return years if math.isfinite(years) else math.nan
