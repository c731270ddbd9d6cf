"""Probes that several machines exchange through a store: each sends what it has read, and takes what others have.

An object holds rows of the index of probes: `{"columns": [...], "rows": [[...], ...]}`. Objects are never changed,
except to erase an image; their names begin with the time, so that the newest row of a file counts. Files with a problem
are not exchanged: another machine may have decoders that read them.
"""

import contextlib
import json
import logging
import sqlite3
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from age_tasks.data.image_folder import ImageFolder
from age_tasks.data.probes import INDEX, READER, Probe, open_index, probe_images
from age_tasks.data.remote_cache import THREADS
from age_tasks.errors import NotFoundError
from age_tasks.stopwatch import timed
from age_tasks.store.base import Store, from_json

log = logging.getLogger(__name__)

PROBES = "probes/"
VERSION = f"{PROBES}{Path(INDEX).stem}.{READER}/"
BATCH = 5000  # files between two exchanges: what a worker that is killed has read since the last one is lost

Rows = dict[str, Any]
"""The content of an object: `columns` and `rows`."""


@timed("input")
def probe_and_exchange(
    folder: ImageFolder,
    names: Iterable[str],
    cache: Path,
    remote: Store | None,
    progress: Callable[[int, int], None],
    again: bool = False,
) -> tuple[dict[str, Probe], int]:
    """As `probe_images`, without reading files that another machine has read without a problem.

    Args:
        cache: the root of the local cache.
        remote: the store of the exchange; None: there is none.
        progress: called with (files done, all files).

    Raises:
        StoreError: the store can't be reached, or the images as `probe_images` says.
    """
    if remote is None:
        return probe_images(folder, names, cache, progress, again)
    exchange(remote, cache)
    ordered, probes, images_read = sorted(set(names)), dict[str, Probe](), 0
    for start in range(0, len(ordered), BATCH):
        batch = ordered[start : start + BATCH]

        def tell(done: int, total: int, before: int = start + len(batch)) -> None:
            progress(before - total + done, len(ordered))

        found, read = probe_images(folder, batch, cache, tell, again)
        probes.update(found)
        images_read += read
        if read:
            _send(remote, cache)
    return probes, images_read


def exchange(remote: Store, cache: Path) -> None:
    """Send the rows that could not be sent before, and take those that others have sent.

    What the index held before the first exchange is not sent: images may have been erased elsewhere since.
    """
    _send(remote, cache)
    with closing(_index(cache)) as index:
        taken = {key for (key,) in index.execute("SELECT object FROM taken")}
        new = [key for key in remote.list(VERSION) if key not in taken]
        for key, found in zip(new, _fetched(remote, new), strict=True):
            _take(index, key, found)
    if new:
        log.info("probes: took %d objects from %s", len(new), remote.url)


def sent_probes(remote: Store) -> Iterator[tuple[str, Rows]]:
    """The objects of all versions, each with its key."""
    keys = remote.list(PROBES)
    for key, found in zip(keys, _fetched(remote, keys), strict=True):
        if found:
            yield key, found


def sent_files(remote: Store) -> Iterator[tuple[str, str, str]]:
    """Of each file in the objects of all versions its name, sha256 and problem."""
    for _, found in sent_probes(remote):
        for row in found["rows"]:
            known = dict(zip(found["columns"], row, strict=True))
            yield known["name"], known["sha256"], known["problem"]


def rows_of(found: Rows, names: Collection[str]) -> list[list[Any]]:
    """The rows of an object that are about files of these names."""
    at = found["columns"].index("name")
    return [row for row in found["rows"] if row[at] in names]


def erase_rows(remote: Store, key: str, found: Rows, names: Collection[str]) -> None:
    """Replace an object by one without the rows of files of these names; none replaces it if no row is left."""
    own = rows_of(found, names)
    if kept := [row for row in found["rows"] if row not in own]:
        remote.put(key, json.dumps(found | {"rows": kept}).encode())
    else:
        remote.delete(key)


def _send(remote: Store, cache: Path) -> None:
    """Put the rows that were added to the index since the last time, and not taken, into the store as one object."""
    with closing(_index(cache)) as index:
        (last,), newest = index.execute("SELECT max(row) FROM sent").fetchone(), _newest(index)
        own = (
            "rowid > ? AND rowid <= ? AND problem = '' "
            "AND NOT EXISTS (SELECT 1 FROM taken WHERE probes.rowid BETWEEN first AND last)"
        )
        rows = [] if last is None else index.execute(f"SELECT * FROM probes WHERE {own}", (last, newest)).fetchall()
        key = f"{VERSION}{datetime.now(UTC):%Y%m%dT%H%M%S%f}Z-{uuid.uuid4().hex}.json"
        if rows:
            remote.put(key, json.dumps({"columns": _columns(index), "rows": rows}).encode())
        with index:
            if rows:
                index.execute("INSERT INTO taken VALUES (?, NULL, NULL)", (key,))
            index.execute("INSERT INTO sent VALUES (?)", (newest,))


def _take(index: sqlite3.Connection, key: str, found: Rows | None) -> None:
    """Put the rows of an object into the index, and remember which they are: they are not sent again.

    Rows of files with a problem, which earlier versions sent, are left out.
    """
    columns = _columns(index)
    with index:
        index.execute("BEGIN IMMEDIATE")  # no other process adds rows between these
        first = _newest(index) + 1
        if found and found["columns"] == columns:
            rows = [row for row in found["rows"] if not row[columns.index("problem")]]
            index.executemany(f"REPLACE INTO probes VALUES ({', '.join('?' * len(columns))})", rows)
        index.execute("INSERT OR IGNORE INTO taken VALUES (?, ?, ?)", (key, first, _newest(index)))


def _fetched(remote: Store, keys: list[str]) -> Iterator[Rows | None]:
    """The content of the objects; None for one that is gone or is none of ours."""

    def fetch(key: str) -> Rows | None:
        with contextlib.suppress(NotFoundError, ValueError, AttributeError, TypeError):
            found: Rows = from_json(remote.get(key))
            columns, rows = found.get("columns", ()), found.get("rows", ())
            if {"name", "sha256", "problem"} <= set(columns) and all(len(row) == len(columns) for row in rows):
                return {"columns": columns, "rows": rows}
        log.warning("%s holds no probes: passed over", remote.where(key))
        return None

    with ThreadPoolExecutor(THREADS) as pool:
        yield from pool.map(fetch, keys)


def _index(cache: Path) -> sqlite3.Connection:
    """The index of probes, with what was taken from the store, and the last row that was sent."""
    index = open_index(cache)
    with index:
        index.execute("CREATE TABLE IF NOT EXISTS taken (object PRIMARY KEY, first, last)")
        index.execute("CREATE TABLE IF NOT EXISTS sent (row)")
    return index


def _newest(index: sqlite3.Connection) -> int:
    newest: int = index.execute("SELECT coalesce(max(rowid), 0) FROM probes").fetchone()[0]
    return newest


def _columns(index: sqlite3.Connection) -> list[str]:
    return [name for _, name, *_ in index.execute("PRAGMA table_info(probes)")]
