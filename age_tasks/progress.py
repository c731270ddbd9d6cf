"""Progress of long work: a line on stderr every few seconds, fit for a task's log."""

import logging
import time

log = logging.getLogger(__name__)


class Progress:
    """Call it with (done, total); it says how fast things go and how long they'll take."""

    def __init__(self, what: str, every_seconds: float = 5.0):
        self._what = what
        self._every = every_seconds
        self._start = self._said = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._said < self._every and done < total:
            return
        self._said = now
        rate = done / max(now - self._start, 1e-9)
        log.info("%s: %d of %d, %.0f a second, %.0f s left", self._what, done, total, rate, (total - done) / rate)
