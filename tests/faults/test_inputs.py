"""Invalid inputs and what happens to them: a row is quarantined or the file is refused; nothing invalid is trained on.

Most cases were found by generating inputs, as the tests beside this module do, or are what spreadsheets, cameras and
people produce.
"""

import csv
import io
import os
import re
import zlib
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from age_tasks.cli.app import main
from age_tasks.data.labels import read_labels
from age_tasks.errors import AgeTasksError, LabelsError, SettingsError
from tests.faults.images import image_file
from tests.faults.tally import Tally
from tests.support.settings import point_at

NOT_A_NUMBER = "is not a number"
OUT_OF_RANGE = "is not between 0 and 120 years"
LEAVES = "leaves the images folder"
CONTROL = "control characters"
MISSING = "no such file"


def png_of(width: int, height: int) -> bytes:
    """A PNG that says it is so large, and whose pixels are those of another."""
    data = image_file(1)
    header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + data[24:29]
    return data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[33:]


# The age in a row → the reason of its quarantine.
AGES = {
    "nothing": ("", NOT_A_NUMBER),
    "a word": ("unknown", NOT_A_NUMBER),
    "a number with its unit": ("34 years", NOT_A_NUMBER),
    "a decimal comma": ("34,5", NOT_A_NUMBER),
    "a thin space between thousands": ("1 000", NOT_A_NUMBER),
    "two points": ("3.4.5", NOT_A_NUMBER),
    "two signs": ("--3", NOT_A_NUMBER),
    "a range": ("30-40", NOT_A_NUMBER),
    "a percentage": ("30%", NOT_A_NUMBER),
    "a fraction": ("1/2", NOT_A_NUMBER),
    "half as one character": ("½", NOT_A_NUMBER),
    "an underscore, as in Python": ("3_4", NOT_A_NUMBER),
    "wide digits": ("３４", NOT_A_NUMBER),
    "Arabic digits": ("٣٤", NOT_A_NUMBER),
    "a superscript": ("3²", NOT_A_NUMBER),
    "hexadecimal": ("0x22", NOT_A_NUMBER),
    "a truth value": ("true", NOT_A_NUMBER),
    "a formula": ("=30", NOT_A_NUMBER),
    "a date": ("1990-01-01", NOT_A_NUMBER),
    "None": ("None", NOT_A_NUMBER),
    "NaN": ("NaN", NOT_A_NUMBER),
    "infinity": ("inf", NOT_A_NUMBER),
    "more than a float holds": ("1e999", NOT_A_NUMBER),
    "digits without end": ("9" * 5000, NOT_A_NUMBER),
    "a zero-width space": ("30\u200b", NOT_A_NUMBER),
    "a terminal's escape": ("\x1b[31m30", NOT_A_NUMBER),
    "a template": ("{age_text.__class__}", NOT_A_NUMBER),
    "negative": ("-3", OUT_OF_RANGE),
    "just negative": ("-1e-9", OUT_OF_RANGE),
    "too old": ("121", OUT_OF_RANGE),
    "months": ("408", OUT_OF_RANGE),
    "a year of birth": ("1990", OUT_OF_RANGE),
    "a large exponent": ("3e4", OUT_OF_RANGE),
}
# The file name in a row → the reason of its quarantine.
NAMES = {
    "no name": ("", "no file name"),
    "spaces": ("   ", "no file name"),
    "above the folder": ("../secret.png", LEAVES),
    "above it on a detour": ("a/../../secret.png", LEAVES),
    "from the root": ("/etc/passwd", LEAVES),
    "a drive": ("C:face.png", LEAVES),
    "backslashes": ("..\\secret.png", LEAVES),
    "an address": ("https://example.org/face.png", LEAVES),
    "a line break": ("a\nb.png", CONTROL),
    "a carriage return": ("a\rb.png", CONTROL),
    "a tab": ("a\tb.png", CONTROL),
    "a terminal's escape": ("\x1b[2Ja.png", CONTROL),
    "text that turns its direction": ("a\u202egnp.exe", CONTROL),
    "a byte-order mark inside": ("\ufeffface.png", CONTROL),
    "nobody's file": ("missing.png", MISSING),
    "a name too long for any disk": ("x" * 300 + ".png", MISSING),
    "a folder": ("folder", MISSING),
    "the folder itself": (".", MISSING),
    "a pipe": ("pipe", MISSING),
    "a device": ("device", MISSING),
    "a link to nothing": ("dangling", MISSING),
    "a name of another normal form": ("e\u0301.png", MISSING),
    "a wildcard": ("*.png", MISSING),
    "a format": ("{problem}.png", MISSING),
}
# The content of an image file → its problem.
IMAGES = {
    "nothing": (b"", "0 bytes"),
    "one byte": (b"\xff", "not an image"),
    "text": (b"a face", "not an image"),
    "a web page": (b"<!DOCTYPE html><title>404</title>", "an HTML page"),
    "a drawing in XML": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an XML file"),
    "a PDF": (b"%PDF-1.7\n", "not an image"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\nshowpage\n", "not an image"),
    "an archive": (b"PK\x03\x04" + bytes(100), "not an image"),
    "zeros": (bytes(1000), "not an image"),
    "half a PNG": (image_file(2)[:2000], "truncated"),
    "half a JPEG": (image_file(3, kind="JPEG")[:700], "truncated"),
    "a JPEG's first bytes": (image_file(3, kind="JPEG")[:20], "not an image"),
    "half a WebP": (image_file(4, kind="WEBP")[:500], "does not decode"),
    "half a GIF": (image_file(5, kind="GIF")[:800], "truncated"),
    "half a TIFF": (image_file(6, kind="TIFF")[:3000], "truncated"),
    "a PNG with a changed byte": (image_file(7)[:1000] + b"\0\0" + image_file(7)[1002:], "damaged"),
    "a PNG of no size": (png_of(0, 40), "not an image"),
    "a PNG that claims 4 thousand million pixels": (png_of(65_535, 65_535), "4,294,836,225 pixels; at most 67,108,864"),
    "a PNG larger than its pixels": (png_of(400, 400), "does not decode"),
    "twelve pixels": (image_file(8, (12, 12)), "12 x 12 pixels; each side needs at least 32"),
    "a thin strip": (image_file(9, (500, 31)), "500 x 31 pixels; each side needs at least 32"),
}
GOOD = 4


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store and cache of this test's own, and labels of one row."""
    (tmp_path / "labels.csv").write_text("file_name,real_age\na.jpg,30\n")
    point_at(monkeypatch, tmp_path, tmp_path / "labels.csv")
    return tmp_path


@pytest.fixture(scope="module")
def sorted_out(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], list[str]]:
    """All rows in one labels file: the reason by the name of each case, and the file names that were accepted."""
    root = tmp_path_factory.mktemp("inputs")
    images = root / "images"
    (images / "folder").mkdir(parents=True)
    os.mkfifo(images / "pipe")
    (images / "device").symlink_to("/dev/zero")
    (images / "dangling").symlink_to("nowhere")
    rows: list[tuple[str, str, str]] = []
    for number in range(GOOD):
        (images / f"good{number}.png").write_bytes(image_file(100 + number))
        rows.append(("good", f"good{number}.png", f"{20 + number}"))
    for number, (case, (age, _)) in enumerate(AGES.items()):
        (images / f"age{number}.png").write_bytes(image_file(200 + number))
        rows.append((f"age: {case}", f"age{number}.png", age))
    rows += [(f"name: {case}", name, "30") for case, (name, _) in NAMES.items()]
    for number, (case, (content, _)) in enumerate(IMAGES.items()):
        (images / f"image{number}").write_bytes(content)
        rows.append((f"image: {case}", f"image{number}", "30"))
    for name in ("two ages", "copy 1", "copy 2", "twice"):
        (images / name).write_bytes(image_file(300 if "copy" in name else len(name)))
    rows += [("one name, two ages", "two ages", age) for age in ("30", "31")]
    rows += [("one image, two ages", f"copy {age}", f"{age}") for age in (1, 2)]
    rows += [("accepted", "twice", "30"), ("listed twice", "twice", "30")]
    table = io.StringIO()
    csv.writer(table).writerows([("file_name", "real_age"), *(row[1:] for row in rows)])
    (root / "labels.csv").write_bytes(table.getvalue().encode())
    with pytest.MonkeyPatch.context() as patch:
        point_at(patch, root, root / "labels.csv")
        assert main(["snapshot", "--run", "x", "--recipe", "demo"]) == 0
        assert main(["validate", "--run", "x"]) == LabelsError.exit_code  # too few are left
    written = root / "store" / "runs" / "x" / "validate"
    aside = pd.read_csv(written / "quarantine.csv", keep_default_na=False)
    accepted = pd.read_csv(written / "accepted.csv", keep_default_na=False)
    case_of = dict(
        zip(read_labels((root / "labels.csv").read_bytes(), "")["line"], (row[0] for row in rows), strict=True)
    )
    reasons = {case_of[line]: reason for line, reason in zip(aside["line"], aside["reason"], strict=True)}
    return reasons, [case_of[line] for line in accepted["line"]]


