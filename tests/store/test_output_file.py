"""The file that a command is to write at the end."""

from pathlib import Path

import pytest

from age_tasks.errors import AgeTasksError, SettingsError, StoreError, StoreRefusedError
from age_tasks.store import s3 as s3_store
from age_tasks.store.base import Store
from age_tasks.store.output_file import output_file
from tests.support.answering_server import Answer, answering_s3


def test_a_file_can_be_written_where_it_was_checked(store: Store):
    for name in ("ages.csv", "new/folder/a b.csv"):
        found, key = output_file(f"{store.url}/{name}".replace(" ", "%20" if store.url.startswith("file:") else " "))
        assert store.list() == []
        found.put(key, b"age")
        assert store.get(name) == b"age"
        output_file(f"{store.url}/ages.csv")  # which may be there already
        store.delete(name)


def test_a_relative_path_and_a_file_beside_it_are_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for out in ("ages.csv", "new/ages.csv", "file:///" + str(tmp_path / "other.csv").lstrip("/")):
        store, key = output_file(out)
        assert list(tmp_path.iterdir()) == []
        assert Path(store.where(key)).parent in {tmp_path, tmp_path / "new"}


@pytest.mark.parametrize(
    ("out", "says"),
    [
        ("results/", "'results/' names no file to write"),
        ("s3://bucket", "'s3://bucket' names no file to write"),
        ("s3://bucket/", "'s3://bucket/' names no file to write"),
        ("ftp://host/ages.csv", "not a supported address"),
        ("folder", "/folder is a folder, no file to write"),
        ("file/ages.csv", "/file: Not a directory"),
        ("file/below/ages.csv", "/file: Not a directory"),
        ("/proc/ages.csv", "nothing can be written to /proc"),
        ("a" * 300 + ".csv", "File name too long"),
    ],
)
def test_what_can_t_be_written_is_refused(out: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(AgeTasksError, match=says) as refused:
        output_file(out)
    assert isinstance(refused.value, SettingsError | StoreError)


def test_a_bucket_that_is_missing_or_out_of_reach_is_refused(s3: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(StoreRefusedError, match="no bucket 'nowhere'"):
        output_file("s3://nowhere/ages.csv")
    monkeypatch.setattr(s3_store, "PAUSE_SECONDS", 0.0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(StoreError, match="AWS_ENDPOINT_URL"):
        output_file("s3://age/ages.csv")


def test_keys_that_may_write_and_neither_read_nor_list_are_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with answering_s3(monkeypatch, tmp_path / "home") as server:
        server.plan = lambda request: None if request.method == "PUT" else Answer(403)
        store, key = output_file("s3://drop/ages.csv")
        store.put(key, b"age")
        assert server.asked[-1].method == "PUT"
