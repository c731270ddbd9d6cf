"""Generated labels files: refused with file and line, or read as they are written."""

import csv
import io
import random
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st

from age_tasks.data.image_folder import ImageFolder, normal_name
from age_tasks.data.labels import parse_labels
from age_tasks.data.probes import probe_images
from age_tasks.data.validation import with_derived_columns
from age_tasks.errors import LabelsError
from tests.faults.generated import attempts, generated, outcome, texts
from tests.faults.mutated_bytes import mutated
from tests.faults.tally import Tally
from tests.faults.tokens import TOKENS

NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


def good_files() -> list[bytes]:
    """The same labels as many programs write them."""
    rows = [(f"{n:05d}.jpg", n * 7 % 90, "x") for n in range(20)]
    plain = "file_name,real_age,note\n" + "".join(f"{name},{age},{note}\n" for name, age, note in rows)
    excel = "sep=;\r\nfile_name;real_age;note\r\n" + "".join(f"{name};{age},5;{note}\r\n" for name, age, note in rows)
    quoted = "real_age,file_name\n" + "".join(f'"{age}", "s/{name}"\n' for name, age, _ in rows)
    tabs = "file_name\treal_age\t\n" + "".join(f"./{name}\t{age}.50\t\n" for name, age, _ in rows)
    return [text.encode() for text in (plain, plain, excel, quoted, tabs)] + [
        plain.encode("utf-16"), excel.encode("utf-8-sig"), tabs.encode("utf-16-be").join([b"\xfe\xff", b""]),
    ]  # fmt: skip


def check_bytes(data: bytes, tmp_path: Path, tally: Tally) -> None:
    """What is taken for an age stands so in the file, in plain digits, in the same row as the name."""
    with tally.attempt("labels_bytes"):
        found, refused = outcome(lambda: parse_labels(data, "my labels.csv"), "my labels.csv")
        if refused is not None:
            assert isinstance(refused, LabelsError)
            return
        text = data.decode({"UTF-16": "utf-16", "UTF-32": "utf-32"}.get(found.table.encoding, "utf-8")).lstrip("\ufeff")
        lines = re.split("\r\n|\r|\n", text)
        comma = "decimal comma" in found.read_as
        for row in found.rows.itertuples():
            stands = "\n".join(lines[row.line - 1 :])
            if not np.isnan(row.real_age):
                plain = row.age_text.replace(",", ".") if comma else row.age_text
                assert NUMBER.fullmatch(plain)
                assert float(plain) == row.real_age
            name = found.table.column("file_name")[row.Index]
            assert row.file_name == normal_name(name.strip(" \t\r\n"))
            for cell in (row.age_text, name.strip()):
                assert all(part in stands for part in re.split('[\r\n"]+', cell)), cell
        again, _ = outcome(lambda: parse_labels(found.frozen(data, list(found.rows["file_name"])), "frozen"))
        same = ["line", "file_name"] if comma else ["line", "file_name", "real_age"]
        pd.testing.assert_frame_equal(again.rows[same], found.rows[same])
        images = ImageFolder(str(tmp_path), tmp_path)
        probes, _ = probe_images(images, found.rows["file_name"], tmp_path)
        snapshot = found.rows.join(pd.DataFrame([vars(probes[name]) for name in found.rows["file_name"]]))
        assert with_derived_columns(snapshot)["name_is_valid"].notna().all()


def mutations(many: int, rng: random.Random, request: pytest.FixtureRequest, folder: Path, tally: Tally) -> None:
    good = good_files()
    for _ in attempts(many, request):
        check_bytes(mutated(rng.choice(good), rng, TOKENS), folder, tally)


def test_every_way_to_write_the_labels_is_read(tmp_path: Path, tally: Tally):
    for data in good_files():
        check_bytes(data, tmp_path, tally)
        assert len(parse_labels(data, "x").rows) == 20


def test_some_mutated_labels(rng: random.Random, request: pytest.FixtureRequest, tmp_path: Path, tally: Tally):
    mutations(0, rng, request, tmp_path, tally)


@pytest.mark.faults
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(4))
def test_many_mutated_labels(
    part: int, rng: random.Random, request: pytest.FixtureRequest, tmp_path: Path, tally: Tally
):
    mutations(9_000, rng, request, tmp_path, tally)


cells = texts("30", "30.5", "0", "120", "a.jpg", "s/b.png", "+3", "30 ").filter(
    lambda text: "\0" not in text and "\udcff" not in text
)
tables = st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=5)


def check_table(
    rows: list[tuple[str, str, str]], separator: str, quoting: int, line_end: str, encoding: str, tally: Tally
) -> None:
    """A table that is written as the CSV module writes it: each cell arrives, or the file is refused."""
    with tally.attempt("labels_bytes"):
        out = io.StringIO()
        if line_end == "\r" and any("\n" in cell for row in rows for cell in row):
            quoting = csv.QUOTE_ALL  # of the characters that end a line, the writer quotes only its own
        writer = csv.writer(out, delimiter=separator, quoting=quoting, lineterminator=line_end)
        writer.writerows([("file_name", "real_age", "note"), *rows])
        data = out.getvalue().encode(encoding, "surrogatepass")
        found, refused = outcome(lambda: parse_labels(data, "t.csv"), "t.csv")
        kept = [row for row in rows if any(cell.strip() for cell in row)]
        if refused is None:
            assert len(found.rows) == len(kept)
            for (name, age, _), row in zip(kept, found.rows.itertuples(), strict=True):
                assert row.file_name == normal_name(_read(name).strip(" \t\r\n"))
                assert row.age_text == _read(age).strip()
                is_number = NUMBER.fullmatch(row.age_text) and np.isfinite(float(row.age_text))
                if "decimal comma" in found.read_as:
                    assert separator != ","
                elif is_number:
                    assert row.real_age == float(row.age_text)
                else:
                    assert np.isnan(row.real_age)
        else:
            assert (
                not kept
                or any("\r" in cell or '"' in cell or "\n" in cell or len(cell) > 1000 for row in rows for cell in row)
                or _half(rows)
            ), str(refused)


def _read(cell: str) -> str:
    return cell.lstrip(" ") if cell.strip() else cell


def _half(rows: list[tuple[str, str, str]]) -> bool:
    return any("\ud800" <= letter <= "\udfff" for row in rows for cell in row for letter in cell)


test_some_tables, test_many_tables = generated(
    12_000,
    rows=tables,
    separator=st.sampled_from([",", ",", ";", "\t", "|"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)(check_table)


@pytest.mark.parametrize("name", ["a\rb.jpg", "a.jpg\n", "\ra.jpg", "a\r\nb.jpg", 'a""b.jpg'])
def test_the_frozen_copy_has_the_same_rows_on_the_same_lines(name: str, tmp_path: Path, tally: Tally):
    """Seen: a line break around a name moved the lines behind it, and a carriage return in one broke its row."""
    check_bytes(f'file_name;real_age\n"{name}";1\nb.jpg;2\n'.encode(), tmp_path, tally)


@pytest.mark.parametrize(
    "age", ["9" * 131_000 + "x", "9" * 131_000, "9," * 65_000, "." * 131_000, "1e" + "9" * 100_000]
)
def test_an_age_without_end_takes_no_time(age: str, tally: Tally):
    with tally.attempt("labels_bytes"):
        quoted = f'file_name,real_age\na.jpg,"{age}"\n'.encode()
        found, refused = outcome(lambda: parse_labels(quoted, "t.csv"), "t.csv")
        assert refused is not None or np.isnan(found.rows["real_age"]).all()
