"""The newest run of a stage, found in an index, and its equal found by reading every record."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from age_tasks.runs.keys import latest_file, record_file, run_of_latest
from age_tasks.runs.listing import newest_run
from age_tasks.store.base import Store
from age_tasks.store.files import FileStore
from tests.support.records import put_record


def finished(day: int) -> str:
    return f"2026-11-{day:02d}T10:00:00.000+00:00"


class CountingStore:
    """A store that counts the objects read."""

    def __init__(self, store: Store):
        self._store, self.gets = store, 0

    def get(self, key: str) -> bytes:
        self.gets += 1
        return self._store.get(key)

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


def test_the_newest_success_is_found(store: Store):
    assert newest_run(store, ["split"]) is None
    for day, run in ((1, "monday"), (3, "wednesday"), (2, "tuesday")):
        put_record(store, "split", run, finished=finished(day))
    assert newest_run(store, ["split"]) == "wednesday"
    assert newest_run(store, ["split"], besides="wednesday") == "tuesday"


def test_a_run_that_failed_since_is_passed_over(store: Store):
    put_record(store, "split", "monday", finished=finished(1))
    put_record(store, "split", "tuesday", finished=finished(2))
    put_record(store, "split", "tuesday", finished=finished(3), status="failed", error="too few labels")
    assert newest_run(store, ["split"]) == "monday"


def test_all_of_the_stages_must_have_succeeded(store: Store):
    put_record(store, "split", "monday", finished=finished(1))
    put_record(store, "baseline", "monday", finished=finished(2))
    put_record(store, "split", "tuesday", finished=finished(3))
    assert newest_run(store, ["split", "baseline"]) == "monday"


def test_the_settings_that_were_read_must_be_those(store: Store):
    put_record(store, "split", "monday", finished=finished(1), settings={"split": {"seed": 1}})
    put_record(store, "split", "tuesday", finished=finished(2), settings={"split": {"seed": 2}})
    assert newest_run(store, ["split"], settings={"split": {"seed": 1}}) == "monday"
    assert newest_run(store, ["split"], settings={"split": {"seed": 3}}) is None


def test_a_store_without_the_index_is_read_record_by_record(store: Store):
    for day, run in ((1, "monday"), (3, "wednesday"), (2, "tuesday")):
        put_record(store, "split", run, finished=finished(day))
        store.delete(latest_file("split", run, finished(day)))
    assert newest_run(store, ["split"]) == "wednesday"


def test_one_record_is_read_however_many_runs_there_are(tmp_path: Path):
    store = CountingStore(FileStore(tmp_path))
    for number in range(60):
        put_record(store, "split", f"run{number}", finished=f"2026-11-01T00:{number:02d}:00.000+00:00")
    assert (newest_run(store, ["split"]), store.gets) == ("run59", 1)


@given(st.lists(st.datetimes(max_value=datetime(2500, 1, 1), timezones=st.just(UTC)), min_size=2, max_size=6))
def test_names_in_the_index_sort_the_newest_first(times: list[datetime]):
    keys = [latest_file("split", "a__b", time.isoformat()) for time in sorted(times)]
    assert keys == sorted(keys, reverse=True)
    assert {run_of_latest(key) for key in keys} == {"a__b"}


def test_the_key_of_a_record_is_below_its_run():
    assert record_file("monday", "split") == "runs/monday/split/stage.json"


@pytest.mark.parametrize("run", ["a__b__c", "scheduled__2026-11-22T10-15-00", "x"])
def test_a_run_key_with_underscores_is_read_back_whole(run: str):
    assert run_of_latest(latest_file("split", run, finished(1))) == run
