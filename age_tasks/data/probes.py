"""Probing of image files: content digest, size, perceptual hash, quality and problem of each, stored between runs."""

import hashlib
import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from age_tasks.data.decoding import (
    MAX_BYTES,
    PassingProblemError,
    UnreadableImageError,
    decoded,
    decoders,
    decoding_errors,
    read_problem,
    size_problem,
)
from age_tasks.data.image_folder import READ_AHEAD, READERS, ImageFolder, name_problem
from age_tasks.data.image_quality import measure_quality
from age_tasks.data.near_duplicates import difference_hash
from age_tasks.data.parallel import in_order
from age_tasks.errors import LabelsError, NotFoundError, SettingsError
from age_tasks.store.disk import is_full

log = logging.getLogger(__name__)

# `missing`: the folder has no such file, or the name is not valid; `unreadable`: the file is no image that decodes.
ImageState = Literal["ok", "missing", "unreadable"]

INDEX = "probes-3.sqlite"  # increase the number when the columns change
FORMER_INDEX = "probes-2.sqlite"  # of version 0.1, which did not measure the quality of images
LOCKED_SECONDS = 60  # that another run may take for a transaction

_COLUMNS = (
    "folder", "name", "state", "sha256", "width", "height", "bytes", "problem", "dhash",
    "brightness", "sharpness", "colour",
)  # fmt: skip
READER = 1  # increase it when files that an earlier version could not decode may decode now
_checked: set[Path] = set()  # indexes that this process has found undamaged
_COMMIT_EVERY = 500  # files; short transactions, since other runs write to the index too


@dataclass(frozen=True)
class Probe:
    """What is known of an image file.

    Args:
        state: whether there is an image that decodes entirely.
        sha256: of the file's content, 64 hex digits; empty if it was not read.
        width: in pixels, upright; 0 if unknown.
        height: in pixels, upright; 0 if unknown.
        bytes: size of the file.
        problem: why the state is not `ok`, for people.
        dhash: `difference_hash` of the upright image, 64 hex digits; empty if it does not decode.
        brightness, sharpness, colour: see `ImageQuality`; None and empty if it does not decode.
    """

    state: ImageState
    sha256: str = ""
    width: int = 0
    height: int = 0
    bytes: int = 0
    problem: str = ""
    dhash: str = ""
    brightness: float | None = None
    sharpness: float | None = None
    colour: str = ""


EMPTY = "empty file (0 bytes)"
MISSING = Probe("missing", problem="no such file in the images folder")


