"""An exclusive lock between processes of one machine."""

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

log = logging.getLogger(__name__)


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file; the operating system releases it if the process dies.

    The file is created if it does not exist, and removed at the end.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.info("another process does the same work: waiting for it (%s)", path)
                fcntl.flock(lock, fcntl.LOCK_EX)
            if _is_at(lock, path):  # otherwise the process before has removed it: lock the new file
                try:
                    yield
                finally:
                    path.unlink(missing_ok=True)
                return


def _is_at(file: TextIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
