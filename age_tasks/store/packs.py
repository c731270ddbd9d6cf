"""Packs: compressed copies of what many small objects say, so that reading all of them takes few requests.

    index/<name>/<generation>-<suffix>.json.gz    never changed; the highest generation comes first by name

A pack is never the truth: each can be thrown away and built anew, and one that can't be read is passed over. Its
generation is that of the pack it was made from plus one. So a writer that was slow hides nothing that others packed
meanwhile, and no clock is compared.
"""

import contextlib
import gzip
import logging
import secrets
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from age_tasks.errors import DiskFullError, NotFoundError, StoreError
from age_tasks.store.base import Store
from age_tasks.store.documents import Document

log = logging.getLogger(__name__)

KEPT = 4  # packs, so that readers who listed an older one still find it
ANEW = 1000  # generations between a pack that was built anew and those that were made from the one before it
_MOST = 10**10 - 1

P = TypeVar("P", bound=Document)


@contextlib.contextmanager
def only_logged() -> Iterator[None]:
    """Log that the index could not be brought up to date, and go on: what it indexes is written already."""
    try:
        yield
    except (StoreError, DiskFullError) as error:
        log.warning("the index was not brought up to date: %s", error)


@dataclass(frozen=True)
class Found(Generic[P]):
    """What a reader found: the newest pack that can be read, None if there is none, and the newest keys."""

    pack: P | None
    keys: tuple[str, ...]

    @property
    def generation(self) -> int:
        """Of the newest pack, also if it can't be read; 0 if there is none."""
        name = self.keys[0].rpartition("/")[2].partition("-")[0] if self.keys else ""
        return _MOST - int(name) if name.isdecimal() else 0


@dataclass(frozen=True)
class Packs(Generic[P]):
    """The packs of one kind.

    Args:
        folder: in the store, ending in `/`.
        kind: the class of their content.
    """

    store: Store
    folder: str
    kind: type[P]

    def newest(self) -> Found[P]:
        """The newest pack that can be read; two requests."""
        keys = tuple(self.store.list(self.folder, limit=2 * KEPT))
        for key in keys:
            try:
                content = self.store.get(key)
            except NotFoundError:  # it was replaced meanwhile
                continue
            if pack := self._parsed(content, self.store.where(key)):
                return Found(pack, keys)
        return Found(None, keys)

    def _parsed(self, content: bytes, where: str) -> P | None:
        """The pack; None with a line in the log if it is damaged, or of a newer version."""
        try:
            return self.kind.parse(gzip.decompress(content), where)
        except (StoreError, OSError, EOFError, zlib.error) as error:
            log.warning("%s can't be read (%s); it is passed over, `age-tasks reindex` replaces it", where, error)
            return None

    def put(self, pack: P, made_from: Found[P]) -> None:
        """Add a pack, and remove all but the newest."""
        self._put(pack, made_from.generation + 1, made_from.keys[KEPT - 1 :])

    def replace(self, pack: P) -> None:
        """Put a pack that was built anew, and remove all others."""
        found = Found[P](None, tuple(self.store.list(self.folder)))
        self._put(pack, found.generation + ANEW, found.keys)

    def _put(self, pack: P, generation: int, old: tuple[str, ...]) -> None:
        key = f"{self.folder}{_MOST - generation:010d}-{secrets.token_hex(4)}.json.gz"
        self.store.put(key, gzip.compress(pack.model_dump_json().encode(), 5, mtime=0))
        for each in old:
            self.store.delete(each)
