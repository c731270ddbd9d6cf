"""Parsing a labels file. Rows are neither guessed nor dropped: what can't be parsed is an error with its line."""

import io
import math
import re
from dataclasses import dataclass

import pandas as pd

from age_tasks.data.image_folder import BLANKS, normal_name
from age_tasks.data.tables import Table, read_table, row_writer

COLUMNS = ("file_name", "real_age")
# float() accepts more than people take for a number: 3_4, or digits of other scripts.
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,(?P<decimals>\d+)", re.ASCII)
_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True)
class Labels:
    """The labels, and how the file was read.

    Args:
        rows: columns `line` (1-based, where the row starts), `file_name` (see `normal_name`), `real_age` (years; NaN
            where the text is not a finite number), `age_text` (as written).
        table: the file as it was read.
        read_as: encoding, separator and decimal sign in words, such as `UTF-16, semicolons, decimal comma`.
    """

    rows: pd.DataFrame
    table: Table
    read_as: str

    def frozen(self, data: bytes, names: list[str]) -> bytes:
        """The file itself if any reader of UTF-8 with commas finds these file names in it, else the table written so.

        Args:
            data: the file's bytes.
            names: the file name of each row, as the images folder writes it.
        """
        as_written = [text.strip(BLANKS) for text in self.table.column("file_name")]
        return data if self.table.plain and names == as_written else self._as_csv(names)

    def _as_csv(self, names: list[str]) -> bytes:
        """The whole table in UTF-8 with commas, every row on its line, with these file names."""
        out = io.StringIO()
        write = row_writer(out, self.table.rows)
        write([cell.replace("\r", " ").replace("\n", " ") for cell in self.table.header])
        at, line = self.table.header.index("file_name"), 2
        for start, cells, name in zip(self.table.lines, self.table.rows, names, strict=True):
            out.write("\n" * (start - line))
            written = [name if here == at else cell for here, cell in enumerate(cells)]
            write(written)
            line = max(start, line) + 1 + sum(len(_LINE_END.findall(cell)) for cell in written)
        return out.getvalue().encode()


def parse_labels(data: bytes, name: str) -> Labels:
    """Parse a table with the columns `file_name` and `real_age`; see `read_table` for what is accepted.

    Args:
        data: the file's bytes.
        name: the file's name in errors.

    Raises:
        LabelsError: see `read_table`.
    """
    table = read_table(data, name, COLUMNS)
    texts = [text.strip() for text in table.column("real_age")]
    names = file_names(table)
    decimal_comma = table.separator != "," and _decimal_comma(texts)
    years = [age_in_years(text.replace(",", ".") if decimal_comma else text) for text in texts]
    rows = pd.DataFrame({"line": table.lines, "file_name": names, "real_age": years, "age_text": texts})
    return Labels(rows, table, f"{table.read_as}, decimal comma" if decimal_comma else table.read_as)


def file_names(table: Table) -> list[str]:
    """The column `file_name`, as `normal_name` gives it."""
    return [normal_name(text) for text in table.column("file_name")]


def read_labels(data: bytes, name: str) -> pd.DataFrame:
    """The rows of `parse_labels`."""
    return parse_labels(data, name).rows


def age_in_years(text: str) -> float:
    """The number that a text is; NaN if it is not a finite number in digits."""
    years = float(text) if _NUMBER.fullmatch(text) else math.nan
    return years if math.isfinite(years) else math.nan


def _decimal_comma(texts: list[str]) -> bool:
    """Whether a comma in these ages can only be a decimal sign.

    Not if some have a point, nor if each has three digits behind the comma: that may separate thousands.
    """
    found = [match["decimals"] for text in texts if "," in text and (match := _DECIMAL_COMMA.fullmatch(text))]
    with_point = any("." in text and _NUMBER.fullmatch(text) for text in texts)
    return any(len(decimals) != 3 for decimals in found) and not with_point
