"""A full disk: a small file system in memory, filled to its last block by each library that writes in this project."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from age_tasks.errors import DiskFullError, SettingsError
from age_tasks.store.disk import free_bytes, full_disk_named
from age_tasks.store.files import FileStore
from tests.support.small_disk import NotPossibleHere, small_disk


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    try:
        with small_disk(tmp_path / "disk", megabytes=1) as disk:
            yield disk
    except NotPossibleHere as error:
        pytest.skip(str(error))


def database(folder: Path) -> None:
    with sqlite3.connect(folder / "index.sqlite") as index:
        index.execute("CREATE TABLE t (x)")
        index.executemany("INSERT INTO t VALUES (?)", [("x" * 1000,)] * 3000)
    index.close()


def hdf5(folder: Path) -> None:
    with h5py.File(folder / "weights.h5", "w") as file:
        file["w"] = np.zeros(1_000_000)


WRITERS = {
    "text": lambda folder: (folder / "a.txt").write_text("x" * 3_000_000),
    "bytes": lambda folder: (folder / "a").write_bytes(bytes(3_000_000)),
    "a table": lambda folder: pd.DataFrame({"x": range(1_000_000)}).to_csv(folder / "a.csv"),
    "an array": lambda folder: np.save(folder / "a.npy", np.zeros(1_000_000)),
    "an image": lambda folder: Image.effect_noise((1500, 1500), 90).save(folder / "a.png"),
    "a database": database,
    "weights": hdf5,
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_full_disk_is_named_for_every_library(write: Callable[[Path], object], full: Path, tmp_path: Path):
    message = rf"disk of {full}: .* MB are free; free space there or .*\(AGE_CACHE\)"
    with pytest.raises(DiskFullError, match=message), full_disk_named({"TMPDIR": tmp_path, "AGE_CACHE": full}):
        write(full)


def test_a_store_names_the_bytes_needed_and_keeps_its_objects(full: Path):
    store = FileStore(full / "store")
    store.put("a", b"old")
    with pytest.raises(DiskFullError, match=r"/disk/store: 3\.0 MB are needed, [01]\.\d MB are free; .*\(AGE_STORE\)"):
        store.put("a", bytes(3_000_000))
    assert store.get("a") == b"old"
    assert store.list() == ["a"]
    assert free_bytes(full) > 900_000  # the part that was written is gone


def test_other_errors_are_unchanged(tmp_path: Path):
    for error in (ValueError("line 3"), FileNotFoundError(2, "gone"), SettingsError("no")):
        with pytest.raises(type(error)), full_disk_named({"TMPDIR": tmp_path}):
            raise error
