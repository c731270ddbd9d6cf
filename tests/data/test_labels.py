import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from age_tasks.data.labels import parse_labels, read_labels
from age_tasks.data.tables import read_table
from age_tasks.errors import LabelsError


def test_rows_keep_their_line_and_age_text():
    labels = read_labels(b"file_name,real_age,note\na.jpg,34,x\n\nb.jpg,unknown,y\n", "labels.csv")
    assert labels["line"].tolist() == [2, 4]
    assert labels["age_text"].tolist() == ["34", "unknown"]
    assert labels["real_age"][0] == 34
    assert math.isnan(labels["real_age"][1])


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbffile_name,real_age\na.jpg,34.5\n",
        b"file_name,real_age\r\na.jpg,34.5\r\n",
        b"real_age,file_name\n34.5,a.jpg\n",
        b'file_name,real_age\n"a.jpg",34.5',
    ],
    ids=["byte-order mark", "CRLF", "other order", "quotes"],
)
def test_valid_variants_of_the_format_are_read(data: bytes):
    labels = read_labels(data, "labels.csv")
    assert labels[["file_name", "real_age"]].to_numpy().tolist() == [["a.jpg", 34.5]]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "labels.csv is empty"),
        (b"file_name,real_age\n", "no rows"),
        (b"file_name,age\na.jpg,3\n", "no column 'real_age' among file_name, age"),
        (b"file_name,real_age,real_age\na.jpg,3,4\n", "2 columns named 'real_age'"),
        (b"name;age\na.jpg;3\n", "line 1: no column 'file_name' among name, age"),
        (b"File Name,real_age\na.jpg,3\n", "no column 'file_name' among .*; rename File Name to file_name"),
        ("file_n\u200bame,real_age\na.jpg,3\n".encode(), r"among 'file_n.u200bame', real_age.*; rename"),
        ("f\u0456le_name,real_age\na.jpg,3\n".encode(), r"among f\u0456le_name \(f.u0456le_name\), real_age"),
        (b"file_name;real_age\na.jpg;3;4\n", "line 2: 3 values where the header has 2: 'a.jpg;3;4'"),
        (b"file_name,real_age\na.jpg,34,5\n", "write decimals with a point"),
        (b"file_name,real_age,note\na.jpg,34\n", "line 2: 2 values where the header has 3"),
        ("file_name,real_age\n".encode("utf-16-le"), "UTF-16 without its byte-order mark"),
        ("file_name,real_age\na.jpg,3\n".encode("utf-16")[:-1], "byte 55 of 55 is not UTF-16.*cut off"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", r"an Excel workbook with a password or of the format before 2007"),
        (b"<!DOCTYPE html><title>Sign in</title>", "a web page"),
        (b"\x1f\x8b\x08\0", "compressed by gzip"),
        (b"sep=;\n", "is empty"),
        ("file_name,real_age\na.jpg,3\né.jpg,4\n".encode("latin-1"), "line 3: byte 0xe9 is not UTF-8"),
        (b"file_name,real_age\na.jpg,3\nb,c.jpg,4\n", "line 3: 3 values where the header has 2"),
        (b"file_name,real_age\na\0.jpg,3\n", "line 2: a NUL character"),
        (b'file_name,real_age\n"a.jpg,3\n', "line 2"),
    ],
)
def test_an_invalid_file_is_refused_with_its_name_and_line(data: bytes, says: str):
    with pytest.raises(LabelsError, match=says) as caught:
        read_labels(data, "labels.csv")
    assert "labels.csv" in str(caught.value)


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "", "3,5", "34 years"])
def test_ages_that_are_no_finite_number_are_nan_and_keep_their_text(text: str):
    labels = read_labels(f'file_name,real_age\na.jpg,"{text}"\n'.encode(), "labels.csv")
    assert math.isnan(labels["real_age"][0])
    assert labels["age_text"][0] == text


@pytest.mark.parametrize(
    ("text", "read_as"),
    [
        ("sep=,\nfile_name,real_age\na.jpg,34.5\n", "UTF-8, commas"),
        ("sep=;\r\nfile_name;real_age\r\na.jpg;34,5\r\n", "UTF-8, semicolons, decimal comma"),
        ('"SEP=;"\nfile_name;real_age\na.jpg;34.5\n', "UTF-8, semicolons"),
        ("sep=;\nfile_name,real_age\na.jpg,34.5\n", "UTF-8, commas"),
        ("\ufeff\ufefffile_name,real_age\na.jpg,34.5\n", "UTF-8, commas"),
        ('\ufeff"file_name","real_age"\n"a.jpg","34.5"\n', "UTF-8, commas"),
        ("file_name,real_age,,\na.jpg,34.5,,\n", "UTF-8, commas"),
        ("file_name,real_age\na.jpg,34.5,,,\n", "UTF-8, commas"),
        ("file_name,real_age,,\na.jpg,34.5\n", "UTF-8, commas"),
        ('"file_name", "real_age"\n"a.jpg", "34.5"\n', "UTF-8, commas"),
        (" file_name\xa0,\u200breal_age \na.jpg,34.5\n", "UTF-8, commas"),
        ("file_name;real_age;note\na.jpg;34,5;x, y\n", "UTF-8, semicolons, decimal comma"),
        ("file_name;real_age\na.jpg;34.5\n", "UTF-8, semicolons"),
        ("file_name\treal_age\na.jpg\t34,5\n", "UTF-8, tabs, decimal comma"),
        ("file_name|real_age\na.jpg|34.5\n", "UTF-8, vertical bars"),
    ],
)
def test_what_other_programs_write_is_read_and_said(text: str, read_as: str):
    for encoding, name in (("utf-8", "UTF-8"), ("utf-16", "UTF-16")):
        labels = parse_labels(text.encode(encoding), "labels.csv")
        assert labels.rows[["file_name", "real_age"]].to_numpy().tolist() == [["a.jpg", 34.5]]
        assert labels.read_as == read_as.replace("UTF-8", name)


