"""A stage executed once more: what other runs reuse of it stays theirs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from age_tasks.config import Config
from age_tasks.errors import LabelsError, MissingInputError
from age_tasks.runs.keys import RECORD, record_file
from age_tasks.runs.run import open_run
from age_tasks.runs.runner import Needs
from age_tasks.store.files import FileStore
from tests.support.counted import CountingStore

FIRST, SECOND = Needs(), Needs(("first",), ("gate",))
STRICTER = Config().with_overrides({"gate.max_test_mae": 5})
DAYS = ("monday", "tuesday", "wednesday")


@pytest.fixture
def reused(do) -> Callable:
    """The second stage was executed on Monday, and reused on Tuesday and Wednesday."""
    for day in DAYS:
        do(day, "first", FIRST)
        do(day, "second", SECOND, "old")
    return do


def found(do, day: str) -> tuple[str, str | None]:
    """What the run has of the second stage: its text, and the run that it is reused from."""
    with open_run(day, do.locations) as run:
        return run.input("second", "out.txt").read_text(), run.record("second").reused_from


def test_later_runs_keep_the_result_that_they_reuse(reused):
    before = reused("monday", "second", SECOND)
    reused("monday", "second", SECOND, "new", again=True)
    assert [found(reused, day) for day in DAYS] == [("new", None), ("old", None), ("old", "tuesday")]
    with open_run("tuesday", reused.locations) as run:
        record = run.record("second")
    assert (record.seconds, record.parts, record.outputs) == (before.seconds, before.parts, before.outputs)


def test_what_was_handed_over_is_reused_from_its_new_place(reused):
    reused("monday", "second", SECOND, "stricter", STRICTER)
    reused("thursday", "first", FIRST)
    assert reused("thursday", "second", SECOND, "x").reused_from == "tuesday"
    reused("friday", "first", FIRST)
    assert reused("friday", "second", SECOND, "x", STRICTER).reused_from == "monday"


def test_a_result_is_handed_on_as_often_as_it_has_to_be(reused):
    for day in DAYS:
        reused(day, "second", SECOND, f"of {day}", again=True)
    assert [found(reused, day) for day in DAYS] == [(f"of {day}", None) for day in DAYS]


@pytest.fixture
def reused_in_turn(do) -> Callable:
    """Wednesday reuses what Monday made; Tuesday made a stricter one, and Monday was set to that, and reuses it."""
    for day in DAYS:
        do(day, "first", FIRST)
    do("monday", "second", SECOND, "old")
    assert do("wednesday", "second", SECOND).reused_from == "monday"
    do("tuesday", "second", SECOND, "stricter", STRICTER)
    assert do("monday", "second", SECOND, "x", STRICTER).reused_from == "tuesday"
    return do


def test_a_result_that_its_run_no_longer_uses_goes_to_those_that_do(reused_in_turn):
    assert [found(reused_in_turn, day) for day in DAYS] == [("stricter", "tuesday"), ("stricter", None), ("old", None)]


def test_a_run_that_reused_in_between_keeps_what_others_have_of_it(reused_in_turn):
    reused_in_turn("monday", "second", SECOND, "third", Config().with_overrides({"gate.max_test_mae": 4}))
    assert [found(reused_in_turn, day)[0] for day in DAYS] == ["third", "stricter", "old"]


def test_what_is_handed_over_replaces_nothing_that_others_reuse(reused_in_turn):
    reused_in_turn("tuesday", "second", SECOND, "new", STRICTER, again=True)
    assert [found(reused_in_turn, day)[0] for day in DAYS] == ["stricter", "new", "old"]


def test_a_new_run_that_reuses_a_result_asks_for_its_own_record_once(do, monkeypatch: pytest.MonkeyPatch):
    for day in DAYS[:2]:
        do(day, "first", FIRST)
    do("monday", "second", SECOND)
    store = CountingStore(FileStore(Path(do.locations.store)))
    monkeypatch.setattr("age_tasks.runs.run.open_store", lambda _: store)
    assert do("tuesday", "second", SECOND).reused_from == "monday"
    assert store.asked.count(f"GET {record_file('tuesday', 'second')}") == 1
    assert sum(asked.startswith("LIST index/") for asked in store.asked) == 2  # to announce the record


def test_a_failure_replaces_nothing_that_others_reuse(reused):
    with pytest.raises(LabelsError):
        reused("monday", "second", SECOND, "fails", again=True)
    reused("monday", "second", SECOND, "x")
    assert [found(reused, day) for day in DAYS] == [("old", "tuesday"), ("old", None), ("old", "tuesday")]


def test_a_result_that_nobody_reuses_is_replaced(do, caplog: pytest.LogCaptureFixture):
    do("monday", "first", FIRST)
    do("monday", "second", SECOND, "old")
    do("tuesday", "first", FIRST, "other labels")
    do("tuesday", "second", SECOND, "of tuesday")
    do("monday", "second", SECOND, "new", again=True)
    assert [found(do, day)[0] for day in DAYS[:2]] == ["new", "of tuesday"]
    assert "reuse" not in caplog.text


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("else")])
def test_a_damaged_result_is_not_handed_over_and_may_come_back(
    reused, damage: Callable[[Path], object], caplog: pytest.LogCaptureFixture
):
    damage(Path(reused.locations.store, "runs", "monday", "second", "out.txt"))
    reused("monday", "second", SECOND, "new", again=True)
    assert "it is not kept for the runs that reuse it: tuesday, wednesday" in caplog.text
    with pytest.raises(MissingInputError, match="tuesday --again"):
        found(reused, "tuesday")
    reused("monday", "second", SECOND, "old", again=True)  # the same bytes as before
    assert [found(reused, day)[0] for day in DAYS] == ["old", "old", "old"]


def test_a_damaged_record_is_in_the_way_of_nothing(reused):
    records = [Path(reused.locations.store, record_file(day, "second")) for day in DAYS]
    records[1].write_text("{")
    reused("monday", "second", SECOND, "new", again=True)
    assert [found(reused, day)[0] for day in ("monday", "wednesday")] == ["new", "old"]
    records[0].write_text("{")
    assert reused("monday", "second", SECOND, "newest", again=True).summary == {"text": "newest"}


def test_all_of_a_stage_s_files_are_handed_over_and_no_others(reused):
    reused("monday", "second", SECOND, "new", again=True)
    store = FileStore(Path(reused.locations.store))
    names = {day: {key.rpartition("/")[2] for key in store.list(f"runs/{day}/second/")} for day in DAYS}
    assert names == {"monday": {"out.txt", RECORD}, "tuesday": {"out.txt", RECORD}, "wednesday": {RECORD}}
