import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from age_tasks.config import Config
from age_tasks.errors import LabelsError, MissingInputError
from age_tasks.registry.approval import approval_answer
from age_tasks.runs.keys import safe_run_key
from age_tasks.runs.listing import newest_run
from age_tasks.runs.records import StageRecord
from age_tasks.runs.run import Workspace, open_run
from age_tasks.runs.runner import Needs, execute_stage

FIRST, SECOND = Needs(), Needs(("first",), ("gate",))
FOLLOWS = Needs(("first",), follows_previous=True)
HEEDS = Needs(("first",), extra={"approval": lambda run, config: approval_answer()})


def read(do, key: str, stage: str) -> str:
    with open_run(key, do.locations) as run:
        return run.input(stage, "out.txt").read_text()


def test_a_stage_with_the_same_inputs_and_settings_is_reused(do):
    do("monday", "first", FIRST)
    made = do("monday", "second", SECOND, "made")
    do("tuesday", "first", FIRST)
    reused = do("tuesday", "second", SECOND, "never made")
    assert (made.reused_from, reused.reused_from) == (None, "monday")
    assert reused.fingerprint == made.fingerprint
    assert reused.summary == {"text": "made"}
    assert read(do, "tuesday", "second") == "made"
    with open_run("tuesday", do.locations) as run:
        assert "/monday/second/out.txt" in run.where("second", "out.txt")


def test_reuse_of_a_reused_stage_names_the_run_that_made_it(do):
    for key in ("monday", "tuesday", "wednesday"):
        do(key, "first", FIRST)
        last = do(key, "second", SECOND, key)
    assert last.reused_from == "monday"


def test_a_stage_that_finished_in_this_run_is_not_done_twice(do):
    do("monday", "first", FIRST)
    once = do("monday", "second", SECOND, "one")
    assert do("monday", "second", SECOND, "two") == once
    assert do("monday", "second", SECOND, "two", again=True).summary == {"text": "two"}


def test_other_inputs_or_settings_make_it_anew(do):
    do("monday", "first", FIRST)
    do("monday", "second", SECOND, "old")
    do("tuesday", "first", FIRST, "new labels")
    assert do("tuesday", "second", SECOND, "new").summary == {"text": "new"}
    do("wednesday", "first", FIRST)
    stricter = Config().with_overrides({"gate.max_test_mae": 5})
    assert do("wednesday", "second", SECOND, "stricter", stricter).summary == {"text": "stricter"}
    unread = Config().with_overrides({"baseline.epochs": 5})
    do("thursday", "first", FIRST)
    assert do("thursday", "second", SECOND, "x", unread).reused_from == "monday"


def test_a_failure_is_not_reused_and_keeps_its_reason(do):
    do("monday", "first", FIRST)
    with pytest.raises(LabelsError):
        do("monday", "second", SECOND, "fails")
    with open_run("monday", do.locations) as run:
        assert run.record("second").error == "line 7 is wrong"
        with pytest.raises(MissingInputError, match="second failed"):
            run.require_record("second")
    assert do("monday", "second", SECOND, "works").summary == {"text": "works"}


def test_what_is_no_longer_in_the_store_is_made_anew(do, tmp_path: Path):
    do("monday", "first", FIRST)
    do("monday", "second", SECOND, "one")
    (tmp_path / "store" / "runs" / "monday" / "second" / "out.txt").unlink()
    do("tuesday", "first", FIRST)
    assert do("tuesday", "second", SECOND, "two").summary == {"text": "two"}


def test_a_stage_that_remembers_is_reused_only_from_its_last_result(do):
    do("monday", "first", FIRST, "a")
    do("monday", "memory", FOLLOWS, "from a")
    do("tuesday", "first", FIRST, "b")
    do("tuesday", "memory", FOLLOWS, "from b")
    do("wednesday", "first", FIRST, "b")
    assert do("wednesday", "memory", FOLLOWS, "x").reused_from == "tuesday"
    do("thursday", "first", FIRST, "a")  # the labels of Monday, but what came before them is another
    assert do("thursday", "memory", FOLLOWS, "from a after b").summary == {"text": "from a after b"}


def test_a_stage_that_heeds_a_person_is_not_reused_after_another_answer(do, monkeypatch: pytest.MonkeyPatch):
    for day in ("monday", "tuesday", "wednesday"):
        do(day, "first", FIRST)
    do("monday", "second", HEEDS, "nobody was asked")
    monkeypatch.setenv("AGE_APPROVAL", '{"asked": true, "approved": false, "who": "ann"}')
    assert do("tuesday", "second", HEEDS, "ann said no").summary == {"text": "ann said no"}
    monkeypatch.setenv("AGE_APPROVAL", '{"asked": false}')
    assert do("wednesday", "second", HEEDS, "x").reused_from == "monday"


def test_a_run_that_was_cut_off_goes_on_from_its_last_finished_stage(do):
    do("monday", "first", FIRST)
    do("monday", "second", SECOND, "kept")
    third = Needs(("second",))
    with pytest.raises(LabelsError):
        do("monday", "third", third, "fails")
    assert do("monday", "second", SECOND, "x").summary == {"text": "kept"}
    assert do("monday", "third", third, "done").status == "done"


def test_the_newest_run_is_the_one_whose_stages_finished_last(do):
    for key in ("b", "a"):
        do(key, "first", FIRST, key)
    with open_run("a", do.locations) as run:
        assert newest_run(run.store, ["first"]) == "a"
        assert newest_run(run.store, ["first"], besides="a") == "b"
        assert newest_run(run.store, ["first", "second"]) is None


def test_a_stage_without_its_inputs_says_what_to_run(do):
    do("monday", "first", FIRST)
    with pytest.raises(MissingInputError, match="second has not run; run `python -m age_tasks second --run monday`"):
        do("monday", "third", Needs(("second",)))


def test_an_airflow_run_id_becomes_a_folder_name():
    assert safe_run_key("manual__2026-11-22T10:15:00+00:00") == "manual__2026-11-22T10-15-00-00-00"


def test_the_same_work_begun_twice_at_once_is_done_once(do):
    begun, done = threading.Event(), []

    def work(run: Workspace, config: Config) -> dict:
        begun.set()
        time.sleep(0.3)  # the other comes meanwhile
        done.append(run.key)
        run.checkpoint_dir.mkdir(parents=True, exist_ok=True)
        (run.checkpoint_dir / "epoch1").write_text("a training's, which the other must not touch")
        return {}

    def carry(key: str) -> StageRecord:
        with open_run(key, do.locations) as run:
            return execute_stage("second", SECOND, lambda: work, run, Config())

    for key in ("monday", "tuesday"):
        do(key, "first", FIRST)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(carry, "monday")
        begun.wait()
        second = pool.submit(carry, "tuesday")
    assert (first.result().reused_from, second.result().reused_from) == (None, "monday")
    assert done == ["monday"]
