import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from age_tasks.config import Config
from age_tasks.environment import Locations
from age_tasks.registry.approval import Approval
from age_tasks.registry.decisions import answer_of, put_decision
from age_tasks.reports.history_text import runs_table
from age_tasks.reports.run_list import ListedRun, all_runs
from age_tasks.runs.index import rebuild_index
from age_tasks.runs.run import StoredRun, start_run
from age_tasks.store.files import FileStore
from tests.support.builders import promoted
from tests.support.records import put_record

WRITTEN = Path(__file__).parents[1] / "runs" / "written_by_0_1_0"
GATE = {"passed": True, "verdict": "passed: all 3 rules hold", "candidate": {"value": 6.5}, "champion": None}


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


def start(store: FileStore, key: str) -> None:
    start_run(StoredRun(key, store), Config(), Locations(labels="labels.csv", images="images"))


def only(store: FileStore) -> ListedRun:
    (run,) = all_runs(store)
    return run


def test_every_run_is_listed_with_what_became_of_it(store: FileStore, tmp_path: Path):
    for key in ("waits", "failed", "refused", "monday", "empty"):
        start(store, key)
    put_record(store, "split", "waits")
    put_record(store, "snapshot", "failed")
    put_record(store, "validate", "failed", status="failed", error="line 7 is wrong\nand more")
    put_record(store, "gate", "refused", summary=GATE | {"passed": False, "verdict": "refused: test MAE"})
    put_record(store, "publish", "refused", summary={"published": False})
    put_record(store, "publish", "monday", summary={"published": True, "version": "v1"})
    promoted(store, tmp_path, "monday")
    assert {run.key: run.outcome for run in all_runs(store)} == {
        "waits": "finished up to split",
        "failed": "failed in validate: line 7 is wrong",
        "refused": "not promoted",
        "monday": "promoted as v1",
        "empty": "nothing finished",
    }


def test_a_run_is_found_by_what_its_row_says(store: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AGE_WHO", "Ann")
    start(store, "monday")
    start(store, "tuesday")
    put_record(store, "gate", "tuesday", summary=GATE | {"passed": False, "verdict": "refused: test MAE"})
    runs = {run.key: run for run in all_runs(store)}
    found = {
        text: [key for key, run in runs.items() if run.says(text)] for text in ("ann", "MON", "refused", "none", "")
    }
    assert found == {
        "ann": ["tuesday", "monday"],
        "MON": ["monday"],
        "refused": ["tuesday"],
        "none": [],
        "": ["tuesday", "monday"],
    }


def test_a_run_says_its_labels_and_how_long_it_took(store: FileStore):
    start(store, "monday")
    put_record(store, "validate", "monday", summary={"accepted": 155})
    finished = (datetime.fromisoformat(only(store).started) + timedelta(seconds=90)).isoformat()
    put_record(store, "split", "monday", finished=finished)
    assert (only(store).labels, only(store).seconds) == (155, 90)


def test_a_run_that_was_started_anew_shows_no_time_before_its_last_stage_is_done_again(store: FileStore):
    start(store, "monday")
    started = datetime.fromisoformat(only(store).started)
    put_record(store, "publish", "monday", finished=(started - timedelta(days=1)).isoformat())
    assert only(store).seconds is None
    put_record(store, "publish", "monday", finished=(started + timedelta(minutes=1)).isoformat())
    assert only(store).seconds == 60


def test_the_run_started_last_comes_first_and_names_who_started_it(store: FileStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AGE_WHO", "ann")
    for key in ("first", "second"):
        start(store, key)
    assert [(run.key, run.who) for run in all_runs(store)] == [("second", "ann"), ("first", "ann")]


def test_a_refusal_stays_when_the_run_is_approved_later(store: FileStore, tmp_path: Path):
    start(store, "monday")
    put_record(store, "gate", "monday", summary=GATE)
    for who, approved, hour in (("ann", False, 10), ("bob", True, 11)):
        answer = Approval(approved, who, "looks wrong" if not approved else "", f"2026-11-24T{hour}:15:00+00:00")
        put_decision(store, answer_of("monday", answer, ""))
    promoted(store, tmp_path, "monday")
    table = runs_table(store)
    assert "refused by ann at 2026-11-24 10:15 UTC: looks wrong" in table
    assert "approved by bob at 2026-11-24 11:15 UTC" in table
    assert table.index("ann") < table.index("bob")
    assert table.startswith("monday: promoted as v1")


def test_the_decisions_of_a_removed_run_stay(store: FileStore):
    put_decision(store, answer_of("gone", Approval(False, "ann", "", "2026-11-24T10:15:00+00:00"), ""))
    assert (only(store).outcome, only(store).kept) == ("removed", False)


def test_runs_that_kept_no_decisions_are_read_from_their_records(tmp_path: Path):
    shutil.copytree(WRITTEN, tmp_path / "old")
    run = only(FileStore(tmp_path / "old"))
    assert [(each.by, each.verdict) for each in run.decisions] == [("gate", "passed: all 4 rules hold")]
    assert (run.outcome, run.test_mae) == ("promoted as v1", 5.0173)


def test_a_damaged_record_spoils_only_its_own_run(store: FileStore):
    start(store, "good")
    start(store, "bad")
    store.put("runs/bad/snapshot/stage.json", b"{")
    rebuild_index(store)
    outcomes = {run.key: run.outcome for run in all_runs(store)}
    assert outcomes["good"] == "nothing finished"
    assert "stage.json is not a valid StageRecord" in outcomes["bad"]


def test_before_the_first_run_the_table_says_so(store: FileStore):
    assert runs_table(store) == "No run has been started yet."