ROWS = {
    **{f"age: {case}": says for case, (_, says) in AGES.items()},
    **{f"name: {case}": says for case, (_, says) in NAMES.items()},
    **{f"image: {case}": says for case, (_, says) in IMAGES.items()},
    "one name, two ages": "this file name is listed with different ages: 30 (two ages, line",
    "one image, two ages": "the same image is listed with different ages: 1 (copy 1, line",
    "listed twice": "already listed on line",
}


@pytest.mark.parametrize("case", ROWS)
def test_an_invalid_row_is_quarantined_with_its_reason(case: str, sorted_out, tally: Tally):
    with tally.attempt("bad_inputs"):
        reasons, accepted = sorted_out
        assert ROWS[case] in reasons[case]
        assert case not in accepted


def test_valid_rows_among_invalid_ones_are_accepted(sorted_out):
    assert sorted_out[1] == ["good"] * GOOD + ["accepted"]


HEADER = b"file_name,real_age\n"
# A whole labels file → the error, which also names the file.
FILES = {
    "no bytes": (b"", r"is empty \(0 rows\)"),
    "a byte-order mark alone": (b"\xef\xbb\xbf", r"is empty \(0 rows\)"),
    "blank lines": (b"\n\r\n  \n,\n", r"is empty \(0 rows\)"),
    "a header alone": (HEADER, "has a header but no rows"),
    "no header": (b"a.jpg,30\nb.jpg,31\n", "line 1: no column 'file_name' among a.jpg, 30"),
    "another header": (b"image,age\na.jpg,30\n", "line 1: no column 'file_name'"),
    "a header in capitals": (b"FILE_NAME,REAL_AGE\na.jpg,30\n", "line 1: no column 'file_name'"),
    "a doubled column": (b"file_name,real_age,real_age\na,1,2\n", "line 1: 2 columns named 'real_age'"),
    "semicolons and other columns": (b"name;age\na.jpg;30\n", "line 1: no column 'file_name' among name, age"),
    "tabs and a comma between": (b"file_name\treal_age\na.jpg,30\n", "line 2: 1 values where the header has 2"),
    "Latin-1": (HEADER + b"a.jpg,1\n\xe9.jpg,30\n", "line 3: byte 0xe9 is not UTF-8"),
    "UTF-16 that is cut off": ("file_name,real_age\na.jpg,30\n".encode("utf-16")[:-1], "byte 57 of 57 is not UTF-16"),
    "UTF-16 without its mark": ("file_name,real_age\n".encode("utf-16-le"), "line 1: a NUL character"),
    "half a character": (HEADER + b"a\xed\xa0\x80.jpg,30\n", "line 2: byte 0xed is not UTF-8"),
    "a character cut off": (HEADER + b"a.jpg,30\n\xf0\x9f\x98", "line 3: byte 0xf0 is not UTF-8"),
    "a NUL": (HEADER + b"a.jpg,1\nb\0.jpg,3\n", "line 3: a NUL character"),
    "a spreadsheet's own format": (b"PK\x03\x04\x14\0\x06\0", "is an archive, but no Excel workbook"),
    "a picture": (image_file(1), "line 1: byte 0x89 is not UTF-8"),
    "an open quote": (HEADER + b'"a.jpg,30\nb.jpg,31\n', "line 2: .*check the quotes"),
    "text behind a quote": (HEADER + b'"a"b.jpg,30\n', "line 2: .*check the quotes"),
    "a comma in a name": (HEADER + b"a.jpg,1\na,b.jpg,30\n", "line 3: 3 values where the header has 2"),
    "a value too few": (HEADER + b"a.jpg\n", "line 2: 1 values where the header has 2"),
    "a decimal comma": (HEADER + b"a.jpg,34,5\n", "line 2: 3 values where the header has 2"),
    "a lone carriage return": (HEADER + b"a.jpg,3\r4\n", "line 3: 1 values where the header has 2"),
    "a field without end": (HEADER + b"a" * 200_000 + b",3\n", "line 2: field larger than field limit"),
    "two files after one another": (HEADER + b"a.jpg,3\n\x1a" + HEADER[:9], "line 3: 1 values"),
}


