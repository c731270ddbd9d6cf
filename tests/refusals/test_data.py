"""Labels, tables and images that are refused."""

import errno
import io
import os
import shutil
import sys
import time
import types
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest
from PIL import Image

from age_tasks.config import SplitSettings
from age_tasks.data import decoding, image_folder, labels_file, tables
from age_tasks.data.decoding import load_accepted, load_rgb
from age_tasks.data.image_folder import ImageFolder, require_unchanged
from age_tasks.data.labels import parse_labels
from age_tasks.data.labels_file import fetch_labels
from age_tasks.data.probes import probe_images
from age_tasks.data.splits import (
    assign,
    extend_assignments,
    no_assignments,
    require_images_in_each,
    split_labels,
)
from age_tasks.store.files import FileStore
from tests.support.deep_images import png_of_16_bits
from tests.support.refusals import walks
from tests.support.tables import faces
from tests.support.tars import tar_of
from tests.support.walks import Walk, command

GOOD = b"file_name,real_age\na.jpg,34\n"
TABLES = "data/tables.py"


def workbook(*sheets: str) -> bytes:
    """A workbook with these sheets, each of which has labels."""
    made, out = openpyxl.Workbook(), io.BytesIO()
    made.remove(made.active)
    for title in sheets:
        sheet = made.create_sheet(title)
        sheet.append(["file_name", "real_age"])
        sheet.append(["a.jpg", 34])
    made.save(out)
    return out.getvalue()


def broken_workbook() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("xl/workbook.xml", "no XML")
    return out.getvalue()


def labels_at(folder: Path, data: bytes) -> tuple[Path, Callable[[], object]]:
    """A labels file, and what reads it."""
    file = folder / "labels.csv"
    file.write_bytes(data)
    return file, lambda: parse_labels(file.read_bytes(), str(file))


@pytest.mark.parametrize(
    ("data", "names", "cure", "corrected"),
    [
        pytest.param(b"%PDF-1.7", ["a PDF"], "save it as CSV in UTF-8", GOOD,
                     marks=walks(TABLES, "{} is {}; save it as CSV in UTF-8")),
        pytest.param(b"\n", ["is empty (0 rows)"], "first line must be 'file_name,real_age'", GOOD,
                     marks=walks(TABLES, "is empty (0 rows)")),
        pytest.param(b"file_name,real_age\n", ["a header but no rows"], "add a line such as 'image.jpg,34'", GOOD,
                     marks=walks(TABLES, "a header but no rows")),
        pytest.param(GOOD.decode().encode("utf-16")[:-1], ["byte 57 of 57", "not UTF-16"], "save it again, as UTF-8",
                     GOOD, marks=walks(TABLES, "as which its first bytes declare it")),
        pytest.param("file_name,real_age\nanaïs.jpg,34\n".encode("latin-1"), ["line 2", "0xef"], "'CSV UTF-8'",
                     "file_name,real_age\nanaïs.jpg,34\n".encode(), marks=walks(TABLES, "is not UTF-8 (the file")),
        pytest.param(GOOD.decode().encode("utf-16-le"), ["line 1", "NUL", "UTF-16 without"], "save it as CSV in UTF-8",
                     GOOD.decode().encode("utf-16"), marks=walks(TABLES, "a NUL character")),
        pytest.param(b"File Name,real_age\na.jpg,34\n", ["line 1", "no column 'file_name'"],
                     "rename File Name to file_name", GOOD, marks=walks(TABLES, "'{}' among {}; expected")),
        pytest.param(b'file_name,real_age\n"a.jpg,34\n', ["line 2", "end of data"], "check the quotes", GOOD,
                     marks=walks(TABLES, "check the quotes around")),
        pytest.param(b"file_name,real_age\na,b.jpg,34\n", ["line 2", "3 values where the header has 2", "a,b.jpg"],
                     "quote a file name that contains a comma", b'file_name,real_age\n"a,b.jpg",34\n',
                     marks=walks(TABLES, "values where the header has")),
        pytest.param(broken_workbook(), ["no Excel workbook that opens"], "save it as CSV in UTF-8", GOOD,
                     marks=walks(TABLES, "no Excel workbook that opens")),
        pytest.param(workbook("one", "two"), ["the sheets one, two"], "keep one", workbook("one"),
                     marks=walks(TABLES, "the sheets {} have the columns")),
    ],
)  # fmt: skip
def test_a_table_that_is_corrected(
    refused: Walk, tmp_path: Path, data: bytes, names: list[str], cure: str, corrected: bytes
):
    file, read = labels_at(tmp_path, data)
    again = refused(read, file, *names, cure)
    file.write_bytes(corrected)
    again()


