"""The line that the index has for each run: right after races, lost packs and writers that were killed."""

import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from age_tasks.runs import index
from age_tasks.runs.index import (
    CHANGES,
    INDEX,
    LISTED_AGAIN,
    announce_start,
    rebuild_index,
    run_facts,
    settings_digest,
)
from age_tasks.runs.keys import record_file, run_file
from age_tasks.runs.records import RunSettings
from age_tasks.store import open_store
from age_tasks.store.base import Store
from age_tasks.store.files import FileStore
from tests.support.counted import CountingStore
from tests.support.records import put_record


def started(store: Store, run: str, who: str = "ann") -> None:
    settings = RunSettings(config={}, who=who, labels="-", images="-", created="2026-11-26T10:00:00.000+00:00")
    announce_start(store, run, settings)
    store.put(run_file(run), settings.to_bytes())


def lose(store: Store, folder: str) -> None:
    for key in store.list(folder):
        store.delete(key)


def test_a_line_says_who_started_the_run_and_how_each_stage_ended(store: Store):
    started(store, "monday")
    summary = {"accepted": 97, "rows": 100, "candidate": {"value": 6.5, "bins": []}}
    put_record(store, "validate", "monday", summary=summary)
    put_record(store, "split", "monday", status="failed", error="too few labels\nand a traceback")
    facts = run_facts(store)["monday"]
    assert (facts.who, facts.created[:10]) == ("ann", "2026-11-26")
    assert facts.stages["validate"].shown == {"accepted": 97, "candidate.value": 6.5}
    assert (facts.stages["split"].done, facts.stages["split"].error) == (False, "too few labels")
    put_record(store, "split", "monday")
    assert run_facts(store)["monday"].stages["split"].done


def put_all(store: Store, objects: dict[str, bytes]) -> None:
    for key, content in objects.items():
        store.put(key, content)


@pytest.mark.parametrize("lost", [INDEX, "index/"])
def test_a_lost_index_changes_nothing(store: Store, lost: str):
    for run in ("monday", "tuesday"):
        started(store, run)
        put_record(store, "split", run)
    before = run_facts(store)
    lose(store, lost)
    assert run_facts(store) == before
    put_record(store, "validate", "monday")
    assert len(store.list(INDEX)) == 1
    assert set(run_facts(store)) == {"monday", "tuesday"}


def test_it_is_rebuilt_from_the_records(store: Store):
    started(store, "monday")
    put_record(store, "split", "monday")
    put_record(store, "split", "restored", finished="2026-01-01T00:00:00.000+00:00")
    before = run_facts(store)
    lose(store, "index/")
    assert rebuild_index(store) == 2
    assert run_facts(store) == before
    store.delete(record_file("monday", "split"))
    store.put("runs/restored/run.json", b"{")
    store.put("runs/restored/split/stage.json", b"{")
    rebuild_index(store)
    facts = run_facts(store)
    assert facts["monday"].stages == {}
    assert "run.json is not a valid RunSettings" in facts["restored"].damaged
    assert "stage.json is not a valid StageRecord" in facts["restored"].stages["split"].damaged
    assert (store.list(CHANGES), len(store.list(INDEX))) == ([], 1)


def test_a_change_of_a_racing_writer_is_found_beside_either_pack(store: Store):
    started(store, "monday")
    seen_by_both = {key: store.get(key) for key in store.list("index/")}
    put_record(store, "split", "tuesday")
    written_by_one = {key: store.get(key) for key in store.list("index/")}
    lose(store, "index/")
    put_all(store, seen_by_both)
    put_record(store, "split", "wednesday")
    put_all(store, written_by_one)
    for _ in range(2):  # first beside the pack of one, then beside that of the other
        assert set(run_facts(store)) == {"monday", "tuesday", "wednesday"}
        store.delete(store.list(INDEX)[0])


def test_three_requests_read_it_however_many_changes_there_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(index, "LISTED_AGAIN", 10)
    store = FileStore(tmp_path)
    for number in range(30):
        put_record(store, "split", f"run{number}")
        counting = CountingStore(store)
        assert len(run_facts(counting)) == number + 1
        assert len(counting.asked) == 3
    assert len(store.list(CHANGES)) == 10


@pytest.mark.parametrize("damage", [b"{", b'{"run": 7}', b'{"schema_version": 99, "run": "tuesday"}'])
def test_a_damaged_change_is_passed_over_and_the_records_are_read(
    store: Store, damage: bytes, caplog: pytest.LogCaptureFixture
):
    put_record(store, "split", "monday")
    before = store.list(INDEX)
    put_record(store, "split", "tuesday")
    store.delete(store.list(INDEX)[0])  # so that the last change is in no pack
    assert store.list(INDEX) == before
    store.put(store.list(CHANGES)[-1], damage)
    assert set(run_facts(store)) == {"monday", "tuesday"}
    assert "the records are read in its place" in caplog.text
    put_record(store, "split", "wednesday")
    caplog.clear()
    assert set(run_facts(store)) == {"monday", "tuesday", "wednesday"}
    assert caplog.text == ""


def test_a_write_of_a_record_takes_a_few_requests(tmp_path: Path):
    store = CountingStore(FileStore(tmp_path))
    for number in range(LISTED_AGAIN // 10):
        put_record(store, "split", f"run{number}")
    store.asked.clear()
    put_record(store, "split", "one more")
    assert [asked.split()[0] for asked in store.asked] == ["LIST", "GET", "LIST", "PUT", "PUT", "DELETE", "PUT"]


@pytest.mark.slow
def test_records_of_many_processes_at_once_are_all_found(store: Store):
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(6)
    racers = [spawn.Process(target=_write, args=(store.url, f"run{number}", start)) for number in range(6)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert [racer.exitcode for racer in racers] == [0] * 6
    stages = {run: set(facts.stages) for run, facts in run_facts(store).items()}
    assert stages == {f"run{number}": {"snapshot", "validate", "split"} for number in range(6)}


def _write(url: str, run: str, start: Barrier) -> None:
    store = open_store(url)
    start.wait()
    for stage in ("snapshot", "validate", "split"):
        put_record(store, stage, run)


@given(st.dictionaries(st.text(max_size=3), st.one_of(st.integers(-9, 9), st.text(max_size=3), st.booleans())))
def test_settings_that_are_equal_have_one_digest(settings: dict[str, object]):
    same = {name: float(value) if type(value) is int else value for name, value in reversed(settings.items())}
    assert settings_digest(settings) == settings_digest(same)
    assert settings_digest(settings) != settings_digest(settings | {"more": 0.5})


def test_an_empty_store_has_no_run(store: Store):
    assert run_facts(store) == {}
