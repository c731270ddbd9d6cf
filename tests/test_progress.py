"""Progress of long work in the log."""

import logging

import pytest

from age_tasks import progress
from age_tasks.progress import Progress


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
