"""The one reader of tables that people hand in: labels, and lists of images to predict.

What other programs write is read where it can mean only one thing, and said (`Table.read_as`): UTF-16 with its mark,
semicolons or tabs, Excel's line `sep=`, empty cells behind the last column, Excel workbooks (.xlsx), Parquet.
Everything else is refused in one line.
"""

import codecs
import csv
import io
import math
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from age_tasks.errors import LabelsError

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
MAX_UNPACKED_BYTES = 500_000_000  # of a workbook
_INVISIBLE = "\ufeff\u200b\u200c\u200d\u2060"  # what exporters leave around the names of columns
_SEP_LINE = re.compile(r'\s*"?sep=(?P<separator>[,;\t|])"?[,;\t| ]*(\r\n|\r|\n|$)', re.IGNORECASE)
_ENCODINGS = {  # by the first bytes, the longest first
    codecs.BOM_UTF32_LE: ("utf-32", "UTF-32"),
    codecs.BOM_UTF32_BE: ("utf-32", "UTF-32"),
    codecs.BOM_UTF16_LE: ("utf-16", "UTF-16"),
    codecs.BOM_UTF16_BE: ("utf-16", "UTF-16"),
}
_OTHER_FILES = {  # by the first bytes
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an Excel workbook with a password or of the format before 2007 (.xls)",
    b"\x1f\x8b": "a file compressed by gzip",
    b"%PDF": "a PDF",
    b"<!DOCTYPE": "a web page, no table",
    b"<!doctype": "a web page, no table",
    b"<html": "a web page, no table",
}


@dataclass(frozen=True)
class Table:
    """A table as it was read; all cells are text, as written.

    Args:
        header: the names of the columns, without blanks and invisible characters around them.
        lines: the line of the file on which each row starts, from 1.
        rows: the cells, as many in each row as in the header.
        encoding: such as `UTF-8`, or another format.
        separator: between the cells; empty where the format is no text.
        plain: whether a reader of UTF-8 with commas gets the same.
    """

    header: list[str]
    lines: list[int]
    rows: list[list[str]]
    encoding: str
    separator: str
    plain: bool

    @property
    def read_as(self) -> str:
        """Encoding and separator in words."""
        return f"{self.encoding}, {SEPARATORS[self.separator]}" if self.separator else self.encoding

    def column(self, name: str) -> list[str]:
        """The cells of a column."""
        at = self.header.index(name)
        return [cells[at] for cells in self.rows]


def read_table(data: bytes, name: str, columns: Sequence[str]) -> Table:
    """Read a table that has these columns, each once, among others.

    Args:
        name: the file's name in errors.

    Raises:
        LabelsError: no table with these columns, or a row that can't be read without a guess; one line.
    """
    for start, kind in _OTHER_FILES.items():
        if data.startswith(start):
            raise LabelsError(f"{name} is {kind}; save it as CSV in UTF-8")
    separator, plain = "", False
    if data.startswith(b"PK\x03\x04"):
        rows, encoding = _workbook_rows(data, name, columns)
    elif data.startswith(b"PAR1"):
        rows, encoding = _parquet_rows(data, name), "Parquet"
    else:
        text, encoding = _decode(data, name)
        text, lines_before, declared = _without_sep_line(text)
        separator = _separator(text, columns, declared)
        rows = _numbered_rows(text, separator, name, lines_before)
        plain = encoding == "UTF-8" and separator == "," and not declared and ', "' not in text
    first, header = next(rows, (1, []))
    expected = f"'{','.join(columns)}'"
    if not header:
        raise LabelsError(f"{name} is empty (0 rows); its first line must be {expected}")
    header = _clean_header(header)
    _check_header(header, columns, name, first)
    lines, cells = _fitting_rows(rows, len(header), name, separator)
    if not lines:
        example = "image.jpg,34" if "real_age" in columns else "image.jpg"
        raise LabelsError(f"{name} has a header but no rows; add a line such as '{example}' for each image")
    return Table(header, lines, cells, encoding, separator, plain)


def row_writer(out: io.StringIO, rows: Sequence[Sequence[str]]) -> Callable[[Sequence[str]], object]:
    """A function that writes a row as CSV with commas, so that `read_table` reads the same cells.

    Args:
        rows: that will be written: what the writer leaves unquoted, though it ends a line, is looked for in them.
    """
    returns = any("\r" in cell for cells in rows for cell in cells)
    return csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL).writerow


