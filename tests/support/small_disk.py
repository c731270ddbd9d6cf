"""A small disk for tests: a file system in memory, which root may mount."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path


class NotPossibleHere(RuntimeError):
    """No file system can be mounted here."""


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: float) -> Iterator[Path]:
    """Mount an empty disk of that size at `folder`.

    Raises:
        NotPossibleHere: mounting is not allowed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    size = f"size={int(megabytes * 1e6)}"
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], check=True, capture_output=True, text=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotPossibleHere(f"no disk can be mounted here: {getattr(error, 'stderr', error)}") from error
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True, capture_output=True)


@contextlib.contextmanager
def filled(folder: Path, left: int) -> Iterator[None]:
    """Leave `left` bytes of a small disk, until the end of the context."""
    filler = folder / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            block = bytes(4096)
            for _ in range(max(shutil.disk_usage(folder).free - left, 0) // len(block)):
                file.write(block)
        yield
    finally:
        filler.unlink()
