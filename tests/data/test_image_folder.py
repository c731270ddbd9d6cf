import os
import sqlite3
import tracemalloc
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from age_tasks.data.decoding import FORMATS, MAX_BYTES, load_or_problem, load_rgb
from age_tasks.data.image_folder import ImageFolder, name_problem
from age_tasks.data.probes import probe_file, probe_images
from age_tasks.demo.synthetic_faces import Sample
from age_tasks.errors import LabelsError
from age_tasks.store import open_store
from age_tasks.store.s3 import S3Store
from tests.support.hostile import png_with_exploding_text


@pytest.mark.parametrize("name", ["../x.jpg", "/etc/x.jpg", "a/../../x.jpg", "a\\x.jpg", "C:x.jpg", "a\n.jpg", ""])
def test_names_that_are_not_plain_have_a_problem(name: str):
    assert name_problem(name)


def test_names_in_sub_folders_are_fine():
    assert not name_problem("2026/a face.jpg")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("f-missing.jpg", "no such file"),
        ("f-empty.jpg", "0 bytes"),
        ("f-truncated.jpg", "truncated"),
        ("f-page.jpg", "HTML page"),
        ("f-bomb.jpg", "90 million pixels; at most 50"),
        ("../secret.jpg", "leaves the images folder"),
    ],
)
def test_what_is_wrong_with_a_picture_is_said(sample: Sample, tmp_path: Path, name: str, says: str):
    probes, _ = probe_images(ImageFolder(str(sample.images), tmp_path), [name], tmp_path)
    assert says in probes[name].problem


@pytest.mark.parametrize("kind", ["zTXt", "iTXt", "iCCP"])
def test_text_that_explodes_is_refused_before_it_does(kind: str, tmp_path: Path):
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png_with_exploding_text(kind, megabytes=50))
    assert bomb.stat().st_size < 60_000
    tracemalloc.start()
    problems = [probe_file(bomb).problem, load_or_problem(bomb, 32)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert all("Decompressed data too large" in problem for problem in problems)
    assert peak < 30e6


def test_a_huge_file_is_not_read(tmp_path: Path):
    with (tmp_path / "a.jpg").open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # no disk is used
    assert probe_file(tmp_path / "a.jpg").problem == "100 MB; a picture may have 100"


def test_only_pictures_as_people_keep_them_are_decoded(tmp_path: Path):
    """Pillow has decoders for much more: EPS files, say, it hands to Ghostscript."""
    for kind in FORMATS:
        Image.new("RGB", (40, 40), (200, 30, 30)).save(tmp_path / kind, kind)
        assert probe_file(tmp_path / kind).problem == ""
    Image.new("RGB", (40, 40)).save(tmp_path / "a.jpg", "EPS")
    assert "not an image" in probe_file(tmp_path / "a.jpg").problem
    assert "not an image" in load_or_problem(tmp_path / "a.jpg", 32)


def test_what_is_no_file_is_no_picture(tmp_path: Path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")  # whose reader would wait for ever
    probes, _ = probe_images(ImageFolder(str(tmp_path), tmp_path), ["folder", ".", "pipe"], tmp_path / "cache")
    assert {probe.problem for probe in probes.values()} == {"no such file in the images folder"}


@pytest.mark.parametrize("name", ["g-png.jpg", "g-grey.jpg", "g-cmyk.jpg", "g-16bit.jpg", "g-exif.jpg"])
def test_odd_pictures_are_good_and_come_out_as_rgb(sample: Sample, tmp_path: Path, name: str):
    folder = ImageFolder(str(sample.images), tmp_path)
    probes, _ = probe_images(folder, [name], tmp_path)
    pixels = load_rgb(folder.path(name), 64)
    assert (probes[name].problem, probes[name].width, probes[name].height) == ("", 200, 200)
    assert (pixels.shape, pixels.dtype) == ((64, 64, 3), np.uint8)
    assert 40 < pixels.mean() < 230


def test_a_picture_turned_by_exif_is_put_upright(tmp_path: Path):
    upright = np.zeros((40, 20, 3), np.uint8)
    upright[:20] = 255  # light above, dark below
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(upright).rotate(90, expand=True).save(tmp_path / "a.png", exif=exif)
    pixels = load_rgb(tmp_path / "a.png", 32)
    assert pixels[:8].mean() > 240
    assert pixels[-8:].mean() < 15


def test_others_write_to_the_index_while_pictures_are_read(sample: Sample, tmp_path: Path):
    names = ["00000.jpg", "00001.jpg", "00002.jpg"]
    folder = ImageFolder(str(sample.images), tmp_path)

    def write(read: int, of: int) -> None:
        with closing(sqlite3.connect(tmp_path / "probes-2.sqlite", timeout=0)) as other, other:
            other.execute("INSERT INTO probes (folder, name) VALUES ('elsewhere', ?)", (str(read),))

    assert probe_images(folder, names, tmp_path, write)[1] == 3
    assert probe_images(folder, names, tmp_path)[1] == 0


def test_unchanged_files_are_not_read_again(sample: Sample, tmp_path: Path):
    names = ["00000.jpg", "00001.jpg", "f-empty.jpg"]
    folder = ImageFolder(str(sample.images), tmp_path)
    first, read = probe_images(folder, names, tmp_path)
    again, read_again = probe_images(folder, names, tmp_path)
    assert (read, read_again) == (3, 0)
    assert first == again


def test_a_changed_file_is_read_again(tmp_path: Path):
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    folder, cache = ImageFolder(str(tmp_path), tmp_path), tmp_path / "cache"
    before, _ = probe_images(folder, ["a.png"], cache)
    Image.new("RGB", (50, 40)).save(tmp_path / "a.png")
    after, read = probe_images(folder, ["a.png"], cache)
    assert (read, before["a.png"].width, after["a.png"].width) == (1, 40, 50)


def test_no_folder_is_an_error_that_names_it(tmp_path: Path):
    with pytest.raises(LabelsError, match="nowhere"):
        ImageFolder(str(tmp_path / "nowhere"), tmp_path)


def test_images_on_s3_are_fetched_once(s3, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    open_store("s3://age/faces").put("00000.jpg", sample.images / "00000.jpg")
    fetched = []
    fetch = S3Store.fetch
    monkeypatch.setattr(S3Store, "fetch", lambda self, key, to: fetched.append(key) or fetch(self, key, to))
    for _ in range(2):
        folder = ImageFolder("s3://age/faces", tmp_path)
        assert folder.path("00000.jpg").read_bytes() == (sample.images / "00000.jpg").read_bytes()
    assert fetched == ["00000.jpg"]
    assert folder.state("gone.jpg") is None
