"""Free disk space: checked before long work, and an error that names the full disk and the remedy."""

import contextlib
import errno
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from age_tasks.errors import AgeTasksError, DiskFullError, SettingsError

_UNUSABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT, errno.EISDIR}
# SQLite, HDF5 and NumPy report a full disk by a message, without `errno`.
_FULL_DISK_MESSAGE = re.compile(r"No space left on device|errno = 28\b|disk is full|\d+ requested and \d+ written")


@contextlib.contextmanager
def full_disk_named(places: Mapping[str, Path]) -> Iterator[None]:
    """Turn the errors that a full disk, or a folder that can't be written to, causes inside into ours.

    Args:
        places: name of the variable or option that chooses a folder → the folder.

    Raises:
        DiskFullError: a write failed because a disk, or a quota, was full; about the fullest of `places`.
        SettingsError: one of `places` can't be used.
    """
    try:
        yield
    except AgeTasksError:
        raise
    except Exception as error:
        if not is_full(error):
            raise _unusable(error, places) or error from None
        chosen_by = min(places, key=lambda name: free_bytes(places[name]))
        raise disk_full(places[chosen_by], chosen_by) from error


def _unusable(error: Exception, places: Mapping[str, Path]) -> SettingsError | None:
    """That a folder can't be used, if this is what the system says of a file in it, or of the folder itself."""
    if not isinstance(error, OSError) or not isinstance(error.filename, str) or error.errno not in _UNUSABLE:
        return None
    missing, path = error.errno == errno.ENOENT, Path(error.filename)
    found = [
        name
        for name, folder in places.items()
        if folder.is_relative_to(path) or (path.is_relative_to(folder) and not missing)
    ]
    if not found:
        return None
    chosen_by = max(found, key=lambda name: len(places[name].parts))
    return SettingsError(
        f"{error.filename} can't be used: {error.strerror}; check the folder and its permissions, or choose "
        f"another ({chosen_by})"
    )


def require_room(folder: Path, chosen_by: str, needed: int) -> None:
    """Check that `needed` bytes are free, before long work that would otherwise fill the disk.

    Raises:
        DiskFullError: fewer are free.
    """
    if free_bytes(folder) < needed:
        raise disk_full(folder, chosen_by, needed)


def is_full(error: BaseException | None) -> bool:
    """Whether a full disk or an exhausted quota caused this error."""
    if error is None:
        return False
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return True
    return bool(_FULL_DISK_MESSAGE.search(str(error))) or is_full(error.__cause__ or error.__context__)


def disk_full(folder: Path, chosen_by: str, needed: int | None = None) -> DiskFullError:
    """The error for a full disk, to be raised by the caller.

    Args:
        chosen_by: the variable or option that chooses the folder.
        needed: bytes that did not fit, if known.
    """
    wanted = "" if needed is None else f"{_megabytes(needed)} are needed, "
    return DiskFullError(
        f"no space left on the disk of {folder}: {wanted}{_megabytes(free_bytes(folder))} are free; free space there "
        f"or choose another folder ({chosen_by}), then run it again: finished stages are reused"
    )


def free_bytes(folder: Path) -> int:
    """Free bytes on the disk of a folder, which need not exist yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
