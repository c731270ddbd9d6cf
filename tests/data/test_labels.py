import math

import pytest

from age_tasks.data.labels import read_labels
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
        (b"file_name;real_age\na.jpg;3\n", "line 1: the columns are separated by semicolons"),
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
