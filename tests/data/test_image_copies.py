import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from age_tasks.data import image_copies, image_folder
from age_tasks.data.image_copies import IN_USE_SECONDS, ImageCopies, copies_folder, unused_copies
from age_tasks.data.image_folder import ImageFolder, require_unchanged
from age_tasks.errors import SettingsError
from age_tasks.store.base import atomic_write, file_sha256
from age_tasks.store.files import FileStore

SIZE = 1_000
DAY = 86_400


class Source:
    """Makes copies of `SIZE` bytes, and counts them."""

    def __init__(self) -> None:
        self.fetched: list[str] = []

    def copy(self, copies: ImageCopies, name: str, used_ago: float = 0) -> Path:
        def fetch(to: Path) -> None:
            self.fetched.append(name)
            with atomic_write(to) as temporary:
                temporary.write_bytes(name.encode() * (SIZE // len(name)))

        path = copies.get(name, "tag", fetch)
        if used_ago:
            os.utime(path, (0, time.time() - used_ago))
        return path


def held(cache: Path) -> int:
    return sum(path.stat().st_size for path in copies_folder(cache).rglob("*") if path.is_file())


def test_a_copy_is_made_once(tmp_path: Path):
    source, copies = Source(), ImageCopies(tmp_path, "s3://bucket/faces", 10 * SIZE)
    assert source.copy(copies, "a").read_bytes() == b"a" * SIZE
    assert source.copy(ImageCopies(tmp_path, "s3://bucket/faces", SIZE), "a").exists()
    assert source.fetched == ["a"]


def test_the_least_recently_used_copies_go(tmp_path: Path):
    source, copies = Source(), ImageCopies(tmp_path, "s3://bucket/faces", 20 * SIZE)
    for number in range(60):
        source.copy(copies, f"{number:02d}", used_ago=DAY - number)
        source.copy(copies, "00", used_ago=DAY - number - 0.5)  # the one that is used all the time
        assert held(tmp_path) <= 20 * SIZE
    assert source.fetched.count("00") == 1
    assert all(copies.path(f"{number:02d}", "tag").exists() for number in (0, *range(44, 60)))


def test_what_may_be_read_at_this_moment_stays(tmp_path: Path):
    source, copies = Source(), ImageCopies(tmp_path, "s3://bucket/faces", 5 * SIZE)
    paths = [source.copy(copies, f"{number:02d}") for number in range(30)]
    assert all(path.exists() for path in paths)
    for path in paths:
        os.utime(path, (0, time.time() - IN_USE_SECONDS - 1))
    read = source.copy(copies, "00")  # marks it
    source.copy(copies, "new")
    assert read.exists()
    assert held(tmp_path) <= 5 * SIZE


def test_the_bound_is_that_of_all_sources_together(tmp_path: Path):
    source = Source()
    for bucket in "abcd":
        copies = ImageCopies(tmp_path, f"s3://{bucket}", 10 * SIZE)
        for number in range(8):
            source.copy(copies, f"{number:02d}", used_ago=DAY)
    assert held(tmp_path) <= 10 * SIZE


def test_a_copy_that_another_stage_removes_is_never_missing_to_its_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(image_copies, "IN_USE_SECONDS", 0.5)
    source, stages = Source(), [ImageCopies(tmp_path, "s3://bucket", 4 * SIZE) for _ in range(4)]

    def read_all(copies: ImageCopies) -> None:
        for turn in range(6):
            for number in range(20):
                assert source.copy(copies, f"{number:02d}").read_bytes() == f"{number:02d}".encode() * (SIZE // 2)
            time.sleep(0.1 * turn)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read_all, stages))


def test_a_copy_of_another_user_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source, copies = Source(), ImageCopies(tmp_path, "s3://bucket/faces", 10 * SIZE)
    source.copy(copies, "a", used_ago=DAY)

    def fail(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "utime", fail)
    assert copies.get("a", "tag", fail).exists()


def test_copies_that_nobody_uses_are_found(tmp_path: Path):
    source, copies = Source(), ImageCopies(tmp_path, "s3://bucket/faces", 10 * SIZE)
    old, _ = source.copy(copies, "old", used_ago=31 * DAY), source.copy(copies, "new")
    assert unused_copies(tmp_path, 30 * DAY) == {old: 999}
    assert unused_copies(tmp_path / "none", 30 * DAY) == {}


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A bucket of 40 images, of which a 20th fits the bound; the sha256 of each."""
    for number in range(40):
        FileStore(tmp_path / "bucket").put(f"{number:02d}.jpg", f"{number:02d}".encode() * 500)
    monkeypatch.setattr(image_folder, "open_store", lambda location: FileStore(tmp_path / "bucket"))
    monkeypatch.setenv("AGE_IMAGE_COPIES_GB", str(2 * SIZE / 1e9))
    return {path.name: file_sha256(path) for path in (tmp_path / "bucket").iterdir()}


def test_images_that_had_to_go_are_fetched_again(
    bucket: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(image_copies, "IN_USE_SECONDS", -1)  # nobody reads meanwhile
    folder = ImageFolder("s3://bucket/faces", tmp_path / "cache")
    for _ in range(2):
        assert {name: file_sha256(folder.path(name)) for name in folder.names()} == bucket
        assert held(tmp_path / "cache") <= 2 * SIZE


def test_the_sha256_of_images_is_checked_beyond_the_bound(bucket: dict[str, str], tmp_path: Path):
    require_unchanged(ImageFolder("s3://bucket/faces", tmp_path / "cache"), bucket)


def test_a_bound_that_is_no_number_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket: dict[str, str]):
    monkeypatch.setenv("AGE_IMAGE_COPIES_GB", "lots")
    with pytest.raises(SettingsError, match=r"AGE_IMAGE_COPIES_GB='lots' is invalid: expected a number of gigabytes"):
        ImageFolder("s3://bucket/faces", tmp_path / "cache")