@pytest.mark.parametrize("case", FILES)
def test_an_invalid_labels_file_is_refused_with_file_and_line(
    case: str, place: Path, monkeypatch, capsys, tally: Tally
):
    with tally.attempt("bad_inputs"):
        content, says = FILES[case]
        (place / "my labels.csv").write_bytes(content)
        monkeypatch.setenv("AGE_LABELS", str(place / "my labels.csv"))
        refused(["snapshot", "--run", "x"], LabelsError, rf"my labels\.csv.*{says}", capsys)


# A recipe file → the error, which also names the file.
RECIPES = {
    "not UTF-8": (b"model:\n  backbone: \xff\n", "not valid YAML: unacceptable character"),
    "a NUL": (b"model: \0\n", "not valid YAML: .*special characters"),
    "broken YAML": (b"model: [\n", "not valid YAML"),
    "a tab": (b"model:\n\tbackbone: x\n", "not valid YAML"),
    "two documents": (b"model: {}\n---\nmodel: {}\n", "not valid YAML"),
    "code": (b"model: !!python/object/apply:os.system [ls]\n", "not valid YAML: could not determine a constructor"),
    "an alias of nothing": (b"model: *a\n", "not valid YAML: found undefined alias"),
    "an alias of itself": (b"&a model: {backbone: [*b]}\n", "not valid YAML"),
    "nested without end": (b"[" * 1500, "not valid YAML: maximum recursion"),
    "a number without end": (b"baseline:\n  epochs: " + b"9" * 5000 + b"\n", "not valid YAML: Exceeds the limit"),
    "a date that can't be": (b"card:\n  owner: 2026-13-45\n", "not valid YAML: month must be in 1..12"),
    "a list": (b"- model\n", "a recipe is a mapping of sections"),
    "a text": (b"model\n", "a recipe is a mapping of sections"),
    "an unknown section": (b"modell: {}\n", "modell: no such setting. Sections: data"),
    "an unknown setting": (b"model: {backbones: x}\n", "model.backbones: no such setting. 'model' has"),
    "a number as a section": (b"1: {}\n", "1.*no such setting|1.*[Kk]eys should be strings"),
    "a section that is none": (b"model: 3\n", "model = 3"),
    "a thousand million laughs": (
        b"l: &l [ha, ha, ha, ha, ha, ha, ha, ha, ha]\n"
        + b"".join(
            b"%c: &%c [%s]\n" % (97 + n, 97 + n, b", ".join([b"*" + (b"l" if n == 0 else bytes([96 + n]))] * 9))
            for n in range(9)
        )
        + b"baseline: {epochs: *i}\n",
        r"baseline\.epochs = ",
    ),
}


