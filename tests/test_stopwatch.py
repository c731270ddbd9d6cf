"""Where the time of a stage goes."""

import subprocess
import sys
import threading
import time

import pytest

from age_tasks.environment import PROJECT
from age_tasks.stopwatch import PARTS, Stopwatch, timed


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of a process that is two seconds old and has executed no stage."""
    clock = Clock()
    monkeypatch.setattr("age_tasks.stopwatch.time.perf_counter", clock)
    monkeypatch.setattr("age_tasks.stopwatch._running", None)
    monkeypatch.setattr("age_tasks.stopwatch._process_age", lambda: 2.0)
    return clock


@timed("input")
def read(clock: Clock, seconds: float, *, gone: bool = False) -> str:
    clock.move(seconds)
    if gone:
        raise OSError("gone")
    return "read"


def test_every_second_since_the_start_of_the_process_is_in_one_part(clock: Clock):
    watch = Stopwatch()
    clock.move(3)
    watch.started()
    clock.move(10)
    assert read(clock, 4) == "read"
    with timed("output"):
        clock.move(5)
    assert watch.seconds() == {"start": 5.0, "input": 4.0, "compute": 10.0, "output": 5.0}
    assert tuple(watch.seconds()) == PARTS


def test_of_parts_within_each_other_the_innermost_counts(clock: Clock):
    watch = Stopwatch()
    watch.started()
    with timed("output"):
        clock.move(1)
        read(clock, 4)
        with timed("output"):
            clock.move(2)
    assert (watch.seconds()["input"], watch.seconds()["output"]) == (4.0, 3.0)


def test_what_fails_is_counted_too(clock: Clock):
    watch = Stopwatch()
    watch.started()
    with pytest.raises(OSError, match="gone"):
        read(clock, 6, gone=True)
    assert watch.seconds()["input"] == 6.0


def test_reading_in_another_thread_costs_the_stage_nothing(clock: Clock):
    watch = Stopwatch()
    watch.started()
    thread = threading.Thread(target=read, args=(clock, 9))
    thread.start()
    thread.join()
    assert (watch.seconds()["input"], watch.seconds()["compute"]) == (0.0, 9.0)


def test_a_second_stage_of_a_process_starts_where_it_begins(clock: Clock):
    Stopwatch()
    clock.move(50)
    second = Stopwatch()
    clock.move(1)
    second.started()
    assert second.seconds()["start"] == 1.0


def test_a_start_counts_from_the_start_of_the_process():
    code = "import time; time.sleep(0.3); from age_tasks.stopwatch import Stopwatch; w = Stopwatch(); w.started()"
    code += "; print(w.seconds()['start'])"
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert 0.3 <= float(done.stdout) <= time.perf_counter() - began + 0.02  # a clock tick
