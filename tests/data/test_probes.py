import os
import socket
import sqlite3
import sys
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from age_tasks.data import probes
from age_tasks.data.decoding import MAX_BYTES, decoders
from age_tasks.data.image_folder import ImageFolder, require_unchanged
from age_tasks.data.probes import (
    FORMER_INDEX,
    INDEX,
    delete_probes,
    erase_probes,
    open_index,
    probe_file,
    probe_images,
    stored_probes,
)
from age_tasks.demo.synthetic_faces import Sample
from age_tasks.errors import LabelsError, StoreError


@pytest.mark.parametrize(
    ("name", "state", "says"),
    [
        ("f-missing.jpg", "missing", "no such file"),
        ("../secret.jpg", "missing", "leaves the images folder"),
        ("f-empty.jpg", "unreadable", "0 bytes"),
        ("f-truncated.jpg", "unreadable", "truncated"),
        ("f-page.jpg", "unreadable", "HTML page"),
        ("f-bomb.jpg", "unreadable", "90,000,000 pixels; at most 67,108,864"),
    ],
)
def test_an_image_that_cannot_be_used_has_a_state_and_a_problem(
    sample: Sample, tmp_path: Path, name: str, state: str, says: str
):
    found, _ = probe_images(ImageFolder(str(sample.images), tmp_path), [name], tmp_path)
    assert found[name].state == state
    assert says in found[name].problem


def test_a_huge_file_is_not_read(tmp_path: Path):
    with (tmp_path / "a.jpg").open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # no disk is used
    assert probe_file(tmp_path / "a.jpg").problem == "100 MB; at most 100 MB are read: scale it down"


def test_folders_pipes_and_sockets_count_as_missing(tmp_path: Path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")  # whose reader would wait for ever
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(tmp_path / "socket"))
    found, _ = probe_images(ImageFolder(str(tmp_path), tmp_path), ["folder", ".", "pipe", "socket"], tmp_path / "cache")
    assert {probe.state for probe in found.values()} == {"missing"}
    assert {name: probe.problem.rpartition("the name of ")[2] for name, probe in found.items()} == {
        "folder": "a folder", ".": "a folder", "pipe": "a pipe", "socket": "a socket",
    }  # fmt: skip


ERRORS = [
    PermissionError(13, "Permission denied"),
    OSError(5, "Input/output error"),
    OSError(116, "Stale file handle"),
    OSError(6, "No such device or address"),
]


@pytest.mark.parametrize("where", ["stat", "is_file", "open"])
@pytest.mark.parametrize("error", ERRORS, ids=str)
def test_a_file_that_cannot_be_read_is_one_row_with_a_reason(
    error: OSError, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (40, 40)).save(tmp_path / name)
    folder, cache = ImageFolder(str(tmp_path), tmp_path), tmp_path / "cache"
    with monkeypatch.context() as patched:
        works = getattr(Path, where)

        def fail(path: Path, *given: object, **named: object) -> object:
            if path.name == "b.png":
                raise error
            return works(path, *given, **named)

        patched.setattr(Path, where, fail)
        found, _ = probe_images(folder, ["a.png", "b.png"], cache)
    assert found["a.png"].state == "ok"
    if where == "is_file":  # it can be read after all
        assert found["b.png"].state == "ok"
        return
    assert found["b.png"].state == "unreadable"
    assert found["b.png"].problem.startswith("can't be read: ")
    again, read = probe_images(folder, ["a.png", "b.png"], cache)  # without a change of the file
    assert (read, again["b.png"].state) == (1, "ok")


def test_a_folder_that_is_gone_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "images").mkdir()
    Image.new("RGB", (40, 40)).save(tmp_path / "images" / "a.png")
    folder = ImageFolder(str(tmp_path / "images"), tmp_path)

    def fail(*_: object) -> None:
        raise OSError(107, "Transport endpoint is not connected")

    monkeypatch.setattr(Path, "read_bytes", fail)
    monkeypatch.setattr(os, "scandir", fail)
    with pytest.raises(StoreError, match=r"the images folder .*/images can't be read: Transport endpoint"):
        probe_images(folder, ["a.png"], tmp_path / "cache")