@pytest.mark.parametrize("case", RECIPES)
def test_an_invalid_recipe_is_refused_with_its_file(case: str, place: Path, capsys, tally: Tally):
    with tally.attempt("bad_inputs"):
        content, says = RECIPES[case]
        (place / "own.yaml").write_bytes(content)
        refused(
            ["snapshot", "--run", "x", "--recipe", str(place / "own.yaml")],
            SettingsError,
            rf"own\.yaml: .*?{says}",
            capsys,
        )


# Settings as the trigger form and the environment pass them, JSON → the error.
PASSED = {
    "no JSON": ("finetune.epochs=3", "AGE_SET is not JSON"),
    "a list": ("[1]", "AGE_SET must be a JSON object"),
    "null": ("null", "AGE_SET must be a JSON object"),
    "nested without end": ("[" * 60_000, "AGE_SET is not JSON"),
    "a number without end": ('{"finetune.epochs": ' + "9" * 5000 + "}", "AGE_SET is not JSON"),
    "no section": ('{"epochs": 3}', "no such setting. Sections: data"),
    "no name": ('{"": 3}', "no such setting. Sections: data"),
    "a section as a whole": ('{"finetune": {"epochs": 3}}', "no such setting"),
    "one level too many": ('{"finetune.epochs.x": 3}', r"finetune\.epochs\.x: no such setting"),
    "null as a value": ('{"finetune.epochs": null}', r"finetune\.epochs = None"),
    "a list as a value": ('{"finetune.epochs": [3]}', r"finetune\.epochs = \[3\]"),
    "an object as a value": ('{"finetune.epochs": {"$gt": 0}}', r"finetune\.epochs = \{"),
    "a fraction of an epoch": ('{"finetune.epochs": 1.5}', r"finetune\.epochs = 1\.5"),
    "none at all": ('{"finetune.epochs": 0}', r"finetune\.epochs = 0: .*greater than or equal to 1"),
    "infinitely many": ('{"finetune.epochs": Infinity}', r"finetune\.epochs = inf"),
    "an infinite rate": ('{"finetune.learning_rate": 1e999}', r"learning_rate = inf: .*finite"),
    "no number for a rate": ('{"finetune.learning_rate": NaN}', r"learning_rate = nan: .*(finite|greater)"),
    "no number for a bound of the gate": ('{"gate.max_test_mae": NaN}', r"max_test_mae = nan"),
    "an infinite bound of the gate": ('{"gate.max_test_mae": Infinity}', r"max_test_mae = inf: .*finite"),
    "nothing left to train on": (
        '{"split.test_fraction": 0.9}',
        "test_fraction 0.9 and val_fraction 0.15 leave nothing",
    ),
    "bins that go back": ('{"evaluate.bin_edges": [0, 50, 20]}', "each edge must be above the one before"),
    "bins that stand still": ('{"evaluate.bin_edges": [0, 0, 120]}', "each edge must be above the one before"),
    "one edge": ('{"evaluate.bin_edges": [0]}', "at least 2 items"),
    "no number as an edge": ('{"evaluate.bin_edges": [0, NaN]}', "finite"),
    "a choice there isn't": ('{"gate.policy": "always"}', "'better' or 'not_worse'"),
    "half a character": ('{"card.owner": "\\ud800"}', "can't be encoded as UTF-8"),
}


