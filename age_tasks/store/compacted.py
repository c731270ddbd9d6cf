"""A folder of immutable JSON documents, of which all are read in a constant number of requests."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from age_tasks.store.base import Store
from age_tasks.store.documents import Document
from age_tasks.store.packs import Found, Packs

# So many of the newest documents in the pack are listed again: one that became visible late, or that a racing writer
# named earlier, is found among them, and one that was removed vanishes.
LISTED_AGAIN = 500
READERS = 8  # documents that are read at the same time
FEW = 4  # which are read one after the other: a new thread needs a connection of its own

D = TypeVar("D", bound=Document)


class DocumentPack(Document, Generic[D]):
    """What the documents of a folder say, by key, in order of key."""

    documents: dict[str, D]


@dataclass(frozen=True)
class Reading(Generic[D]):
    """Every document by its key, in order of key, and the pack that most of them come from."""

    documents: dict[str, D]
    found: Found[DocumentPack[D]]


@dataclass(frozen=True)
class CompactedFolder(Generic[D]):
    """The documents of a folder, which are never changed; the listing of the folder decides which there are.

    Args:
        folder: of the documents, ending in `/`.
        index: the folder of the packs.
        kind: the class of the documents.
        pack: `DocumentPack` of this class.
    """

    store: Store
    folder: str
    index: str
    kind: type[D]
    pack: type[DocumentPack[D]]

    def read(self) -> Reading[D]:
        """Every document; three requests as a rule.

        Raises:
            DamagedError: one that is in no pack can't be read.
        """
        found = self._packs.newest()
        known = found.pack.documents if found.pack else {}
        before = list(known)[:-LISTED_AGAIN]
        listed = self.store.list(self.folder, after=before[-1] if before else "")
        documents = known | self._fetched(key for key in listed if key not in known)
        return Reading({key: documents[key] for key in [*before, *listed]}, found)

    def compact(self, reading: Reading[D], complete: Callable[[D], D] = lambda document: document) -> None:
        """Put a pack of all documents that were read.

        Args:
            complete: adds what the pack shall say beside the document itself.
        """
        self._packs.put(self._packed(reading.documents, complete), reading.found)

    def rebuild(self, complete: Callable[[D], D] = lambda document: document) -> int:
        """Replace all packs by one that is read from the documents; returns the number of documents."""
        found = self._fetched(self.store.list(self.folder))
        self._packs.replace(self._packed(found, complete))
        return len(found)

    @property
    def _packs(self) -> Packs[DocumentPack[D]]:
        return Packs(self.store, self.index, self.pack)

    def _fetched(self, keys: Iterable[str]) -> dict[str, D]:
        return read_all(keys, lambda key: self.kind.parse(self.store.get(key), self.store.where(key)))

    def _packed(self, found: dict[str, D], complete: Callable[[D], D]) -> DocumentPack[D]:
        return self.pack(documents=dict(zip(found, map(complete, found.values()), strict=True)))


T = TypeVar("T")


def read_all(keys: Iterable[str], read: Callable[[str], T]) -> dict[str, T]:
    """What `read` returns for each key; of many keys, several at the same time."""
    wanted = list(keys)
    if len(wanted) <= FEW:
        return {key: read(key) for key in wanted}
    with ThreadPoolExecutor(READERS) as readers:
        return dict(zip(wanted, readers.map(read, wanted), strict=True))