def test_utf_16_is_read_with_either_mark():
    text = "\ufefffile_name;real_age\na.jpg;34,5\n"
    for encoding in ("utf-16-le", "utf-16-be", "utf-32-le"):
        assert parse_labels(text.encode(encoding), "labels.csv").rows["real_age"].tolist() == [34.5]


@pytest.mark.parametrize(
    ("separator", "ages", "years"),
    [
        (";", ["34,5", "30"], [34.5, 30]),
        (";", ["34,5", "30.5"], [None, 30.5]),  # one of them may separate thousands
        (";", ["12,345", "9,876"], [None, None]),  # days, with thousands?
        (";", ["12,345", "9,8"], [12.345, 9.8]),
        (";", ["1.234,5"], [None]),
        (",", ['"34,5"'], [None]),
    ],
)
def test_a_decimal_comma_is_read_only_where_it_can_be_nothing_else(separator: str, ages: list, years: list):
    rows = "".join(f"{n}.jpg{separator}{age}\n" for n, age in enumerate(ages))
    read = read_labels(f"file_name{separator}real_age\n{rows}".encode(), "labels.csv")["real_age"]
    assert [None if math.isnan(age) else age for age in read] == years


def test_names_are_normalised_and_only_ascii_blanks_are_stripped():
    names = ["./a.jpg", "a//b.jpg", "s/./c.jpg", " d.jpg\t", "\u3000e.jpg", "f.jpg"]
    labels = read_labels(("file_name,real_age\n" + "".join(f"{name},3\n" for name in names)).encode(), "labels.csv")
    assert labels["file_name"].tolist() == ["a.jpg", "a/b.jpg", "s/c.jpg", "d.jpg", "\u3000e.jpg", "f.jpg"]


@pytest.mark.parametrize(
    ("written", "real"), [("./a.jpg", "a.jpg"), ("s//b.jpg", "s/b.jpg"), ("e\u0301.jpg", "\u00e9.jpg")]
)
def test_a_snapshot_writes_file_names_as_the_images_folder_does(written: str, real: str):
    data = f"file_name,real_age\n{written},38\n".encode()
    assert parse_labels(data, "").frozen(data, [real]).decode() == f"file_name,real_age\n{real},38\n"


def test_a_plain_file_is_frozen_as_it_is_and_another_as_a_plain_one_with_every_row_on_its_line():
    plain = b"file_name,real_age,note\r\na.jpg,3,x\r\n"
    assert parse_labels(plain, "").frozen(plain, ["a.jpg"]) == plain
    other = 'sep=;\nfile_name;real_age;note\n./a.jpg;3,5;"two\nlines"\n\nb.jpg;4;"x, y"\n'.encode("utf-16")
    labels = parse_labels(other, "")
    frozen = labels.frozen(other, labels.rows["file_name"].tolist())
    again = parse_labels(frozen, "")
    assert again.table.plain
    assert again.rows[["line", "file_name", "age_text"]].equals(labels.rows[["line", "file_name", "age_text"]])
    assert again.table.rows == [["a.jpg", "3,5", "two\nlines"], ["b.jpg", "4", "x, y"]]


CELLS = st.text(st.characters(codec="utf-8") | st.sampled_from(',;\t"\r\n\ufeff\u200b =./|'), max_size=6)
HEADERS = st.sampled_from(["file_name,real_age", "file_name;real_age", "sep=;\nfile_name;real_age", "file_name", "x"])
ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])


@given(
    st.binary(max_size=60)
    | st.builds(
        lambda header, rows, sep, encoding, cut: f"{header}\n{sep.join(rows)}".encode(encoding)[: cut or None],
        *(HEADERS, st.lists(CELLS, max_size=8), st.sampled_from([",", ";", "\n", ",3\n"]), ENCODINGS),
        st.just(0) | st.integers(1, 60),
    )
)
@example(b"sep=")
@example("sep=;\n\n".encode("utf-16"))
@example(b'file_name,real_age\n"a\n\n')
@example(b"file_name,real_age\n./ a.jpg,3\n")
@settings(max_examples=400, deadline=None)
def test_any_bytes_are_read_or_refused_in_one_line(data: bytes):
    for columns in (("file_name", "real_age"), ("file_name",)):
        try:
            table = read_table(data, "labels.csv", columns)
            parsed = parse_labels(data, "labels.csv") if len(columns) == 2 else None
        except LabelsError as error:
            assert str(error).startswith("labels.csv")  # noqa: PT017
            assert str(error).isprintable()  # noqa: PT017
            assert len(str(error)) < 1000  # noqa: PT017
            continue
        assert {len(row) for row in table.rows} == {len(table.header)}
        if parsed:
            frozen = parsed.frozen(data, parsed.rows["file_name"].tolist())
            assert read_labels(frozen, "x")["file_name"].tolist() == parsed.rows["file_name"].tolist()