@pytest.mark.parametrize("case", PASSED)
def test_invalid_settings_of_the_form_are_refused_by_name(case: str, place: Path, monkeypatch, capsys, tally: Tally):
    with tally.attempt("bad_inputs"):
        passed, says = PASSED[case]
        monkeypatch.setenv("AGE_SET", passed)
        refused(["snapshot", "--run", "x", "--recipe", "demo"], SettingsError, says, capsys)


TYPED = {
    "no value": ("finetune.epochs", "write it as section.setting=value"),
    "an open bracket": ("finetune.epochs=[", "not valid YAML"),
    "an open quote": ("card.owner='", "not valid YAML"),
    "an alias": ("card.owner=*a", "not valid YAML"),
    "a reserved character": ("card.owner=@me", "not valid YAML"),
    "code": ("card.owner=!!python/object/apply:os.system [ls]", "not valid YAML"),
    "a wrong tag": ("finetune.epochs=!!int x", "not valid YAML"),
    "a wrong date": ("card.owner=!!timestamp x", "not valid YAML"),
    "a date": ("card.owner=2026-01-01", "valid string"),
    "sexagesimal": ("finetune.epochs=1:75", "valid integer"),
    "hexadecimal without end": ("finetune.epochs=0x" + "F" * 6000, "finetune.epochs"),
}


