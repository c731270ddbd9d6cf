"""The newest run of a stage, found in an index, and its equal found by reading every record."""

from pathlib import Path

import pytest

from age_tasks.errors import DamagedError
from age_tasks.runs.index import announce_record, rebuild_index
from age_tasks.runs.keys import record_file
from age_tasks.runs.listing import newest_run
from age_tasks.store.base import Store
from age_tasks.store.files import FileStore
from tests.support.counted import CountingStore
from tests.support.old_store import put_runs
from tests.support.records import put_record, stage_record


def finished(day: int) -> str:
    return f"2026-11-{day:02d}T10:00:00.000+00:00"


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
    for key in store.list("index/"):
        store.delete(key)
    assert newest_run(store, ["split"]) == "wednesday"


def test_a_record_that_was_announced_and_never_written_is_passed_over(store: Store):
    put_record(store, "split", "monday", finished=finished(1))
    announce_record(store, stage_record("split", "tuesday", finished=finished(2)))  # its writer was killed here
    assert newest_run(store, ["split"]) == "monday"


def test_a_damaged_record_is_named_and_not_passed_over(store: Store):
    for day, run in ((1, "monday"), (2, "tuesday")):
        put_record(store, "split", run, finished=finished(day))
    content = store.get(record_file("tuesday", "split"))
    store.put(record_file("tuesday", "split"), b"{")
    for rebuild in (False, True):
        if rebuild:
            rebuild_index(store)
        with pytest.raises(DamagedError, match=r"tuesday/split/stage\.json is not a valid StageRecord"):
            newest_run(store, ["split"])
    store.put(record_file("tuesday", "split"), content)
    assert newest_run(store, ["split"]) == "tuesday"


@pytest.mark.parametrize("runs", [30, 300])
def test_the_requests_of_a_look_up_do_not_grow_with_the_runs(tmp_path: Path, runs: int):
    store = FileStore(tmp_path)
    put_runs(tmp_path, runs)
    rebuild_index(store)
    put_record(store, "split", "mine", finished="2020-01-01T10:00:00.000+00:00", settings={"split": {"seed": 1}})
    for look, found, requests in (
        (lambda store: newest_run(store, ["split"]), f"run{runs - 1:05d}", 4),
        (lambda store: newest_run(store, ["split", "finetune", "publish"]), f"run{runs - 1:05d}", 6),
        (lambda store: newest_run(store, ["split"], settings={"split": {"seed": 1}}), "mine", 4),
        (lambda store: newest_run(store, ["split"], besides="mine", settings={"split": {"seed": 1}}), None, 3),
    ):
        counting = CountingStore(store)
        assert (look(counting), len(counting.asked)) == (found, requests)


def test_the_key_of_a_record_is_below_its_run():
    assert record_file("monday", "split") == "runs/monday/split/stage.json"
