"""Folders that all workers of a test run share."""

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path


def built_once(folder: Path, build: Callable[[Path], None]) -> Path:
    """A folder that the first worker to need it builds, while the others wait."""
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        complete = folder.with_suffix(".complete")
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            build(folder)
            complete.touch()
    return folder
