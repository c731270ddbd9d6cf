"""Progress of long work: a line in the log every few seconds, and the same for whoever watches."""

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

log = logging.getLogger(__name__)

SILENCE_SECONDS = 7.0
_ROOT = f"{__name__.partition('.')[0]}."


@dataclass(frozen=True)
class Status:
    """How far the work of this process is.

    Args:
        what: what is counted, such as `images read`; empty before anything is.
        done: items done so far.
        total: all items.
        per_second: items per second since the count began.
        note: a further number in words, such as `train MAE 7.21 years`; may be empty.
        epochs: of the training that is under way, a row per finished epoch with `epoch`, `mae`, `val_mae` (years) and
            `seconds`, among others.
        most_epochs: how many epochs the training may take; 0 where there is none.
        part: which of several parts the work is in, such as `seed 43 (2 of 3)`; empty where there is one.
    """

    what: str = ""
    done: int = 0
    total: int = 0
    per_second: float = 0.0
    note: str = ""
    epochs: tuple[Mapping[str, float], ...] = ()
    most_epochs: int = 0
    part: str = ""

    @property
    def seconds_left(self) -> float | None:
        """Until all items are done, at the present rate; None while there is no rate."""
        return (self.total - self.done) / self.per_second if self.per_second else None


Watcher = Callable[[Status], None]
_watchers: list[Watcher] = []
_status = Status()


@contextlib.contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Call `watcher` with the status whenever it changes, in the thread that changes it, so it must return at once."""
    global _status
    _status = Status()
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


def tell_epochs(rows: Sequence[Mapping[str, float]], most: int) -> None:
    """Say that a training has finished these epochs; see `Status`."""
    _tell(replace(_status, epochs=tuple(rows), most_epochs=most))


@contextlib.contextmanager
def in_part(part: str) -> Iterator[None]:
    """Say, while the context lasts, which of several parts the work is in; see `Status`."""
    log.info("%s", part)
    _tell(Status(part=part))
    try:
        yield
    finally:
        _tell(Status())


def named(what: str) -> str:
    """`what` with the part of the work that it belongs to, such as `seed 43 (2 of 3), epoch 1`."""
    return f"{_status.part}, {what}" if _status.part else what


def _tell(status: Status) -> None:
    global _status
    _status = status
    for watcher in _watchers:
        watcher(status)


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

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Log a line, if one is due, and tell whoever watches.

        Args:
            done: items done so far.
            total: all items; 0 where there is nothing to do.
            note: a further number in words.
        """
        now = time.monotonic()
        if now - self._last < self._every and done < total:
            return
        self._last = now
        rate = done / max(now - self._start, 1e-9)
        status = replace(_status, what=self._what, done=done, total=total, per_second=rate, note=note)
        left = "" if status.seconds_left is None else f", {status.seconds_left:.0f} s left"
        more = f", {note}" if note else ""
        log.info("%s: %d of %d, %.0f per second%s%s", named(self._what), done, total, rate, left, more)
        _tell(status)


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