def probe_file(path: Path) -> Probe:
    """Read and decode one image file entirely. Never raises for what the file contains, or that it can't be read."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return MISSING
    except OSError as error:
        return Probe("unreadable", problem=read_problem(error))
    if size > MAX_BYTES:
        return Probe("unreadable", bytes=size, problem=size_problem(size))
    data = b""
    try:
        with decoding_errors(path):
            if not (data := path.read_bytes()):
                return Probe("unreadable", problem=EMPTY)
            image, size_in_pixels = decoded(data)
            quality, dhash = measure_quality(image), difference_hash(image)
            return Probe("ok", _sha256(data), *size_in_pixels, len(data), dhash=dhash, **vars(quality))
    except PassingProblemError as error:
        return Probe("unreadable", problem=str(error))
    except UnreadableImageError as error:
        return Probe("unreadable", _sha256(data), bytes=len(data), problem=str(error)) if data else MISSING


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def probe_images(
    folder: ImageFolder,
    names: Iterable[str],
    cache: Path,
    progress: Callable[[int, int], None] | None = None,
    again: bool = False,
) -> tuple[dict[str, Probe], int]:
    """Probe each of the named files. A file is read only if it has changed since it was last probed.

    A file with a problem is also read again when the decoders are others. A file that can't be read is a problem of
    this file alone.

    Args:
        cache: folder of the index that stores probes between runs.
        progress: called with (files read, files to read).
        again: read every file, changed or not.

    Returns:
        A probe for each distinct name, and how many files were read.

    Raises:
        StoreError: the folder as a whole can't be read, or a file can't be fetched from the bucket.
    """
    names = sorted(set(names))
    probes = {name: Probe("missing", problem=problem) for name in names if (problem := name_problem(name))}
    stamps = {name: folder.stamp(name) for name in names if name not in probes}
    probes |= {name: _without_stamp(folder, name) for name, stamp in stamps.items() if stamp is None}
    if again:
        folder.fetch_again(names)
    with closing(open_index(cache)) as index:
        if not again:
            probes |= _stored_probes(index, folder.identity, stamps)
        unread = [name for name in names if name not in probes]
        rows: list[tuple[str | float | None, ...]] = []
        for count, (name, probe) in enumerate(_probe_in_parallel(folder, unread), start=1):
            probes[name] = probe
            if _lasts(probe):
                size = (probe.width, probe.height, probe.bytes)
                quality = (probe.brightness, probe.sharpness, probe.colour)
                known = (probe.sha256, *size, probe.problem, probe.dhash, *quality)
                rows.append((folder.identity, name, _stored_stamp(stamps[name], probe.problem), *known))
            if count % _COMMIT_EVERY == 0 or count == len(unread):
                with index:
                    index.executemany(f"REPLACE INTO probes VALUES ({', '.join('?' * len(_COLUMNS))})", rows)
                rows = []
            if progress:
                progress(count, len(unread))
    return probes, len(unread)


def stored_probes(cache: Path) -> list[tuple[str, str, str]]:
    """Of each file in the index its name, sha256 and problem."""
    with closing(open_index(cache)) as index:
        return index.execute("SELECT name, sha256, problem FROM probes").fetchall()


def delete_probes(cache: Path, names: Iterable[str]) -> None:
    """Delete files from the index, so that they are read again."""
    with closing(open_index(cache)) as index, index:
        index.executemany("DELETE FROM probes WHERE name = ?", [(name,) for name in names])


def erase_probes(cache: Path, names: Iterable[str]) -> None:
    """Delete files from the index, and leave nothing of them in the file of the database, which is written anew.

    Overwriting deleted rows would not do: where pages were split, they also hold copies of rows that have moved.
    """
    delete_probes(cache, names)
    with closing(open_index(cache)) as index:
        index.execute("VACUUM")


def open_index(cache: Path) -> sqlite3.Connection:
    """The database; a new one in place of one that is damaged, since images can be read again.

    Raises:
        SettingsError: there can be none in this folder.
    """
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / INDEX
    try:
        try:
            return _connected(path)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            log.warning("%s is damaged (%s): a new one is made, and images are read again", path, error)
            for each in cache.glob(f"{INDEX}*"):  # with its journal
                each.unlink()
            return _connected(path)
    except sqlite3.OperationalError as error:
        if is_full(error):
            raise
        raise SettingsError(
            f"{path} can't be used: {error}; check the folder and its permissions, end what else uses it, or choose "
            "another (AGE_CACHE)"
        ) from None


def _connected(path: Path) -> sqlite3.Connection:
    """The database; its column `state` holds `_stored_stamp`."""
    index = sqlite3.connect(path, timeout=LOCKED_SECONDS)
    try:
        if path not in _checked:
            _check(index)
        _prepare(index)
        _checked.add(path)
        if (former := path.with_name(FORMER_INDEX)).exists():
            _take_over(index, former)
    except BaseException:
        index.close()
        raise
    return index


def _check(index: sqlite3.Connection) -> None:
    """Read the whole database, which takes seconds where it is large.

    Raises:
        sqlite3.DatabaseError: it is damaged.
    """
    if (found := index.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        raise sqlite3.DatabaseError(found)


def _prepare(index: sqlite3.Connection) -> None:
    """Bring the database to this version."""
    index.execute(f"CREATE TABLE IF NOT EXISTS probes ({', '.join(_COLUMNS)}, PRIMARY KEY (folder, name))")
    if index.execute("PRAGMA user_version").fetchone()[0] < READER:
        with index:
            index.execute("DELETE FROM probes WHERE problem != ''")
            index.execute(f"PRAGMA user_version = {READER}")


def _take_over(index: sqlite3.Connection, former: Path) -> None:
    """Replace the index of version 0.1. Its images are read again; meanwhile they are known, for `forget`."""
    try:
        with closing(sqlite3.connect(former)) as before:
            known = before.execute("SELECT folder, name, sha256, problem FROM probes").fetchall()
    except sqlite3.OperationalError:  # in use
        return
    except sqlite3.DatabaseError:  # damaged
        known = []
    unread = "INSERT OR IGNORE INTO probes (folder, name, state, sha256, problem) VALUES (?, ?, '', ?, ?)"
    with index:
        index.executemany(unread, known)
    for each in former.parent.glob(f"{former.name}*"):
        each.unlink(missing_ok=True)


def _stored_probes(index: sqlite3.Connection, folder: str, stamps: dict[str, str | None]) -> dict[str, Probe]:
    """The probes of files that have not changed since. Missing files are never stored."""
    present = [name for name, stamp in stamps.items() if stamp]
    if not present:
        return {}
    # SQLite compares names by their UTF-8 bytes, which is Python's order; no other row of a large index is read.
    between = "folder = ? AND name BETWEEN ? AND ?"
    asked = (folder, min(present), max(present))
    rows = index.execute(f"SELECT {', '.join(_COLUMNS[1:])} FROM probes WHERE {between}", asked)
    return {
        name: Probe("unreadable" if problem else "ok", sha256, width, height, size, problem, dhash, *quality)
        for name, stamp, sha256, width, height, size, problem, dhash, *quality in rows
        if stamps.get(name) and stamp == _stored_stamp(stamps[name], problem)
    }


def _stored_stamp(stamp: str | None, problem: str) -> str | None:
    """The stamp of a file; of one with a problem also what refused it, so that other decoders read it again."""
    return f"{stamp} {decoders()}" if problem else stamp


def _probe_in_parallel(folder: ImageFolder, names: list[str]) -> Iterator[tuple[str, Probe]]:
    """Probe in threads (the decoders release the interpreter lock), a bounded number of files ahead."""
    return zip(names, in_order(partial(_probe, folder), folder.fetched(names), READERS, READ_AHEAD), strict=True)


def _probe(folder: ImageFolder, name: str) -> Probe:
    """Probe one file, which may have vanished since its stamp was taken.

    Raises:
        StoreError: the folder as a whole can't be read.
    """
    if (size := folder.size(name)) > MAX_BYTES:
        return Probe("unreadable", bytes=size, problem=size_problem(size))
    try:
        probe = probe_file(folder.path(name))
    except (LabelsError, NotFoundError):
        return _without_stamp(folder, name)
    if not _lasts(probe):
        folder.require_readable()
    return probe


def _without_stamp(folder: ImageFolder, name: str) -> Probe:
    """The probe of a name of which the folder has no ordinary file."""
    if obstacle := folder.obstacle(name):
        state: ImageState = "unreadable" if obstacle.startswith("can't be read") else "missing"
        return Probe(state, problem=obstacle)
    return Probe("missing", problem=folder.missing(name))


def _lasts(probe: Probe) -> bool:
    """Whether the probe tells of the file's content: that a file can't be read may pass without a change of it."""
    return bool(probe.sha256 or probe.bytes or probe.problem == EMPTY)
