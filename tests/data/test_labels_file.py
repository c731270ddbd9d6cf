import os
import threading
import time
from pathlib import Path

import pytest

from age_tasks.cli.app import main
from age_tasks.data import labels_file
from age_tasks.data.labels_file import content_sha256, fetch_labels, last_snapshot, record_snapshot
from age_tasks.errors import LabelsError, SettingsError, StoreError
from age_tasks.store import open_store
from age_tasks.store.base import Store


def test_labels_are_read_from_a_path_a_file_url_and_a_bucket(store: Store):
    store.put("faces/labels.csv", b"file_name,real_age\n")
    assert fetch_labels(store.where("faces/labels.csv")) == b"file_name,real_age\n"
    assert fetch_labels(f"{store.url}/faces/labels.csv") == b"file_name,real_age\n"


def test_a_missing_file_is_an_error_that_names_the_variable(store: Store):
    with pytest.raises(LabelsError, match="AGE_LABELS"):
        fetch_labels(store.where("labels.csv"))


def test_reading_waits_while_the_file_is_being_written(tmp_path: Path):
    labels = tmp_path / "labels.csv"
    begun = threading.Event()

    def write() -> None:
        with labels.open("w") as file:
            for line in ("file_name,real_age\n", "a.jpg,30\n", "b.jpg,40\n"):
                file.write(line)
                file.flush()
                begun.set()
                time.sleep(0.05)

    writer = threading.Thread(target=write)
    writer.start()
    begun.wait()
    assert fetch_labels(str(labels)) == b"file_name,real_age\na.jpg,30\nb.jpg,40\n"
    writer.join()


def test_a_file_that_keeps_changing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(labels_file, "TRIES", 2)
    monkeypatch.setattr(labels_file, "SETTLE_SECONDS", 60)
    monkeypatch.setattr(labels_file.time, "sleep", lambda seconds: None)
    (tmp_path / "labels.csv").write_text("file_name,real_age\n")
    with pytest.raises(StoreError, match=r"labels\.csv has changed every 60 seconds for 120 seconds"):
        fetch_labels(str(tmp_path / "labels.csv"))


def test_an_unsupported_address_is_refused():
    with pytest.raises(SettingsError, match="is not a supported address"):
        fetch_labels("ftp://faces/labels.csv")


def test_reading_waits_while_the_file_is_empty(tmp_path: Path, monkeypatch):
    labels, waits = tmp_path / "labels.csv", []
    labels.write_bytes(b"")
    os.utime(labels, (0, 0))

    def write_after_three_waits(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            labels.write_bytes(b"file_name,real_age\n")
            os.utime(labels, (0, 0))

    monkeypatch.setattr(labels_file.time, "sleep", write_after_three_waits)
    assert fetch_labels(str(labels)) == b"file_name,real_age\n"


def test_the_store_records_the_last_snapshot_of_each_labels_file(store: Store, tmp_path: Path):
    labels, others = str(tmp_path / "my labels.csv"), "s3://faces/labels.csv"
    assert last_snapshot(store, labels) is None
    for data in (b"one", b"two"):
        record_snapshot(store, labels, data, "monday")
    record_snapshot(store, others, b"three", "tuesday")
    assert last_snapshot(store, labels) == content_sha256(b"two")
    assert last_snapshot(store, (tmp_path / "my labels.csv").as_uri()) == content_sha256(b"two")
    assert last_snapshot(store, others) == content_sha256(b"three")


def test_an_invalid_labels_file_is_recorded_as_taken(place: Path, monkeypatch: pytest.MonkeyPatch):
    labels = place / "labels.csv"
    labels.write_text("name;age\na.jpg;30\n")
    monkeypatch.setenv("AGE_LABELS", str(labels))
    assert main(["snapshot", "--run", "x", "--recipe", "demo"]) == 65
    assert last_snapshot(open_store(os.environ["AGE_STORE"]), str(labels)) == content_sha256(labels.read_bytes())
