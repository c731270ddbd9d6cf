"""How far a stage is, in the store while it is being executed."""

import time
from pathlib import Path

import pytest

from age_tasks.errors import StoreError
from age_tasks.progress import Progress, tell_epochs
from age_tasks.runs.keys import live_file_of_share
from age_tasks.runs.live_status import live_status, shared_status, shared_status_of_share, statuses_of_shares
from age_tasks.store.files import FileStore
from tests.support.waiting import wait_until

EVERY = 0.05  # seconds


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


def test_the_status_is_in_the_store_while_the_stage_works_and_gone_afterwards(store: FileStore):
    with shared_status(store, "monday", "baseline", EVERY):
        Progress("images", every_seconds=0)(5, 20)
        wait_until(lambda: live_status(store, "monday", "baseline"))
        tell_epochs([{"epoch": 1, "mae": float("nan"), "val_mae": 9.5}], 20)
        wait_until(lambda: (found := live_status(store, "monday", "baseline")) and found.epochs)
        found = live_status(store, "monday", "baseline")
        assert (found.what, found.done, found.total) == ("images", 5, 20)
        assert found.epochs == [{"epoch": 1, "mae": None, "val_mae": 9.5}]
    assert store.list() == []
    assert live_status(store, "monday", "baseline") is None


def test_each_share_has_a_status_of_its_own(store: FileStore):
    with (
        shared_status_of_share(store, "monday", "features", 1, 4, EVERY),
        shared_status_of_share(store, "monday", "features", 3, 4, EVERY),
    ):
        Progress("images", every_seconds=0)(5, 20)
        wait_until(lambda: len(statuses_of_shares(store, "monday", "features")) == 2)
        found = statuses_of_shares(store, "monday", "features")
        assert {share: status.done for share, status in found.items()} == {(1, 4): 5, (3, 4): 5}
    assert store.list() == []


def test_what_a_killed_share_has_left_goes_with_the_next_attempt(store: FileStore):
    for share in ((1, 4), (2, 4), (2, 3)):
        store.put(live_file_of_share("monday", "features", *share), b"{}")
    store.put("runs/monday/features/other.json", b"{}")
    with shared_status_of_share(store, "monday", "features", 2, 4, EVERY):
        wait_until(lambda: len(store.list()) == 2)
    left = [live_file_of_share("monday", "features", 1, 4), "runs/monday/features/other.json"]
    assert store.list() == left
    assert statuses_of_shares(store, "monday", "features") == {}  # a damaged one says nothing


def test_a_short_stage_writes_nothing(store: FileStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store, "put", lambda *_: pytest.fail("written"))
    monkeypatch.setattr(store, "delete", lambda *_: pytest.fail("removed"))
    with shared_status(store, "monday", "split"):
        Progress("images", every_seconds=0)(5, 20)


def test_it_is_written_only_when_it_has_changed(store: FileStore, monkeypatch: pytest.MonkeyPatch):
    puts: list[str] = []
    monkeypatch.setattr(store, "put", lambda key, _: puts.append(key))
    with shared_status(store, "monday", "baseline", EVERY):
        Progress("images", every_seconds=0)(5, 20)
        time.sleep(10 * EVERY)
    assert puts == ["runs/monday/baseline/live.json"]


@pytest.mark.parametrize("error", [StoreError("away"), OSError("full")])
def test_a_store_that_can_not_be_written_stops_no_stage(
    store: FileStore, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(store, "put", refuse)
    with shared_status(store, "monday", "baseline", EVERY):
        for done in range(3):
            Progress("images", every_seconds=0)(done, 20)
            time.sleep(2 * EVERY)


def test_a_store_that_does_not_answer_delays_the_end_by_two_seconds_at_most(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(store, "put", lambda *_: time.sleep(30))
    with shared_status(store, "monday", "baseline", EVERY):
        Progress("images", every_seconds=0)(5, 20)
        time.sleep(3 * EVERY)
        ended = time.monotonic()
    assert time.monotonic() - ended < 10


def test_a_damaged_status_is_none(store: FileStore):
    store.put("runs/monday/baseline/live.json", b"{")
    assert live_status(store, "monday", "baseline") is None