@pytest.mark.parametrize("case", TYPED)
def test_invalid_settings_of_the_command_line_are_refused(case: str, place: Path, capsys, tally: Tally):
    with tally.attempt("bad_inputs"):
        assignment, says = TYPED[case]
        refused(["snapshot", "--run", "x", "--recipe", "demo", "--set", assignment], SettingsError, says, capsys)


@pytest.mark.parametrize("key", ["..", ".hidden", "/", "x" * 201, "é", " ", "\u202e", "__", "\n"])
def test_run_keys_that_are_no_folder_names_are_refused(key: str, place: Path, capsys, tally: Tally):
    with tally.attempt("bad_inputs"):
        refused(["snapshot", "--run", key, "--recipe", "demo"], SettingsError, "can't be a folder name", capsys)


# Where things are said to be → the exit code and the error.
PLACES: dict[str, tuple[str, Callable[[Path], str], int, str]] = {
    "labels that are a pipe": ("AGE_LABELS", lambda root: pipe(root / "pipe"), 65, "no labels file at .*pipe"),
    "labels that never end": ("AGE_LABELS", lambda root: "/dev/zero", 65, "no labels file at /dev/zero"),
    "labels that are a folder": ("AGE_LABELS", str, 65, "no labels file at"),
    "labels with a name too long": ("AGE_LABELS", lambda root: f"{root}/{'x' * 300}", 74, "File name too long"),
    "labels on the web": (
        "AGE_LABELS",
        lambda root: "http://me:secret@host/x.csv",
        64,
        "http://host/x.csv' was given with a user",
    ),
    "labels in no bucket": ("AGE_LABELS", lambda root: "s3://", 64, "is not a supported address|no bucket"),
    "images that are a file": ("AGE_IMAGES", lambda root: str(file(root / "x")), 65, "no images folder at .*x"),
    "images with a name too long": ("AGE_IMAGES", lambda root: f"{root}/{'x' * 300}", 65, "no images folder at"),
    "a store that is a file": (
        "AGE_STORE",
        lambda root: str(file(root / "x")),
        74,
        r"x/\S+\.json: Not a directory; check",
    ),
    "a store with a name too long": ("AGE_STORE", lambda root: f"{root}/{'x' * 300}", 74, "File name too long"),
    "a store of another kind": (
        "AGE_STORE",
        lambda root: "gs://bucket",
        64,
        "gs://bucket' is not a supported",
    ),
    "a cache that is a file": ("AGE_CACHE", lambda root: str(file(root / "x")), 64, "AGE_CACHE=.*can't be a folder"),
    "a cache with a name too long": ("AGE_CACHE", lambda root: f"{root}/{'x' * 300}", 64, "AGE_CACHE=.*too long"),
    "a recipe with a name too long": ("AGE_RECIPE", lambda root: "x" * 300 + ".yaml", 64, "File name too long"),
    "a recipe of another folder": ("AGE_RECIPE", lambda root: "../recipes/demo", 64, "choose demo, gpu_full, quick"),
}


@pytest.mark.parametrize("case", PLACES)
def test_an_invalid_location_is_refused_by_name(case: str, place: Path, monkeypatch, capsys, tally: Tally):
    with tally.attempt("bad_inputs"):
        variable, value, code, says = PLACES[case]
        monkeypatch.setenv(variable, value(place))
        assert main(["snapshot", "--run", "x"]) == code
        said = capsys.readouterr().err
        assert_one_message(said, says)
        assert "secret" not in said


def refused(arguments: list[str], error: type[AgeTasksError], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == error.exit_code
    assert_one_message(capsys.readouterr().err, says)


def assert_one_message(said: str, says: str) -> None:
    assert "Traceback" not in said
    assert re.search(says, said, re.DOTALL), said
    assert len(said) < 20_000


def pipe(path: Path) -> str:
    os.mkfifo(path)
    return str(path)


def file(path: Path) -> Path:
    path.write_text("a file")
    return path