def test_a_file_that_vanishes_meanwhile_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    folder = ImageFolder(str(tmp_path), tmp_path)
    stamp = folder.stamp("a.png")
    (tmp_path / "a.png").unlink()
    monkeypatch.setattr(folder, "stamp", lambda name: stamp)
    found, _ = probe_images(folder, ["a.png"], tmp_path / "cache")
    assert found["a.png"].state == "missing"


def swap(path: Path, data: bytes) -> None:
    """Other content of the same size and time, as `exiftool -P` leaves it."""
    found = path.stat()
    assert len(data) == found.st_size
    path.write_bytes(data)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def one_pixel_file(shade: int) -> bytes:
    return b"P5 1 1 255\n" + bytes([shade])


def test_a_file_that_was_replaced_with_the_same_size_and_time_is_read_again(tmp_path: Path):
    (tmp_path / "a.pgm").write_bytes(one_pixel_file(10))
    folder, cache = ImageFolder(str(tmp_path), tmp_path), tmp_path / "cache"
    before, _ = probe_images(folder, ["a.pgm"], cache)
    swap(tmp_path / "a.pgm", one_pixel_file(20))
    after, read = probe_images(folder, ["a.pgm"], cache)
    assert (read, before["a.pgm"].sha256 == after["a.pgm"].sha256) == (1, False)


