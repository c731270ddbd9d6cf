"""Progress of long work: a line on stderr every few seconds, fit for a task's log."""

import logging
import time

log = logging.getLogger(__name__)


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