@walks(TABLES, "of a workbook at most")
def test_a_workbook_that_unpacks_to_more_than_fits(refused: Walk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tables, "MAX_UNPACKED_BYTES", 1000)
    file, read = labels_at(tmp_path, workbook("one"))
    again = refused(read, file, "MB unpacked", "at most 0 MB", "save it as CSV in UTF-8")
    file.write_bytes(GOOD)
    again()


@pytest.mark.parametrize(
    ("data", "package"),
    [
        pytest.param(workbook("one"), "openpyxl", marks=walks(TABLES, "read with openpyxl: pip install openpyxl")),
        pytest.param(b"PAR1", "pyarrow", marks=walks(TABLES, "read with pyarrow: pip install pyarrow")),
    ],
)
def test_a_table_whose_reader_is_not_installed(
    refused: Walk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, package: str
):
    file, read = labels_at(tmp_path, data)
    with monkeypatch.context() as patch:
        for module in (package, f"{package}.parquet"):
            patch.setitem(sys.modules, module, None)
        again = refused(read, file, f"pip install {package}", "or save it as CSV in UTF-8")
        file.write_bytes(GOOD)
        again()
    if package == "openpyxl":
        file.write_bytes(data)
        again()


@walks(TABLES, "a Parquet file that can't be read")
def test_a_damaged_parquet_file(refused: Walk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Damaged:
        def __init__(self, file: object) -> None:
            raise OSError("magic bytes not found in footer\nat 4")

    monkeypatch.setitem(sys.modules, "pyarrow", types.ModuleType("pyarrow"))
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", module := types.ModuleType("pyarrow.parquet"))
    sys.modules["pyarrow"].parquet, module.ParquetFile = module, Damaged
    file, read = labels_at(tmp_path, b"PAR1")
    again = refused(read, file, "OSError", "write it again, or as CSV in UTF-8")
    file.write_bytes(GOOD)
    again()


@walks("data/labels_file.py", "no labels file at")
def test_labels_that_are_elsewhere(refused: Walk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "labels.csv"
    again = refused(lambda: fetch_labels(str(file)), file, "set AGE_LABELS", "sample --out")
    assert command("sample", "--out", tmp_path, "--count", 2)() == 0
    again()


@walks("data/labels_file.py", "has changed every")
def test_labels_that_keep_changing(refused: Walk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file, _ = labels_at(tmp_path, GOOD)
    monkeypatch.setattr(labels_file, "TRIES", 3)

    def still_written(seconds: float) -> None:
        with file.open("ab") as out:
            out.write(b"b.jpg,3\n")

    with monkeypatch.context() as patch:
        patch.setattr(labels_file.time, "sleep", still_written)
        again = refused(lambda: fetch_labels(str(file)), file, "try again when it is complete", "rename it")
    shutil.copy2(file, tmp_path / "complete")
    os.utime(tmp_path / "complete", (time.time() - 60,) * 2)
    (tmp_path / "complete").rename(file)
    again()


@walks("data/splits.py", "are too few to assign")
@pytest.mark.parametrize(("count", "bins"), [(5, 0), (12, 1), (30, 4)])
def test_too_few_images_for_the_age_bins(refused: Walk, count: int, bins: int):
    ages = [1 + n * 37 % 90 for n in range(count)]
    labels = pd.DataFrame({"file_name": [f"{n}.jpg" for n in range(count)], "real_age": ages})
    cure = f"or use fewer bins: --set split.n_bins={bins}" if bins else "label more images"
    again = refused(lambda: split_labels(labels, SplitSettings()), f"{count} images", cure)
    if bins:
        again(lambda: split_labels(labels, SplitSettings(n_bins=bins)))
    more = pd.concat([labels.assign(file_name=labels["file_name"] + str(copy)) for copy in range(99 // count)])
    again(lambda: split_labels(more.reset_index(drop=True), SplitSettings()))


EMPTY = "no image is in {}{}"


@walks("data/splits.py", EMPTY)
def test_a_fixed_split_without_validation_images(refused: Walk):
    labels = faces(list(range(100)), {}).assign(fixed_split=["train", "test"] * 50)
    again = refused(
        split_of(labels), "in val", "data.split_column", "write val for some rows", "--set data.split_column="
    )
    again(split_of(labels.assign(fixed_split=["train", "test", "val", "train"] * 25)))
    again(split_of(labels.drop(columns="fixed_split")))


@walks("data/splits.py", EMPTY)
@pytest.mark.parametrize("people", [1, 2])
def test_too_few_people_for_three_splits(refused: Walk, people: int):
    labels = faces(list(range(100)), {})
    labels["person"] = [f"person {number % people}" for number in range(100)]
    again = refused(split_of(labels), f"{people} known people", "data.person_column", "leave the cell empty")
    again(split_of(labels.assign(person="")))
    again(split_of(labels.assign(person=[f"person {number % 20}" for number in range(100)])))
    again(split_of(labels.drop(columns="person")))


@walks("data/splits.py", EMPTY)
def test_labels_without_the_images_of_a_split(refused: Walk):
    labels = faces(list(range(200)), {})
    split = assign(labels, no_assignments(), SplitSettings())
    previous = extend_assignments(labels, split, no_assignments())
    again = refused(split_of(labels[split != "val"], previous), "in val", "before; label more images")
    more = pd.concat([labels[split != "val"], faces(list(range(200, 220)), {})], ignore_index=True)
    again(split_of(more, previous))


def split_of(labels: pd.DataFrame, previous: pd.DataFrame | None = None) -> Callable[[], None]:
    """Splits the labels, and checks the result."""

    def work() -> None:
        known = no_assignments() if previous is None else previous
        require_images_in_each(labels, assign(labels, known, SplitSettings()))

    return work


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A good image, to be copied over bad ones."""
    path = tmp_path / "good" / "good.png"
    path.parent.mkdir()
    Image.effect_noise((64, 48), 60).convert("RGB").save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path, image: Path) -> ImageFolder:
    """A folder of images with `a.png`."""
    (tmp_path / "images" / "sub").mkdir(parents=True)
    shutil.copy(image, tmp_path / "images" / "a.png")
    shutil.copy(image, tmp_path / "images" / "sub" / "b.png")
    return ImageFolder(str(tmp_path / "images"), tmp_path / "cache")


FOLDER = "data/image_folder.py"


@pytest.mark.parametrize(
    ("name", "reason", "corrected"),
    [
        pytest.param("", "no file name; write one", "a.png", marks=walks(FOLDER, "no file name")),
        pytest.param("a\x07.png", "control characters (U+0007); rename the file", "a.png",
                     marks=walks(FOLDER, "has control characters")),
        pytest.param("https://host/a.png", "is an address; write the path below the images folder", "a.png",
                     marks=walks(FOLDER, "it is an address")),
        pytest.param("C:/images/a.png", "a drive of Windows; write the path below the images folder", "a.png",
                     marks=walks(FOLDER, "drive of Windows")),
        pytest.param("/elsewhere/a.png", "an absolute path; write the path below the images folder", "a.png",
                     marks=walks(FOLDER, "an absolute path")),
        pytest.param("../a.png", "by '..'; write the path below the images folder", "a.png",
                     marks=walks(FOLDER, "leaves the images folder by '..'")),
        pytest.param("sub\\b.png", "a backslash; write sub/b.png", "sub/b.png", marks=walks(FOLDER, "has a backslash")),
        pytest.param("sub/../a.png", "has '..'; write a.png", "a.png", marks=walks(FOLDER, "has '..'; write")),
        pytest.param("images/a.png", "there is a.png: leave out images/; put it there, or run snapshot again", "a.png",
                     marks=walks(FOLDER, "put it there, or run snapshot again")),
    ],
)  # fmt: skip
@walks(FOLDER, "path: {} in {}: {}")
def test_a_name_that_is_written_otherwise(
    request: pytest.FixtureRequest, refused: Walk, folder: ImageFolder, name: str, reason: str, corrected: str
):
    if name == "images/a.png":  # its message has a form of its own
        refused._refusals = refused._refusals[:1]
    again = refused(lambda: folder.path(name), folder.location, reason)
    assert again(lambda: folder.path(corrected)).is_file()


@walks(FOLDER, "no images folder at")
def test_images_that_are_elsewhere(refused: Walk, tmp_path: Path):
    again = refused(lambda: ImageFolder(str(tmp_path / "none"), tmp_path), tmp_path / "none", "set AGE_IMAGES")
    (tmp_path / "images").mkdir()
    again(lambda: ImageFolder(str(tmp_path / "images"), tmp_path))


@walks(FOLDER, "check the mount, then run it again")
def test_an_images_folder_that_is_away(refused: Walk, folder: ImageFolder, tmp_path: Path):
    (tmp_path / "images").rename(tmp_path / "away")
    again = refused(folder.require_readable, folder.location, "No such file or directory", "check the mount")
    (tmp_path / "away").rename(tmp_path / "images")
    again()


@walks(FOLDER, "replaced in {} after the snapshot")
def test_an_image_that_is_replaced(refused: Walk, folder: ImageFolder):
    digest = decoding_digest(folder.path("a.png"))
    folder.path("a.png").write_bytes(b"another")
    again = refused(
        lambda: require_unchanged(folder, {"a.png": digest}), "a.png", folder.location, "run snapshot again"
    )
    again(lambda: require_unchanged(folder, {"a.png": decoding_digest(folder.path("a.png"))}))


def decoding_digest(path: Path) -> str:
    return labels_file.content_sha256(path.read_bytes())


@walks(FOLDER, "_sha256: {} in {}: {}")
def test_an_image_that_can_t_be_read_any_more(refused: Walk, folder: ImageFolder, monkeypatch: pytest.MonkeyPatch):
    digest = decoding_digest(folder.path("a.png"))
    with monkeypatch.context() as patch:
        patch.setattr("age_tasks.data.image_folder.file_sha256", denied)
        again = refused(lambda: require_unchanged(folder, {"a.png": digest}), "a.png", "permission denied", "chmod a+r")
    again()


def denied(*_: object) -> Iterator[None]:
    raise PermissionError(errno.EACCES, "Permission denied")


def deep(values: list[list[float]], mode: type) -> Callable[[Path], object]:
    """Saves a greyscale TIFF of these values."""
    return lambda path: Image.fromarray(np.array(values, mode)).save(path, "TIFF")


def half_of_a_jpeg() -> bytes:
    out = io.BytesIO()
    Image.effect_noise((64, 48), 60).save(out, "JPEG")
    return out.getvalue()[: len(out.getvalue()) // 2]


def raw_preview() -> bytes:
    """What comes first in a camera's raw file: a small TIFF that says where the full image is."""
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "TIFF", tiffinfo={254: 1, 330: 8})
    return out.getvalue()


DECODING, BRIGHTNESS = "data/decoding.py", "data/formats/brightness.py"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        pytest.param(lambda path: path.write_bytes(b"<html>"), ["an HTML page", "download the image again"],
                     marks=walks(DECODING, "decoding_errors: {}")),
        pytest.param(lambda path: path.write_bytes(b"\x7fELF"), ["a program", "put the image in its place"],
                     marks=walks(DECODING, "decoding_errors: {}")),
        pytest.param(lambda path: path.write_bytes(GOOD[:40]), ["a text file", "put the image in its place"],
                     marks=walks(DECODING, "decoding_errors: {}")),
        pytest.param(lambda path: path.write_bytes(raw_preview()), ["a raw camera file", "export it as JPEG"],
                     marks=walks(DECODING, "open_image: not an image: {}")),
        pytest.param(lambda path: path.write_bytes(half_of_a_jpeg()), ["truncated or damaged", "copy it again"],
                     marks=walks(DECODING, "decoding_errors: {}")),
        pytest.param(lambda path: None, ["no such file", "check its name"],
                     marks=walks(DECODING, "no such file; check its name")),
        pytest.param(lambda path: path.mkdir(), ["a folder", "put the image in its place"],
                     marks=walks(DECODING, "no file; put the image in its place")),
        pytest.param(deep([[0.1, float("nan")]], np.float32), ["NaN", "save it with 8 bits"],
                     marks=walks(BRIGHTNESS, "are no numbers")),
        pytest.param(deep([[-1, 0.5]], np.float32), ["range from -1 to 0.5", "save it with 8 bits"],
                     marks=walks(BRIGHTNESS, "expected none below 0")),
        pytest.param(deep([[1, 1e9]], np.float32), ["1e+09", "at most 65535", "save it with 8 bits"],
                     marks=walks(BRIGHTNESS, "expected at most 65535")),
    ],
)  # fmt: skip
def test_an_image_that_is_replaced_by_a_good_one(
    refused: Walk, tmp_path: Path, image: Path, make: Callable[[Path], object], says: list[str]
):
    path = tmp_path / "a.tif"
    make(path)
    again = refused(lambda: load_rgb(path, 32), *says)
    if path.is_dir():
        path.rmdir()
    shutil.copy(image, path)
    again()


@pytest.mark.parametrize(
    ("bound", "value", "says"),
    [
        pytest.param("MAX_PIXELS", 64 * 47, ["64 x 48 = 3,072 pixels", "at most 3,008", "scale it down"],
                     marks=walks(DECODING, "open_image: {}")),
        pytest.param("MAX_BYTES", 100, ["MB; at most 0 MB", "scale it down"],
                     marks=[walks(DECODING, "are read: scale it down"), walks(DECODING, "_open_file: {}")]),
    ],
)  # fmt: skip
def test_an_image_that_is_scaled_down(
    refused: Walk, image: Path, monkeypatch: pytest.MonkeyPatch, bound: str, value: int, says: list[str]
):
    monkeypatch.setattr(decoding, bound, value)
    again = refused(lambda: load_rgb(image, 32), *says)
    Image.new("RGB", (8, 6)).save(image)
    again()


@pytest.mark.parametrize(
    ("error", "says"),
    [
        pytest.param(PermissionError(errno.EACCES, "Permission denied"), ["permission denied", "chmod a+r"],
                     marks=walks(DECODING, "let the user that runs the stages read it")),
        pytest.param(OSError(errno.EIO, "Input/output error"), ["Input/output error", "check the disk or the mount"],
                     marks=walks(DECODING, "check the disk or the mount")),
    ],
)  # fmt: skip
def test_an_image_that_can_t_be_read(
    refused: Walk, image: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, says: list[str]
):
    def fails(path: Path, mode: str) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", fails)
        again = refused(lambda: load_rgb(image, 32), *says)
    again()


@walks(DECODING, "not enough memory to decode it")
@walks(DECODING, "load_accepted: {}: {}")
def test_an_image_for_which_memory_is_short(refused: Walk, image: Path, monkeypatch: pytest.MonkeyPatch):
    def fails(*_: object) -> None:
        raise MemoryError

    says = ("not enough memory to decode it", "raise AGE_MEMORY, then run it again")
    with monkeypatch.context() as patch:
        patch.setattr(decoding, "decoded", fails)
        again = refused(lambda: load_accepted(image, 32), image, *says)
    again()


@walks(BRIGHTNESS, "its samples of 16 bits hold fewer")
def test_an_image_whose_low_bytes_are_lost(refused: Walk, tmp_path: Path, image: Path):
    path = tmp_path / "a.png"
    ramp = np.tile(np.linspace(0, 1, 40), (40, 1))
    path.write_bytes(png_of_16_bits(np.stack([ramp * 4095, np.full_like(ramp, 65_535)], axis=2)))
    again = refused(lambda: load_rgb(path, 32), "save it with 8 bits")
    shutil.copy(image, path)
    again()


@walks(DECODING, "run snapshot with --again")
def test_a_copy_of_an_image_in_a_bucket_that_was_damaged(
    refused: Walk, tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
):
    """The cache's copy, which is not read again unless it is asked for."""
    (tmp_path / "bucket").mkdir()
    shutil.copy(image, tmp_path / "bucket" / "a.png")
    monkeypatch.setattr(image_folder, "open_store", lambda location: FileStore(tmp_path / "bucket"))
    folder = ImageFolder("s3://bucket", tmp_path / "cache")
    folder.path("a.png").write_bytes(b"damaged")
    again = refused(lambda: load_accepted(folder.path("a.png"), 32), "put the image", "run snapshot with --again")
    probes, _ = probe_images(folder, ["a.png"], tmp_path / "cache", again=True)
    assert probes["a.png"].state == "ok"
    again()


@walks("data/image_shards.py", "no tar file at {}; name the files")
def test_images_in_tar_files_that_are_elsewhere(refused: Walk, tmp_path: Path):
    location = f"{tmp_path}/*.tar"
    again = refused(lambda: ImageFolder(location, tmp_path / "cache"), location, "(AGE_IMAGES)", "such as")
    (tmp_path / "a.tar").write_bytes(tar_of({"a.png": b"content"}))
    again()


@walks("data/image_shards.py", "is no whole tar file")
def test_images_in_a_tar_file_that_is_cut_off(refused: Walk, tmp_path: Path):
    whole = tar_of({"a.png": b"content"})
    (tmp_path / "a.tar").write_bytes(whole[:700])
    folder = f"{tmp_path}/*.tar"
    again = refused(lambda: ImageFolder(folder, tmp_path / "cache"), tmp_path / "a.tar", "write it anew with `tar -cf`")
    (tmp_path / "a.tar").write_bytes(whole)
    assert again().names() == ["a.png"]


@walks("store/files.py", "it was replaced while it was read")
def test_a_tar_file_of_images_that_is_replaced(refused: Walk, tmp_path: Path):
    (tmp_path / "a.tar").write_bytes(tar_of({"a.png": b"content"}))
    folder = ImageFolder(f"{tmp_path}/*.tar", tmp_path / "cache")
    (tmp_path / "a.tar").write_bytes(tar_of({"other.png": b"other", "a.png": b"other"}))
    folder.fetch_again(["a.png"])
    again = refused(lambda: folder.path("a.png"), tmp_path / "a.tar", "run it again", "`touch`")
    folder = ImageFolder(f"{tmp_path}/*.tar", tmp_path / "cache")
    assert again().read_bytes() == b"other"


SAMPLE = "demo/synthetic_faces.py"


@pytest.mark.parametrize(
    ("arguments", "says", "corrected"),
    [
        pytest.param(["--count", 0], ["--count 0", "at least 1"], ["--count", 1],
                     marks=walks(SAMPLE, "draw at least 1 face")),
        pytest.param(["--count", 1], ["labels.csv exists", "choose another --out"], ["--count", 1],
                     marks=walks(SAMPLE, "{} exists; choose another")),
        pytest.param(["--count", 1], ["has images already", "choose another --out"], ["--count", 1],
                     marks=walks(SAMPLE, "has images already")),
    ],
)  # fmt: skip
def test_a_sample(refused: Walk, tmp_path: Path, arguments: list, says: list[str], corrected: list):
    out = tmp_path / "faces"
    (out / "images").mkdir(parents=True)
    if "labels.csv exists" in says:
        (out / "labels.csv").touch()
    if "has images already" in says:
        (out / "images" / "a.jpg").touch()
    again = refused(command("sample", "--out", out, *arguments), *says)
    again(command("sample", "--out", tmp_path / "other", *corrected))
    shutil.rmtree(out)
    again(command("sample", "--out", out, *corrected))