def test_a_refusal_forgets_and_again_reads_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Also where a file system does not tell that the file was changed."""
    (tmp_path / "a.pgm").write_bytes(one_pixel_file(10))
    folder, cache = ImageFolder(str(tmp_path), tmp_path), tmp_path / "cache"
    monkeypatch.setattr(folder, "stamp", lambda name: "always the same")
    first, _ = probe_images(folder, ["a.pgm"], cache)
    swap(tmp_path / "a.pgm", one_pixel_file(20))
    assert probe_images(folder, ["a.pgm"], cache) == (first, 0)
    second, read = probe_images(folder, ["a.pgm"], cache, again=True)
    assert (read, first["a.pgm"].sha256 == second["a.pgm"].sha256) == (1, False)
    swap(tmp_path / "a.pgm", one_pixel_file(30))
    with pytest.raises(LabelsError, match=r"a\.pgm was replaced"):
        require_unchanged(folder, {"a.pgm": second["a.pgm"].sha256}, partial(delete_probes, cache))
    third, read = probe_images(folder, ["a.pgm"], cache)
    require_unchanged(folder, {"a.pgm": third["a.pgm"].sha256})
    assert read == 1


def test_other_processes_can_write_to_the_index_while_images_are_read(sample: Sample, tmp_path: Path):
    names = ["00000.jpg", "00001.jpg", "00002.jpg"]
    folder = ImageFolder(str(sample.images), tmp_path)

    def write(read: int, of: int) -> None:
        with closing(sqlite3.connect(tmp_path / INDEX, timeout=0)) as other, other:
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


def probed_images(folder: Path, *names: str) -> tuple[ImageFolder, list[str]]:
    """Images of these names, which the index in the same folder knows."""
    for name in names:
        Image.new("RGB", (40, 40)).save(folder / name)
    images = ImageFolder(str(folder), folder)
    probe_images(images, list(names), folder)
    return images, list(names)


def test_files_that_an_earlier_version_could_not_decode_are_read_again(tmp_path: Path):
    folder, names = probed_images(tmp_path, "good.png", "damaged.png")
    with closing(sqlite3.connect(tmp_path / INDEX)) as index, index:
        index.execute("UPDATE probes SET problem = 'does not decode: bad' WHERE name = 'damaged.png'")
        index.execute("PRAGMA user_version = 0")
    found, read = probe_images(folder, names, tmp_path)
    assert (read, found["damaged.png"].state) == (1, "ok")
    assert probe_images(folder, names, tmp_path)[1] == 0


def test_a_file_with_a_problem_is_read_again_when_the_decoders_are_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    Image.new("RGB", (40, 40)).save(tmp_path / "good.png")
    (tmp_path / "photo.heic").write_bytes(b"no image")
    folder, names = ImageFolder(str(tmp_path), tmp_path), ["good.png", "photo.heic"]
    assert probe_images(folder, names, tmp_path)[1] == 2
    assert probe_images(folder, names, tmp_path)[1] == 0
    for other in ("Pillow 99", "Pillow 99, pillow-heif 1"):
        monkeypatch.setattr(probes, "decoders", partial(str, other))
        assert probe_images(folder, names, tmp_path)[1] == 1
        assert probe_images(folder, names, tmp_path)[1] == 0


def test_heic_is_read_after_pillow_heif_was_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    heif = pytest.importorskip("pillow_heif")
    heif.from_pillow(Image.new("RGB", (80, 60))).save(tmp_path / "a.heic")
    folder = ImageFolder(str(tmp_path), tmp_path)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pillow_heif", None)
        patch.setitem(sys.modules, "pillow_heif.as_plugin", None)
        patch.setattr(probes, "decoders", decoders.__wrapped__)
        refused, _ = probe_images(folder, ["a.heic"], tmp_path)
    found, read = probe_images(folder, ["a.heic"], tmp_path)
    assert "install pillow-heif" in refused["a.heic"].problem
    assert (read, found["a.heic"].state) == (1, "ok")


def test_problems_stored_by_earlier_versions_are_read_again_once(tmp_path: Path):
    """These stored the stamp of the file alone, also where memory was short."""
    folder, names = probed_images(tmp_path, "good.png", "refused.png")
    with closing(sqlite3.connect(tmp_path / INDEX)) as index, index:
        index.execute("UPDATE probes SET problem = 'does not decode: MemoryError' WHERE name = 'refused.png'")
    found, read = probe_images(folder, names, tmp_path)
    assert (read, found["refused.png"].state) == (1, "ok")
    assert probe_images(folder, names, tmp_path)[1] == 0


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (MemoryError(), "can't be read: not enough memory to decode it"),
        (OSError("out of memory when reading image file"), "can't be read: not enough memory to decode it"),
        (OSError(116, "Stale file handle"), "can't be read: Stale file handle"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("where", ["read", "decode"])
def test_a_problem_that_was_not_the_file_s_is_not_stored(
    where: str, error: Exception, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    folder, cache = ImageFolder(str(tmp_path), tmp_path), tmp_path / "cache"

    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(*((Path, "read_bytes") if where == "read" else (probes, "decoded")), fail)
        found, _ = probe_images(folder, ["a.png"], cache)
    assert found["a.png"].state == "unreadable"
    assert found["a.png"].problem.startswith(problem)
    assert stored_probes(cache) == []
    assert probe_images(folder, ["a.png"], cache)[0]["a.png"].state == "ok"


def test_what_a_file_seems_to_be_is_not_stored_if_its_first_bytes_cannot_be_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "a.png").write_bytes(b"<html>")
    folder, cache = ImageFolder(str(tmp_path), tmp_path), tmp_path / "cache"

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("age_tasks.data.decoding.Path.open", fail)
        patch.setattr(Path, "read_bytes", lambda path: b"<html>")
        found, _ = probe_images(folder, ["a.png"], cache)
    assert found["a.png"].problem.startswith("can't be read: Input/output error")
    assert stored_probes(cache) == []


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that indexes execute."""
    seen: list[str] = []
    connect = sqlite3.connect

    def traced(*given: object, **named: object) -> sqlite3.Connection:
        index = connect(*given, **named)
        index.set_trace_callback(seen.append)
        return index

    monkeypatch.setattr(sqlite3, "connect", traced)
    return seen


def test_an_index_is_checked_once_in_a_process(tmp_path: Path, statements: list[str]):
    for cache in (tmp_path / "a", tmp_path / "a", tmp_path / "b"):
        open_index(cache).close()
    assert len([each for each in statements if "quick_check" in each]) == 2


def test_only_the_rows_of_the_files_that_are_asked_for_are_read(tmp_path: Path):
    """Also of names outside of ASCII, in the order that SQLite has them."""
    names = sorted(["a.pgm", "z.pgm", "\xe9.pgm", "\uff5e.pgm", "\U0001f600.pgm"])
    for shade, name in enumerate(names):
        (tmp_path / name).write_bytes(one_pixel_file(shade))
    folder, cache = ImageFolder(str(tmp_path), tmp_path), tmp_path / "cache"
    probe_images(folder, names, cache)
    for first in range(len(names)):
        for last in range(first, len(names)):
            asked, made = names[first : last + 1], []
            with closing(open_index(cache)) as index:
                index.row_factory = lambda _, row: made.append(row[0]) or row  # noqa: B023
                found = probes._stored_probes(index, folder.identity, {name: folder.stamp(name) for name in asked})
            assert sorted(found) == sorted(made) == asked


