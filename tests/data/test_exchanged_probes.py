"""Probes exchanged between the caches of several machines."""

import json
import logging
import sqlite3
from pathlib import Path

import pytest
from PIL import Image

from age_tasks.data import exchanged_probes
from age_tasks.data.exchanged_probes import (
    PROBES,
    erase_rows,
    probe_and_exchange,
    sent_files,
    sent_probes,
)
from age_tasks.data.image_folder import ImageFolder
from age_tasks.data.probes import probe_images, stored_probes
from age_tasks.errors import StoreError
from age_tasks.store.base import Store
from age_tasks.store.files import FileStore

OTHER = {"columns": ["name", "sha256", "problem"], "rows": [["0.png", "", ""]]}
NO_ROW = json.dumps(OTHER | {"rows": [["0.png"]]}).encode()
NAMES = [f"{number}.png" for number in range(20)]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of twenty images, and a file that is none."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        Image.new("RGB", (40, 40), (number, 0, 0)).save(folder / name)
    (folder / "broken.png").write_bytes(b"no image")
    return folder


def read(images: Path, cache: Path, remote: Store | None, *names: str, again: bool = False) -> int:
    """Probe the images with a machine's own cache; returns how many files it read."""
    folder = ImageFolder(str(images), cache)
    probes, count = probe_and_exchange(folder, names, cache, remote, lambda *_: None, again)
    assert probes == probe_images(folder, names, cache.with_name("alone"))[0]
    return count


def test_a_file_is_read_by_one_machine_only(images: Path, store: Store, tmp_path: Path):
    assert read(images, tmp_path / "a", store, *NAMES[:12]) == 12
    assert read(images, tmp_path / "b", store, *NAMES[8:], "missing.png") == 8
    assert read(images, tmp_path / "c", store, *NAMES) == 0
    assert read(images, tmp_path / "a", store, *NAMES) == 0
    assert set(stored_probes(tmp_path / "c")) == set(stored_probes(tmp_path / "a"))
    assert len([*sent_files(store)]) == 20  # and nobody has sent what others had read


def test_a_file_with_a_problem_is_read_by_each_machine(images: Path, tmp_path: Path):
    """One of them may have a decoder that the others lack."""
    remote = FileStore(tmp_path / "remote")
    assert read(images, tmp_path / "a", remote, "0.png", "broken.png") == 2
    assert [name for name, _, _ in sent_files(remote)] == ["0.png"]
    assert read(images, tmp_path / "b", remote, "0.png", "broken.png") == 1
    assert read(images, tmp_path / "b", remote, "0.png", "broken.png") == 0


def test_a_problem_that_an_earlier_version_sent_is_not_taken(images: Path, tmp_path: Path):
    remote = FileStore(tmp_path / "remote")
    read(images, tmp_path / "a", remote, "0.png", "1.png")
    ((key, found),) = sent_probes(remote)
    found["rows"][0][found["columns"].index("problem")] = "does not decode: MemoryError"
    remote.put(key, json.dumps(found).encode())
    assert read(images, tmp_path / "b", remote, "0.png", "1.png") == 1


def test_without_a_store_the_index_is_this_machine_s_own(images: Path, tmp_path: Path):
    assert read(images, tmp_path / "a", None, *NAMES) == 20
    assert read(images, tmp_path / "b", None, *NAMES) == 20


def test_the_newest_row_of_a_file_counts(images: Path, tmp_path: Path):
    remote = FileStore(tmp_path / "remote")
    read(images, tmp_path / "a", remote, "0.png")
    Image.new("RGB", (50, 50)).save(images / "0.png")
    assert read(images, tmp_path / "b", remote, "0.png") == 1
    assert read(images, tmp_path / "c", remote, "0.png") == 0
    assert read(images, tmp_path / "c", remote, "0.png", again=True) == 1


def test_a_machine_that_was_killed_has_sent_all_but_its_last_files(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(exchanged_probes, "BATCH", 5)
    remote, told = FileStore(tmp_path / "remote"), []

    def progress(done: int, total: int) -> None:
        told.append((done, total))
        if done == 13:
            raise KeyboardInterrupt

    folder = ImageFolder(str(images), tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        probe_and_exchange(folder, NAMES, tmp_path / "a", remote, progress)
    assert told == [(number, 20) for number in range(1, 14)]
    assert read(images, tmp_path / "b", remote, *NAMES) == 10


def test_known_rows_are_read_once_however_many_batches_there_are(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    read(images, tmp_path / "a", FileStore(tmp_path / "remote"), *NAMES)
    monkeypatch.setattr(exchanged_probes, "BATCH", 2)
    connect, rows = sqlite3.connect, list[tuple[object, ...]]()

    def counted(*given: object, **named: object) -> sqlite3.Connection:
        index = connect(*given, **named)
        index.row_factory = lambda _, row: rows.append(row) or row
        return index

    monkeypatch.setattr(sqlite3, "connect", counted)
    folder, remote = ImageFolder(str(images), tmp_path / "a"), FileStore(tmp_path / "remote")
    probe_and_exchange(folder, NAMES, tmp_path / "a", remote, lambda *_: None)
    assert sorted(row[0] for row in rows if str(row[0]).endswith(".png")) == sorted(NAMES)


def test_what_could_not_be_sent_is_sent_next_time(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    remote = FileStore(tmp_path / "remote")
    read(images, tmp_path / "a", remote, "0.png")

    def away(*_: object) -> None:
        raise StoreError("away")

    with monkeypatch.context() as patch:
        patch.setattr(FileStore, "put", away)
        with pytest.raises(StoreError):
            read(images, tmp_path / "a", remote, *NAMES)
    assert read(images, tmp_path / "a", remote, *NAMES) == 0
    assert read(images, tmp_path / "b", remote, *NAMES) == 0


def test_what_an_index_held_before_its_first_exchange_stays_on_its_machine(images: Path, tmp_path: Path):
    remote = FileStore(tmp_path / "remote")
    read(images, tmp_path / "a", None, *NAMES[:5])
    read(images, tmp_path / "a", remote, *NAMES)
    assert len([*sent_files(remote)]) == 15


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"columns": ["a"], "rows": [[1]]}', b'{"columns": 3}', NO_ROW])
def test_an_object_that_holds_no_probes_is_passed_over(
    images: Path, tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
):
    remote = FileStore(tmp_path / "remote")
    read(images, tmp_path / "a", remote, *NAMES)
    remote.put(f"{exchanged_probes.VERSION}x.json", content)
    with caplog.at_level(logging.WARNING):
        assert read(images, tmp_path / "b", remote, *NAMES) == 0
    assert "holds no probes: passed over" in caplog.text


def test_rows_with_other_columns_are_not_taken(images: Path, tmp_path: Path):
    remote = FileStore(tmp_path / "remote")
    remote.put(f"{exchanged_probes.VERSION}x.json", json.dumps(OTHER).encode())
    assert read(images, tmp_path / "a", remote, *NAMES) == 20


def test_an_erased_image_is_in_no_object(images: Path, store: Store, tmp_path: Path):
    read(images, tmp_path / "a", store, "0.png")
    read(images, tmp_path / "a", store, *NAMES)
    for key, found in [*sent_probes(store)]:
        erase_rows(store, key, found, {"0.png", "1.png"})
    assert {name for name, _, _ in sent_files(store)} == set(NAMES) - {"0.png", "1.png"}
    assert len(store.list(PROBES)) == 1
    assert read(images, tmp_path / "b", store, *NAMES) == 2
