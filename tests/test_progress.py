"""Progress of long work in the log."""

import logging
import time

import pytest

from age_tasks import progress
from age_tasks.progress import Progress, Status, in_part, never_silent, tell_epochs, watched_by


@pytest.fixture(autouse=True)
def info_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger=progress.__name__)


@pytest.mark.parametrize("total", [0, 10])
def test_nothing_done_yet_has_no_rate_to_divide_by(total: int, caplog: pytest.LogCaptureFixture):
    Progress("images read", every_seconds=0)(0, total)
    assert caplog.messages == [f"images read: 0 of {total}, 0 per second"]


def test_lines_are_apart_in_time_and_the_last_one_is_always_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    clock = iter([0.0, 1.0, 6.0, 7.0, 8.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    report = Progress("images read")
    for done in (10, 60, 70, 100):
        report(done, 100)
    assert caplog.messages == [
        "images read: 60 of 100, 10 per second, 4 s left",
        "images read: 100 of 100, 12 per second, 0 s left",
    ]


def test_a_stage_is_never_silent_for_long(caplog: pytest.LogCaptureFixture):
    with never_silent("baseline", seconds=0.3):
        time.sleep(1.2)
    assert 2 <= len(caplog.messages) <= 4
    assert all(line.startswith("baseline: at work for ") for line in caplog.messages)
    caplog.clear()
    with never_silent("baseline", seconds=0.5):
        for number in range(8):
            time.sleep(0.1)
            progress.log.info("%d", number)
    assert caplog.messages == [str(number) for number in range(8)]


def test_the_line_names_the_function_at_work(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(progress, "_ROOT", "tests.")
    with never_silent("baseline", seconds=0.2):
        time.sleep(0.5)
    assert caplog.messages[0].endswith(", in test_the_line_names_the_function_at_work (test_progress)")


def test_who_watches_is_told_what_is_logged():
    told: list[Status] = []
    with watched_by(told.append):
        Progress("images read", every_seconds=0)(60, 100, "2 unreadable")
        tell_epochs([{"epoch": 1, "mae": 9.0}], 20)
    Progress("images read", every_seconds=0)(70, 100)
    counted, trained = told
    assert (counted.what, counted.done, counted.total, counted.note) == ("images read", 60, 100, "2 unreadable")
    assert counted.seconds_left == pytest.approx(40 / counted.per_second)
    assert (trained.epochs, trained.most_epochs) == (({"epoch": 1, "mae": 9.0},), 20)
    assert trained.what == "images read"


def test_the_part_that_the_work_is_in_is_logged_and_told(caplog: pytest.LogCaptureFixture):
    told: list[Status] = []
    with caplog.at_level("INFO"), watched_by(told.append):
        with in_part("seed 43 (2 of 3)"):
            Progress("images", every_seconds=0)(60, 100)
            tell_epochs([{"epoch": 1}], 20)
        Progress("images", every_seconds=0)(70, 100)
    assert [status.part for status in told] == ["seed 43 (2 of 3)"] * 3 + ["", ""]
    assert told[-1].epochs == ()  # they are of the part that has ended
    assert caplog.messages[0] == "seed 43 (2 of 3)"
    assert caplog.messages[1].startswith("seed 43 (2 of 3), images: 60 of 100")
    assert caplog.messages[2].startswith("images: 70 of 100")


def test_a_new_watcher_begins_with_nothing():
    with watched_by(lambda status: None):
        tell_epochs([{"epoch": 1}], 20)
    told: list[Status] = []
    with watched_by(told.append):
        Progress("images", every_seconds=0)(1, 2)
    assert told[0].epochs == ()
