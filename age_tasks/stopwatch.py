"""Where the time of a stage goes: start, input, compute, output."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

Part = Literal["input", "output"]
PARTS = ("start", "input", "compute", "output")

_IMPORTED = time.perf_counter()
# The place of the start in /proc/self/stat behind the name of the program, in clock ticks since the machine started.
_START_TIME = 19
_running: "Stopwatch | None" = None


class Stopwatch:
    """Times the parts of a stage, from the start of its process; what is neither start, input nor output is compute."""

    def __init__(self) -> None:
        """Let `timed` count for this stage from now on."""
        global _running
        self.spent: dict[str, float] = {}
        self.thread = threading.get_ident()
        self._began = time.perf_counter() - (0.0 if _running else _process_age())
        self._started = time.perf_counter()
        _running = self

    def started(self) -> None:
        """Say that the first work of the stage begins: all it needs is imported."""
        self._started = time.perf_counter()
        self.spent = {}

    def seconds(self) -> dict[str, float]:
        """Seconds of each of `PARTS` until now."""
        counted = {**dict.fromkeys(PARTS, 0.0), "start": self._started - self._began, **self.spent}
        counted["compute"] = time.perf_counter() - self._began - sum(counted.values())
        return {part: round(seconds, 2) for part, seconds in counted.items()}


@contextlib.contextmanager
def timed(part: Part) -> Iterator[None]:
    """Count the time inside as input or output of the stage that this thread executes; also a decorator.

    Of parts within each other the innermost counts. Other threads count nothing: what they read while the stage
    computes costs it no time.
    """
    watch = _running
    if watch is None or watch.thread != threading.get_ident():
        yield
        return
    began, counted = time.perf_counter(), sum(watch.spent.values())
    try:
        yield
    finally:
        inside = sum(watch.spent.values()) - counted
        watch.spent[part] = watch.spent.get(part, 0.0) + time.perf_counter() - began - inside


def _process_age() -> float:
    """Seconds since this process was started, or forked."""
    try:
        words = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(words[_START_TIME]) / os.sysconf("SC_CLK_TCK")
    except OSError:  # not Linux
        return time.perf_counter() - _IMPORTED
