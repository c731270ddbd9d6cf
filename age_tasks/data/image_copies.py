"""Local copies of images that are kept elsewhere: a folder of bounded size, shared by all stages of a machine.

    <cache>/images/<digest of the source's address>/<digest of the image's name and tag>

A copy is used only under the tag it was made for. When the copies become too many, the least recently used are removed,
and fetched again when they are needed: a worker need not hold all images.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from age_tasks.store.base import TEMPORARY, atomic_write

log = logging.getLogger(__name__)

# A copy stays for so long after it was last marked as used, and is marked again when half of that has passed: whoever
# gets its path has time to open it.
IN_USE_SECONDS = 120
LOCK = ".lock"
_LOOKS = 20  # at the folder while as many bytes are written as it may hold


class ImageCopies:
    """The copies of images of one source.

    Args:
        cache: the root of the local cache.
        source: the address of the source.
        bound: bytes that the copies of all sources may have together. What was used in the last `IN_USE_SECONDS` stays
            beyond it; and another process that writes too is noticed late, after a 20th of the bound.
    """

    def __init__(self, cache: Path, source: str, bound: float) -> None:
        self._all = copies_folder(cache)
        self._own = self._all / hashlib.sha256(source.encode()).hexdigest()[:16]
        self._bound = bound
        self._unlooked = 0.0  # bytes that may be written before the next look at the folder
        self._lock = threading.Lock()

    def path(self, name: str, tag: str) -> Path:
        """Where the copy of an image is, or would be.

        Args:
            tag: changes when the image does.
        """
        return self._own / hashlib.sha256(f"{name}\n{tag}".encode()).hexdigest()

    def get(self, name: str, tag: str, fetch: Callable[[Path], None]) -> Path:
        """The copy of an image, made if there is none.

        Args:
            tag: see `path`.
            fetch: writes the copy, atomically.
        """
        path = self.path(name, tag)
        if not _mark_used(path, self._all / LOCK):
            fetch(path)
            self._make_room(path.stat().st_size)
        return path

    def put(self, name: str, tag: str, content: bytes) -> None:
        """Make a copy whose content is at hand, in place of one that may be there."""
        with atomic_write(self.path(name, tag)) as temporary:
            temporary.write_bytes(content)
        self._make_room(len(content))

    def _make_room(self, written: int) -> None:
        with self._lock:
            self._unlooked -= written
            if self._unlooked <= 0:
                remove_least_used(self._all, self._bound)
                self._unlooked = self._bound / _LOOKS


def copies_folder(cache: Path) -> Path:
    """The folder of all copies in the local cache, one sub-folder per source."""
    return cache / "images"


def remove_least_used(folder: Path, bound: float) -> None:
    """Remove the least recently used copies if there is no room for a 20th more, until there is for a 10th.

    Args:
        bound: in bytes.
    """
    found = sorted(_files(folder))
    total, used_before = sum(size for _, size, _ in found), time.time() - IN_USE_SECONDS
    if total <= bound * (1 - 1 / _LOOKS):
        return
    removed = 0
    with _locked(folder / LOCK, fcntl.LOCK_EX):
        for used, size, path in found:
            if total <= bound * (1 - 2 / _LOOKS) or used > used_before:
                break
            with contextlib.suppress(OSError):  # another process was faster, or the copy is of another user
                copy = Path(path)
                if copy.stat().st_mtime == used:
                    copy.unlink()
                    removed, total = removed + 1, total - size
    if removed:
        log.info(
            "%d local copies of images were removed, since %s may hold %g GB (AGE_IMAGE_COPIES_GB); they are fetched "
            "again when they are needed",
            removed,
            folder,
            bound / 1e9,
        )


def unused_copies(cache: Path, seconds: float) -> dict[Path, int]:
    """Copies that nobody has used for so long, with their sizes in bytes."""
    used_before = time.time() - seconds
    return {Path(path): size for used, size, path in _files(copies_folder(cache)) if used < used_before}


def _files(folder: Path) -> Iterator[tuple[float, int, str]]:
    """Of each copy in the folder when it was last used, its size in bytes, and its path."""
    for source in folder.glob("*/"):
        with os.scandir(source) as found:
            for each in found:
                with contextlib.suppress(FileNotFoundError):  # removed by another process
                    if not each.name.startswith(TEMPORARY):
                        status = each.stat()
                        yield status.st_mtime, status.st_size, each.path


def _mark_used(path: Path, lock: Path) -> bool:
    """Note that a copy is used now; whether there is one."""
    try:
        if path.stat().st_mtime < time.time() - IN_USE_SECONDS / 2:
            with _locked(lock, fcntl.LOCK_SH):
                os.utime(path)
    except FileNotFoundError:
        return False
    except OSError:  # it is of another user, or the disk takes no writes: it counts as unused
        return path.exists()
    return True


@contextlib.contextmanager
def _locked(lock: Path, how: int) -> Iterator[None]:
    """Hold a lock that no copy is marked as used while others look whether it is, and remove it."""
    with lock.open("a") as file:
        fcntl.flock(file, how)
        yield
