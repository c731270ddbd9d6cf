"""A full disk, whichever library meets it, as an error that names the disk and what to do."""

import contextlib
import errno
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from age_tasks.errors import AgeTasksError, DiskFullError

# Not every library keeps the number of the error: SQLite, HDF5 and NumPy say it in their own words.
_SAID = re.compile(r"No space left on device|errno = 28\b|disk is full|\d+ requested and \d+ written")


@contextlib.contextmanager
def full_disk_named(places: Mapping[str, Path]) -> Iterator[None]:
    """Raise what a full disk makes of the work inside as DiskFullError, about the fullest of `places`.

    Args:
        places: the variable or option that chooses a folder → the folder.
    """
    try:
        yield
    except AgeTasksError:
        raise
    except Exception as error:
        if not is_full(error):
            raise
        chosen_by = min(places, key=lambda name: free_bytes(places[name]))
        raise disk_full(places[chosen_by], chosen_by) from error


def require_room(folder: Path, chosen_by: str, needed: int) -> None:
    """See to it that `needed` bytes can be written, before a long work begins that would end in a full disk.

    Raises:
        DiskFullError: they can't.
    """
    if free_bytes(folder) < needed:
        raise disk_full(folder, chosen_by, needed)


def is_full(error: BaseException | None) -> bool:
    """Whether a full disk, or a used up quota, is behind this error."""
    if error is None:
        return False
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return True
    return bool(_SAID.search(str(error))) or is_full(error.__cause__ or error.__context__)


def disk_full(folder: Path, chosen_by: str, needed: int | None = None) -> DiskFullError:
    """The error to raise.

    Args:
        chosen_by: the variable or option that chooses the folder.
        needed: bytes that had no room, if it is known.
    """
    wanted = "" if needed is None else f"{_megabytes(needed)} are needed, "
    return DiskFullError(
        f"no space left on the disk of {folder}: {wanted}{_megabytes(free_bytes(folder))} are free; make room there or "
        f"choose another folder ({chosen_by}), then run it again: what had finished is kept"
    )


def free_bytes(folder: Path) -> int:
    """Room on the disk that a folder lies on, or would lie on."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
