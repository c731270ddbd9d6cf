import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image

from age_tasks.data.decoding import MAX_BYTES
from age_tasks.data.image_folder import ImageFolder
from age_tasks.data.probes import Probe, delete_probes, probe_file, probe_images, stored_probes
from age_tasks.demo.synthetic_faces import Sample


@pytest.mark.parametrize(
    ("name", "state", "says"),
    [
        ("f-missing.jpg", "missing", "no such file"),
        ("../secret.jpg", "missing", "leaves the images folder"),
        ("f-empty.jpg", "unreadable", "0 bytes"),
        ("f-truncated.jpg", "unreadable", "truncated"),
        ("f-page.jpg", "unreadable", "HTML page"),
        ("f-bomb.jpg", "unreadable", "90 million pixels; at most 50"),
    ],
)
def test_an_image_that_cannot_be_used_has_a_state_and_a_problem(
    sample: Sample, tmp_path: Path, name: str, state: str, says: str
):
    probes, _ = probe_images(ImageFolder(str(sample.images), tmp_path), [name], tmp_path)
    assert probes[name].state == state
    assert says in probes[name].problem


def test_a_huge_file_is_not_read(tmp_path: Path):
    with (tmp_path / "a.jpg").open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # no disk is used
    assert probe_file(tmp_path / "a.jpg").problem == "100 MB; at most 100 MB are read"


def test_folders_and_pipes_count_as_missing(tmp_path: Path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")  # whose reader would wait for ever
    probes, _ = probe_images(ImageFolder(str(tmp_path), tmp_path), ["folder", ".", "pipe"], tmp_path / "cache")
    assert set(probes.values()) == {Probe("missing", problem=f"no such file in the images folder {tmp_path}")}


def test_other_processes_can_write_to_the_index_while_images_are_read(sample: Sample, tmp_path: Path):
    names = ["00000.jpg", "00001.jpg", "00002.jpg"]
    folder = ImageFolder(str(sample.images), tmp_path)

    def write(read: int, of: int) -> None:
        with closing(sqlite3.connect(tmp_path / "probes-2.sqlite", timeout=0)) as other, other:
            other.execute("INSERT INTO probes (folder, name) VALUES ('elsewhere', ?)", (str(read),))

    assert probe_images(folder, names, tmp_path, write)[1] == 3
    assert probe_images(folder, names, tmp_path)[1] == 0


def test_unchanged_files_are_not_read_again(sample: Sample, tmp_path: Path):
    names = ["00000.jpg", "00001.jpg", "f-empty.jpg", "f-missing.jpg"]
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


def test_probes_that_version_0_1_stored_are_used(tmp_path: Path):
    """Its index has no state of the image; the column `state` is the stamp of the file."""
    for name in ("good.png", "damaged.png"):
        Image.new("RGB", (40, 40)).save(tmp_path / name)
    folder = ImageFolder(str(tmp_path), tmp_path)
    with closing(sqlite3.connect(tmp_path / "probes-2.sqlite")) as index, index:
        index.execute(
            "CREATE TABLE probes (folder, name, state, sha256, width, height, bytes, problem, dhash,"
            " PRIMARY KEY (folder, name))"
        )
        for name, problem in (("good.png", ""), ("damaged.png", "does not decode: bad")):
            row = (str(tmp_path), name, folder.stamp(name), "ab", 40, 41, 99, problem, "cd")
            index.execute("INSERT INTO probes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    probes, read = probe_images(folder, ["good.png", "damaged.png"], tmp_path)
    assert read == 0
    assert probes["good.png"] == Probe("ok", "ab", 40, 41, 99, "", "cd")
    assert probes["damaged.png"] == Probe("unreadable", "ab", 40, 41, 99, "does not decode: bad", "cd")


def test_deleted_probes_leave_nothing_in_the_file(sample: Sample, tmp_path: Path):
    folder = ImageFolder(str(sample.images), tmp_path)
    probes, _ = probe_images(folder, ["00000.jpg", "00001.jpg"], tmp_path)
    delete_probes(tmp_path, ["00000.jpg"])
    assert [name for name, _, _ in stored_probes(tmp_path)] == ["00001.jpg"]
    content = (tmp_path / "probes-2.sqlite").read_bytes()
    assert probes["00000.jpg"].sha256.encode() not in content
    assert probes["00001.jpg"].sha256.encode() in content
