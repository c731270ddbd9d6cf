"""Labels and lists of images in workbooks and Parquet files."""

import datetime
import io
import random
import time
import zipfile

import openpyxl
import pytest

from age_tasks.data import tables
from age_tasks.data.labels import parse_labels
from age_tasks.data.tables import read_table
from age_tasks.errors import LabelsError
from tests.faults.mutated_bytes import mutated

HEADER = ("file_name", "real_age")


def workbook(**sheets: list[tuple[object, ...]]) -> bytes:
    book, out = openpyxl.Workbook(), io.BytesIO()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(out)
    return out.getvalue()


def test_a_workbook_is_read_with_the_sheet_that_has_the_columns():
    rows = [(" file_name ", "real_age", "taken"), ("a.jpg", 34, datetime.date(2024, 5, 1)), (), ("./b.jpg", 34.5)]
    rows += [("c.jpg", "34,5"), (7, "old"), ("d.jpg", None), ("e.jpg", True)]
    data = workbook(Notes=[("who", "when")], Labels=rows)
    labels = parse_labels(data, "labels.xlsx")
    assert labels.read_as == "Excel workbook, sheet Labels"
    assert labels.rows["line"].tolist() == [2, 4, 5, 6, 7, 8]
    assert labels.rows["file_name"].tolist() == ["a.jpg", "b.jpg", "c.jpg", "7", "d.jpg", "e.jpg"]
    assert labels.rows["age_text"].tolist() == ["34", "34.5", "34,5", "old", "", "True"]
    assert labels.rows["real_age"].fillna(-1).tolist() == [34, 34.5, -1, -1, -1, -1]
    frozen = parse_labels(labels.frozen(data, labels.rows["file_name"].tolist()), "labels.csv")
    assert frozen.table.plain
    assert frozen.rows.equals(labels.rows)


def test_a_workbook_with_decimal_commas_as_text_is_read():
    labels = parse_labels(workbook(Sheet1=[HEADER, ("a.jpg", "34,5")]), "labels.xlsx")
    assert labels.rows["real_age"].tolist() == [34.5]
    assert labels.read_as == "Excel workbook, sheet Sheet1, decimal comma"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (workbook(A=[HEADER, ("a.jpg", 3)], B=[HEADER, ("b.jpg", 3)]), "the sheets A, B have the columns .*; keep one"),
        (workbook(A=[("name", "age"), ("a.jpg", 3)]), "line 1: no column 'file_name' among name, age"),
        (workbook(A=[]), r"is empty \(0 rows\)"),
        (workbook(A=[HEADER]), "has a header but no rows"),
        (workbook(A=[HEADER, ("a.jpg", 3, "x")]), "line 2: 3 values .*; give each column of the sheet a name"),
        (workbook(A=[HEADER, ("a.jpg", 3)])[:-30], "an archive, but no Excel workbook that opens"),
        (b"PK\x03\x04", "an archive, but no Excel workbook that opens"),
    ],
)
def test_a_workbook_that_can_t_be_read_is_refused_in_one_line(data: bytes, says: str):
    with pytest.raises(LabelsError, match=f"^labels.xlsx.*{says}") as caught:
        parse_labels(data, "labels.xlsx")
    assert str(caught.value).isprintable()


def test_another_archive_and_a_workbook_that_explodes_are_refused(monkeypatch: pytest.MonkeyPatch):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jpg", bytes(1_000_000))
    with pytest.raises(LabelsError, match="no Excel workbook that opens"):
        read_table(out.getvalue(), "labels.xlsx", HEADER)
    monkeypatch.setattr(tables, "MAX_UNPACKED_BYTES", 999_999)
    with pytest.raises(LabelsError, match="1 MB unpacked; of a workbook at most"):
        read_table(out.getvalue(), "labels.xlsx", HEADER)


def test_mutated_workbooks_are_read_or_refused_in_one_line():
    good, rng = workbook(Labels=[HEADER, *((f"{n}.jpg", n) for n in range(20))]), random.Random(1)
    for _ in range(150):
        try:
            read_table(b"PK\x03\x04" + mutated(good, rng, [b"PK", b"\0\0", b"xl/"])[4:], "labels.xlsx", HEADER)
        except LabelsError as error:
            assert str(error).startswith("labels.xlsx")  # noqa: PT017
            assert str(error).isprintable()  # noqa: PT017


@pytest.mark.slow
def test_a_workbook_of_a_hundred_thousand_rows_is_read_within_30_seconds():
    book, out = openpyxl.Workbook(write_only=True), io.BytesIO()
    sheet = book.create_sheet("Labels")
    for row in [HEADER, *((f"{n:06d}.jpg", n % 90) for n in range(100_000))]:
        sheet.append(row)
    book.save(out)
    begun = time.process_time()
    assert len(parse_labels(out.getvalue(), "labels.xlsx").rows) == 100_000
    assert time.process_time() - begun < 30


def test_parquet_is_read_like_other_tables():
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    out = io.BytesIO()
    columns = {"real_age": [34.0, 34.5, None], "file_name": ["a.jpg", "./b.jpg", None], "pixels": [b"x", b"y", b"z"]}
    pq.write_table(pa.table(columns), out)
    labels = parse_labels(out.getvalue(), "labels.parquet")
    assert labels.read_as == "Parquet"
    assert labels.rows["line"].tolist() == [2, 3, 4]
    assert labels.rows["file_name"].tolist() == ["a.jpg", "b.jpg", ""]
    assert labels.rows["age_text"].tolist() == ["34", "34.5", ""]
    assert labels.table.header == ["real_age", "file_name"]
    rng = random.Random(1)
    for _ in range(100):
        try:
            read_table(b"PAR1" + mutated(out.getvalue(), rng, [b"PAR1", b"\0"])[4:], "labels.parquet", HEADER)
        except LabelsError as error:
            assert str(error).isprintable()  # noqa: PT017


def test_parquet_that_can_t_be_read_is_refused_in_one_line():
    with pytest.raises(LabelsError, match=r"^labels\.parquet is a Parquet file"):
        read_table(b"PAR1 and no more", "labels.parquet", HEADER)
