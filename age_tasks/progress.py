"""Progress of long work: a line on stderr every few seconds, fit for a task's log."""

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Iterator

log = logging.getLogger(__name__)

SILENCE_SECONDS = 7.0
_ROOT = f"{__name__.partition('.')[0]}."


class Progress:
    """Call it with (done, total): it logs how much is done, items per second and the seconds left."""

    def __init__(self, what: str, every_seconds: float = 5.0) -> None:
        """Start the clock.

        Args:
            what: what is counted, such as `images read`.
            every_seconds: the least time between two lines; the last line is always logged.
        """
        self._what = what
        self._every = every_seconds
        self._start = self._last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Log a line, if one is due.

        Args:
            done: items done so far.
            total: all items; 0 where there is nothing to do.
        """
        now = time.monotonic()
        if now - self._last < self._every and done < total:
            return
        self._last = now
        rate = done / max(now - self._start, 1e-9)
        left = f", {(total - done) / rate:.0f} s left" if rate else ""
        log.info("%s: %d of %d, %.0f per second%s", self._what, done, total, rate, left)


class _LastRecord(logging.Handler):
    """Remembers when something was logged last."""

    def __init__(self) -> None:
        super().__init__()
        self.at = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        self.at = time.monotonic()


@contextlib.contextmanager
def never_silent(what: str, seconds: float = SILENCE_SECONDS) -> Iterator[None]:
    """Log that work goes on, and where, whenever nothing else was logged for so many seconds.

    Args:
        what: the work, such as the name of a stage.
        seconds: the longest silence.
    """
    last, ended, worker = _LastRecord(), threading.Event(), threading.get_ident()
    started = time.monotonic()

    def watch() -> None:
        while not ended.wait(seconds / 10):
            if time.monotonic() - last.at >= seconds:
                log.info("%s: at work for %.0f s%s", what, time.monotonic() - started, _place(worker))

    logging.getLogger().addHandler(last)
    thread = threading.Thread(target=watch, name="never silent", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        logging.getLogger().removeHandler(last)


def _place(thread: int) -> str:
    """The innermost function of this package that a thread executes, such as `, in fit (training.fit)`."""
    frame = sys._current_frames().get(thread)
    while frame and not frame.f_globals.get("__name__", "").startswith(_ROOT):
        frame = frame.f_back
    if not frame:
        return ""
    return f", in {frame.f_code.co_name} ({frame.f_globals['__name__'].removeprefix(_ROOT)})"