def shown(text: str) -> str:
    """A text in a message: quoted and escaped where it has characters that a person would not see or tell apart."""
    if text.isprintable() and text == text.strip():
        return text if text.isascii() else f"{text} ({ascii(text)[1:-1]})"
    return ascii(text)


def _decode(data: bytes, name: str) -> tuple[str, str]:
    """The text without byte-order marks, and the name of its encoding."""
    codec, encoding = next((found for mark, found in _ENCODINGS.items() if data.startswith(mark)), ("utf-8", "UTF-8"))
    try:
        text = data.decode(codec).lstrip("\ufeff")
    except UnicodeDecodeError as error:
        if encoding != "UTF-8":
            raise LabelsError(
                f"{name} byte {error.start + 1} of {len(data)} is not {encoding}, as which its first bytes declare "
                "it; the file may be cut off: save it again, as UTF-8"
            ) from None
        line = data.count(b"\n", 0, error.start) + 1
        raise LabelsError(
            f"{name} line {line}: byte 0x{data[error.start]:02x} is not UTF-8 (the file may be Latin-1, or UTF-16 "
            "without its byte-order mark); save it as UTF-8, in Excel as 'CSV UTF-8'"
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        wide = text.count("\0") > len(text) // 3
        cause = "this looks like UTF-16 without its byte-order mark" if wide else "this is not a text file"
        raise LabelsError(f"{name} line {line}: a NUL character; {cause}, save it as CSV in UTF-8")
    return text, encoding


def _without_sep_line(text: str) -> tuple[str, int, str]:
    """The text behind Excel's first line `sep=;`, the number of lines before it, and the separator that it declares."""
    found = _SEP_LINE.match(text)
    if not found:
        return text, 0, ""
    return text[found.end() :], len(found[0].splitlines()), str(found["separator"])


def _separator(text: str, columns: Sequence[str], declared: str) -> str:
    """The separator with which the header has the columns; else the one that gives most cells, for the message."""
    most, best = 1, declared or ","
    candidates: list[str] = [*declared, *SEPARATORS]
    for separator in candidates:
        header = _first_row(text, separator)
        if all(header.count(column) == 1 for column in columns):
            return separator
        if len(header) > most:
            most, best = len(header), separator
    return best


def _first_row(text: str, separator: str) -> list[str]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    try:
        return _clean_header(next((cells for cells in reader if any(cell.strip() for cell in cells)), []))
    except csv.Error:  # reported with its line by the reading of all rows
        return []


def _clean_header(cells: Sequence[str]) -> list[str]:
    """The names of the columns, without what surrounds them, and without empty ones behind the last."""
    names = [cell.strip().strip(_INVISIBLE).strip() for cell in cells]
    while names and not names[-1]:
        names.pop()
    return names


def _check_header(header: list[str], columns: Sequence[str], name: str, line: int) -> None:
    for column in columns:
        if header.count(column) == 1:
            continue
        found = "no column" if column not in header else f"{header.count(column)} columns named"
        alike = [cell for cell in header if cell != column and _alike(cell) == _alike(column)]
        cure = f"; rename {shown(alike[0])} to {column}" if alike and column not in header else ""
        raise LabelsError(
            f"{name} line {line}: {found} '{column}' among {', '.join(map(shown, header))[:400]}; "
            f"expected '{','.join(columns)}'{cure}"
        )


def _alike(name: str) -> str:
    """A column's name without what people vary: case, blanks, hyphens, underscores, what can't be seen."""
    return re.sub(r"[\W_]", "", name.casefold())


def _numbered_rows(text: str, separator: str, name: str, lines_before: int) -> Iterator[tuple[int, list[str]]]:
    """(line where the row starts, cells) of every row that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=True)
    start = lines_before + 1
    try:
        for cells in reader:
            if cells and ((cells[0] and not cells[0].isspace()) or any(cell.strip() for cell in cells)):
                yield start, cells
            start = lines_before + reader.line_num + 1
    except csv.Error as error:
        raise LabelsError(f"{name} line {start}: {error}; check the quotes around this row's values") from None


def _fitting_rows(
    rows: Iterator[tuple[int, list[str]]], width: int, name: str, separator: str
) -> tuple[list[int], list[list[str]]]:
    """Lines and cells; empty cells behind the last column are left out, other rows of another width are refused."""
    lines, fitting = [], []
    for line, cells in rows:
        if len(cells) != width:
            if len(cells) < width or any(cell.strip() for cell in cells[width:]):
                raise LabelsError(
                    f"{name} line {line}: {len(cells)} values where the header has {width}: "
                    f"{(separator or ',').join(cells)[:80]!r}; {_CURES[separator]}"
                )
            cells = cells[:width]
        lines.append(line)
        fitting.append(cells)
    return lines, fitting


_CURES = {
    separator: f"quote a file name that contains {what}, and write decimals with a point"
    for separator, what in ((",", "a comma"), (";", "a semicolon"), ("\t", "a tab"), ("|", "a vertical bar"))
} | {"": "give each column of the sheet a name in its first row"}


def _workbook_rows(data: bytes, name: str, columns: Sequence[str]) -> tuple[Iterator[tuple[int, list[str]]], str]:
    """The rows of the only sheet that has the columns, of several without them the first; and what was read."""
    try:
        import openpyxl  # rarely needed
    except ImportError:
        raise LabelsError(
            f"{name} is an Excel workbook, read with openpyxl: pip install openpyxl, or save it as CSV in UTF-8"
        ) from None
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(each.file_size for each in archive.infolist())
        if unpacked > MAX_UNPACKED_BYTES:
            raise LabelsError(
                f"{name}: {unpacked / 1e6:,.0f} MB unpacked; of a workbook at most {MAX_UNPACKED_BYTES / 1e6:.0f} MB "
                "are read: save it as CSV in UTF-8"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what the sheets have besides cells
            workbook = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
            sheets = {sheet.title: list(_sheet_rows(sheet)) for sheet in workbook.worksheets}
    except LabelsError:
        raise
    except Exception as error:  # of the archive, its XML, or openpyxl, which has no base class for them
        raise LabelsError(
            f"{name} is an archive, but no Excel workbook that opens ({type(error).__name__}); save it as CSV in UTF-8"
        ) from None
    fitting = [title for title, rows in sheets.items() if rows and set(columns) <= set(_clean_header(rows[0][1]))]
    if len(fitting) > 1:
        raise LabelsError(
            f"{name}: the sheets {', '.join(map(shown, fitting))} have the columns {','.join(columns)}; keep one"
        )
    title = next(iter(fitting or sheets), "")
    return iter(sheets.get(title, [])), f"Excel workbook, sheet {shown(title)}"


def _sheet_rows(sheet: Any) -> Iterator[tuple[int, list[str]]]:
    width = 0  # of the rows so far: a row ends at its last cell
    sheet.reset_dimensions()  # what the file says of its size need not be true
    for line, cells in enumerate(sheet.iter_rows(values_only=True), start=1):
        texts = [_text(cell) for cell in cells]
        if any(text.strip() for text in texts):
            width = max(width, len(texts))
            yield line, texts + [""] * (width - len(texts))


def _parquet_rows(data: bytes, name: str) -> Iterator[tuple[int, list[str]]]:
    """The columns of a Parquet file that hold texts, numbers or times; its rows count from 2, as in a CSV file."""
    try:
        import pyarrow.parquet  # rarely needed, and not always installed
    except ImportError:
        raise LabelsError(
            f"{name} is a Parquet file, which is read with pyarrow: pip install pyarrow, or save it as CSV in UTF-8"
        ) from None
    try:
        file = pyarrow.parquet.ParquetFile(io.BytesIO(data))
        kept = [at for at, field in enumerate(file.schema_arrow) if _is_simple(str(field.type))]
        names = [file.schema_arrow.names[at] for at in kept]
        table = file.read(columns=list(dict.fromkeys(names)))
        cells = [[_text(value) for value in column.to_pylist()] for column in table.columns]
    except Exception as error:  # of pyarrow, whose errors for damaged files have no base class
        raise LabelsError(
            f"{name} is a Parquet file that can't be read ({type(error).__name__}); write it again, or as CSV in UTF-8"
        ) from None
    return chain([(1, table.column_names)], enumerate(map(list, zip(*cells, strict=True)), start=2))


def _is_simple(arrow_type: str) -> bool:
    return arrow_type.startswith(
        ("string", "large_string", "int", "uint", "float", "double", "half", "bool", "date")
    ) or (arrow_type.startswith(("timestamp", "decimal", "dictionary<values=string")))


def _text(cell: object) -> str:
    """A cell as a person would write it into a CSV file."""
    match cell:
        case None:
            return ""
        case str():
            return cell
        case float():
            return "" if math.isnan(cell) else repr(cell).removesuffix(".0")
    return str(cell)
