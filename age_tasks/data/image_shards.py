"""Images in tar files, as WebDataset writes them: `s3://bucket/faces/*.tar`, `/faces/*.tar`.

Each tar file is read once, from beginning to end: where its members are goes into an index in the cache, and the
members themselves become local copies as long as these have room. A member whose copy is gone is read again by its
place.

    <cache>/shards/<digest of the tar file's address and tag>.json
"""

import hashlib
import logging
import threading
import time
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

from pydantic import TypeAdapter, ValidationError

from age_tasks.data.decoding import MAX_BYTES
from age_tasks.data.image_copies import ImageCopies
from age_tasks.data.parallel import in_order
from age_tasks.data.tar_members import DamagedTarError, members
from age_tasks.errors import LabelsError
from age_tasks.progress import Progress
from age_tasks.store import open_store
from age_tasks.store.addresses import tar_files
from age_tasks.store.base import TEMPORARY, Entry, atomic_write

log = logging.getLogger(__name__)

VERSION = "1"  # of the index
_STREAMS = 4  # tar files that are read at a time
NO_IMAGES = (".json", ".txt", ".cls", ".csv")  # what WebDataset has beside images: no copies are made of it


class Place(NamedTuple):
    """Where the content of a member is."""

    name: str
    offset: int  # from the beginning of the tar file, in bytes
    size: int  # in bytes
    sha256: str  # of the content, 64 hex digits; empty where it was not read
    kind: str  # what the member is if it is no ordinary file; else empty


_INDEX = TypeAdapter(list[Place])


class ImageShards:
    """The members of all tar files that a pattern names; see `Store` for the methods.

    Attributes:
        obstacles: by the name of a member that can't be used the reason.

    Args:
        location: a path or an `s3://` address that ends in a pattern such as `*.tar`.
        cache: the root of the local cache.
        bound: see `ImageCopies`.

    Raises:
        LabelsError: no file has such a name, or one of them is no tar file, or is cut off.
        StoreError: the bucket or folder can't be read.
    """

    def __init__(self, location: str, cache: Path, bound: float) -> None:
        folder, pattern = tar_files(location)
        self._store = open_store(folder)
        self.url = f"{self._store.url if folder.startswith('s3://') else folder}/{pattern}"
        self.copies = ImageCopies(cache, self.url, bound)
        self._indexes, self._bound = cache / "shards", bound
        self._copied, self._lock = 0, threading.Lock()
        named = (entry for entry in self._store.entries() if "/" not in entry.key and fnmatchcase(entry.key, pattern))
        found = [entry for entry in named if not entry.key.startswith(TEMPORARY)]
        if not found:
            raise LabelsError(
                f"no tar file at {location}; name the files that hold the images (AGE_IMAGES), such as {folder}/*.tar"
            )
        self._places: dict[str, tuple[Entry, Place]] = {}
        self.obstacles: dict[str, str] = {}
        self._read(found)

    def entries(self) -> Iterator[Entry]:
        """The members that are ordinary files, each in one tar file only."""
        for name, (shard, place) in self._places.items():
            yield Entry(name, place.size, _tag(shard, place))

    def fetch(self, name: str, to: Path) -> None:
        """Write a member's content to a file, atomically.

        Raises:
            StoreError: its tar file was replaced, or can't be read.
        """
        shard, place = self._places[name]
        content = self._store.get_part(shard, place.offset, place.size, place.sha256)
        with atomic_write(to) as temporary:
            temporary.write_bytes(content)

    def place(self, name: str) -> tuple[Entry, Place] | None:
        """The tar file that holds a member, and where in it; None if there is no such member."""
        return self._places.get(name)

    def _read(self, shards: list[Entry]) -> None:
        progress = Progress("tar files of images read")
        for count, (shard, places) in enumerate(
            zip(shards, in_order(self._index, shards, _STREAMS, 2 * _STREAMS), strict=True), start=1
        ):
            for place in places:
                self._add(shard, place)
            progress(count, len(shards))

    def _add(self, shard: Entry, place: Place) -> None:
        name = place.name
        if name in self.obstacles:
            return
        if place.kind:
            self.obstacles[name] = f"{self._store.where(shard.key)} has {place.kind} of this name; put the file itself"
        elif name in self._places:
            other = self._places.pop(name)[0]
            self.obstacles[name] = (
                f"{self._store.where(shard.key)} and {self._store.where(other.key)} both have a member of this name; "
                "rename one of them"
                if shard is not other
                else f"{self._store.where(shard.key)} has several members of this name; leave one"
            )
        else:
            self._places[name] = shard, place

    def _index(self, shard: Entry) -> list[Place]:
        """The members of a tar file: from the cache, or by reading it."""
        where = self._store.where(shard.key)
        digest = hashlib.sha256(f"{VERSION}\n{where}\n{shard.size} {shard.etag}".encode()).hexdigest()
        path = self._indexes / f"{digest}.json"
        try:
            found = _INDEX.validate_json(path.read_bytes())
            path.touch()
            return found
        except (FileNotFoundError, ValidationError):
            log.info("reading %s (%.1f MB)", where, shard.size / 1e6)
        result = self._store.read_through(shard.key, partial(self._copy_all, shard))
        if isinstance(result, DamagedTarError):
            raise LabelsError(
                f"{where} is no whole tar file: {result}; write it anew with `tar -cf`, or choose others by AGE_IMAGES"
            )
        if isinstance(result, OSError):
            raise result
        with atomic_write(path) as temporary:
            temporary.write_bytes(_INDEX.dump_json(result))
        return result

    def _copy_all(self, shard: Entry, file: BinaryIO) -> list[Place] | DamagedTarError | OSError:
        """Read a tar file and copy its images, as long as there is room.

        Returns:
            Its members; or why there are none: it is damaged, or the copies can't be written. To raise this is left to
            the caller, who knows whether the file was read unchanged.
        """
        found = []
        try:
            for member, content in members(file, MAX_BYTES):
                sha256 = "" if content is None else hashlib.sha256(content).hexdigest()
                place = Place(_text(member.name), member.offset, member.size, sha256, member.kind)
                found.append(place)
                if content and not place.name.lower().endswith(NO_IMAGES) and self._has_room(member.size):
                    try:
                        self.copies.put(place.name, _tag(shard, place), content)
                    except OSError as error:
                        return error
        except DamagedTarError as error:
            return error
        return found

    def _has_room(self, size: int) -> bool:
        """Whether another copy fits, so that no copy of this reading is removed for a later one."""
        with self._lock:
            self._copied += size
            return self._copied < 0.8 * self._bound


def _tag(shard: Entry, place: Place) -> str:
    """Changes when the member does; with its tar file, every member changes."""
    return f"{shard.etag} {place.offset}"


def indexed_members(cache: Path) -> Iterator[tuple[Path, list[Place]]]:
    """The indexes of tar files in the local cache, each with its members; of a damaged one, none."""
    for path in sorted((cache / "shards").glob("*.json")):
        try:
            yield path, _INDEX.validate_json(path.read_bytes())
        except ValidationError:
            yield path, []


def unused_indexes(cache: Path, seconds: float) -> dict[Path, int]:
    """Indexes that nobody has used for so long, with their sizes in bytes."""
    files = [(path, path.stat()) for path in (cache / "shards").glob("*.json")]
    return {path: found.st_size for path, found in files if found.st_mtime < time.time() - seconds}


def _text(name: str) -> str:
    """A name that can be written as JSON: what is no UTF-8 becomes a code with a backslash, which labels can't have."""
    return name.encode(errors="backslashreplace").decode()
