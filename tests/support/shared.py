"""What is done once for all workers of a test run."""

import fcntl
from collections.abc import Callable
from pathlib import Path


def once(done: Path, build: Callable[[], object]) -> None:
    """Call `build` unless `done` exists, then make that file; of several workers one builds, the others wait for it."""
    with done.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            build()
            done.touch()
