"""One process at a time does the same work; the others wait for it."""

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

log = logging.getLogger(__name__)

LOCK = "lock"


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a folder, made if need be, until the end of the context, or of the process, however that ends.

    Whoever holds it may remove it; one that is empty at the end goes.
    """
    while (lock := _taken(folder)) is None:
        pass
    with lock:
        try:
            yield
        finally:
            if _is_of(lock, folder):  # or it was removed, and another process may have made it anew
                (folder / LOCK).unlink()
                with contextlib.suppress(OSError):
                    folder.rmdir()


def _taken(folder: Path) -> TextIO | None:
    """The folder's lock, or None where whoever held it has removed it."""
    with contextlib.ExitStack() as stack:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = stack.enter_context((folder / LOCK).open("w"))
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("another process does the same: waiting for it (%s)", lock.name)
            fcntl.flock(lock, fcntl.LOCK_EX)
        if _is_of(lock, folder):
            stack.pop_all()
            return lock
    return None


def _is_of(lock: TextIO, folder: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(lock.fileno()), (folder / LOCK).stat())
    return False
