"""Waiting for what another thread or process does."""

import time
from collections.abc import Callable
from typing import Any


def wait_until(holds: Callable[[], Any], seconds: float = 20) -> None:
    """Return as soon as `holds()` is true.

    Raises:
        AssertionError: it is not after so many seconds.
    """
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.01)