def test_nothing_is_read_where_no_file_is_there(tmp_path: Path, statements: list[str]):
    probe_images(ImageFolder(str(tmp_path), tmp_path), ["a.png"], tmp_path / "cache")
    assert not [each for each in statements if "WHERE folder" in each]


def index_of_version_0_1(folder: ImageFolder, cache: Path, name: str) -> Path:
    """An index as 0.1 left it, with one image; its column `state` is the stamp of the file."""
    with closing(sqlite3.connect(cache / FORMER_INDEX)) as index, index:
        index.execute(
            "CREATE TABLE probes (folder, name, state, sha256, width, height, bytes, problem, dhash,"
            " PRIMARY KEY (folder, name))"
        )
        row = (folder.identity, name, folder.stamp(name), "ab", 40, 41, 99, "", "cd")
        index.execute("INSERT INTO probes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    return cache / FORMER_INDEX


def test_images_that_version_0_1_probed_are_known_and_read_again_for_their_quality(tmp_path: Path):
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    folder = ImageFolder(str(tmp_path), tmp_path)
    former = index_of_version_0_1(folder, tmp_path, "a.png")
    assert stored_probes(tmp_path) == [("a.png", "ab", "")]  # `forget` finds it
    assert not former.exists()
    found, read = probe_images(folder, ["a.png"], tmp_path)
    assert (read, found["a.png"].width, found["a.png"].colour) == (1, 40, "greyscale")
    assert probe_images(folder, ["a.png"], tmp_path)[1] == 0


def test_an_index_of_version_0_1_that_is_in_use_is_taken_over_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    folder = ImageFolder(str(tmp_path), tmp_path)
    former = index_of_version_0_1(folder, tmp_path, "a.png")
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, timeout=0))
    with closing(sqlite3.connect(former, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert probe_images(folder, ["a.png"], tmp_path)[1] == 1
        assert former.exists()
    assert probe_images(folder, ["a.png"], tmp_path)[1] == 0
    assert not former.exists()


def test_a_damaged_index_of_version_0_1_is_removed(tmp_path: Path):
    (tmp_path / FORMER_INDEX).write_bytes(b"no database" * 100)
    assert stored_probes(tmp_path) == []
    assert not (tmp_path / FORMER_INDEX).exists()


def test_erased_probes_leave_nothing_in_the_pages_of_the_file_either(tmp_path: Path):
    """Where a page is split, copies of rows stay behind; whether one does depends on how long the rows are."""
    erased = [f"erased{number:03d}.jpg" for number in range(40)]
    kept = [f"kept{number:03d}.jpg" for number in range(120)]
    for length in range(1, 41):
        cache, rows = tmp_path / str(length), sorted([*erased, *kept], key=lambda name: name[-7:])
        with closing(open_index(cache)) as index, index:
            values = [("f" * length, name, "x" * 30, "5" * 64) for name in rows]
            index.executemany("INSERT INTO probes (folder, name, state, sha256) VALUES (?, ?, ?, ?)", values)
        erase_probes(cache, erased)
        assert b"erased" not in (cache / INDEX).read_bytes()
        assert len(stored_probes(cache)) == len(kept)


def test_erased_probes_leave_nothing_in_the_file(sample: Sample, tmp_path: Path):
    folder = ImageFolder(str(sample.images), tmp_path)
    found, _ = probe_images(folder, ["00000.jpg", "00001.jpg"], tmp_path)
    erase_probes(tmp_path, ["00000.jpg"])
    assert [name for name, _, _ in stored_probes(tmp_path)] == ["00001.jpg"]
    content = (tmp_path / INDEX).read_bytes()
    assert found["00000.jpg"].sha256.encode() not in content
    assert found["00001.jpg"].sha256.encode() in content
