"""Near duplicates: difference hashes of images, which of them are nearly equal, and the groups that these connect."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, islice, product

import numpy as np
import numpy.typing as npt
from PIL import Image

from age_tasks.data.hamming import Pairs, pairs_within
from age_tasks.progress import Progress

log = logging.getLogger(__name__)

SIDE = 16
# Of 7,591 aligned face crops (UTKFace), every pair within 20 bits was one photograph, copied, recoloured or retouched;
# the closest pair of different people was 26 bits apart, and between 21 and 30 bits both kinds occur.
NEAR_BITS = 20
NEAR_GROUP = "near_group"  # the column of `accepted.csv` with the number of each image's group
_MANY = 50_000  # hashes whose search takes seconds

Pair = tuple[int, int, int]  # two positions and the distance of their hashes in bits
_Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class NearDuplicates:
    """Which images are nearly the same. Those with one hash count as one, as many of them would be very many pairs.

    Args:
        hash_of: the number of each image's hash.
        hashes: how many hashes there are.
        near: pairs of different hashes.
    """

    hash_of: _Positions
    hashes: int
    near: Pairs

    @property
    def count(self) -> int:
        """The number of pairs of images."""
        return self._count(self.hash_of)

    def count_across(self, part_of: Sequence[str]) -> int:
        """The number of pairs whose images are in different parts.

        Args:
            part_of: the part of each image.
        """
        parts = np.asarray(part_of)
        return self.count - sum(self._count(self.hash_of[parts == part]) for part in set(part_of))

    def nearest(self, most: int) -> list[Pair]:
        """At most so many pairs of images, those with the least distance, sorted by it, then by their positions."""
        return sorted(islice(self._pairs(), most), key=lambda pair: (pair[2], *pair[:2]))

    def links(self) -> tuple[_Positions, _Positions]:
        """Pairs of positions that connect all near duplicates, directly or indirectly: one for an image and `near`."""
        first_of = np.unique(self.hash_of, return_index=True)[1]
        one = np.concatenate([first_of[self.hash_of], first_of[self.near.first]])
        return one, np.concatenate([np.arange(len(self.hash_of)), first_of[self.near.second]])

    def groups(self) -> npt.NDArray[np.int32]:
        """The number of each image's group, see `connected_groups`."""
        return connected_groups(len(self.hash_of), *self.links())

    def _count(self, hash_of: _Positions) -> int:
        """The number of pairs of images with these hashes."""
        images = np.bincount(hash_of, minlength=self.hashes)
        return int((images * (images - 1) // 2).sum() + (images[self.near.first] * images[self.near.second]).sum())

    def _pairs(self) -> Iterator[Pair]:
        """All pairs, by distance."""
        ends = np.cumsum(np.bincount(self.hash_of, minlength=self.hashes))
        images = [part.tolist() for part in np.split(np.argsort(self.hash_of, kind="stable"), ends[:-1])]
        for group in images:
            for one, other in combinations(group, 2):
                yield one, other, 0
        order = np.argsort(self.near.bits, kind="stable")
        for first, second, bits in zip(*(column[order].tolist() for column in self.near), strict=True):
            for one, other in product(images[first], images[second]):
                yield min(one, other), max(one, other), bits


def difference_hash(image: Image.Image) -> str:
    """256 bits, as 64 hex digits: whether each of 16 x 16 regions is darker than its right neighbour.

    It hardly changes when an image is scaled, recompressed or recoloured (Krawetz, "Kind of like that", 2013; there
    with 8 x 8 regions, too few to tell aligned faces apart).
    """
    grey = image.convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0)
    values = np.asarray(grey, dtype=np.int16)
    return np.packbits(values[:, 1:] > values[:, :-1]).tobytes().hex()


def find_near_duplicates(hashes: Sequence[str], known: Sequence[str] = ()) -> NearDuplicates:
    """The images whose hashes differ in at most `NEAR_BITS` of 256 bits; a million are searched in about a minute.

    Args:
        hashes: 64 hex digits of each image.
        known: of further images, whose positions follow. They are compared with `hashes`, but not with each other.
    """
    number = {name: at for at, name in enumerate(dict.fromkeys([*hashes, *known]))}
    if len(hashes) >= _MANY:
        log.info("searching %d images for near duplicates", len(hashes))
    words = np.frombuffer(bytes.fromhex("".join(number)), dtype=np.uint64).reshape(-1, 4)
    near = pairs_within(NEAR_BITS, words, len(set(hashes)), Progress("parts of the search for near duplicates"))
    hash_of = np.fromiter(map(number.__getitem__, chain(hashes, known)), np.int64, len(hashes) + len(known))
    return NearDuplicates(hash_of, len(number), near)


def connected_groups(size: int, first: npt.ArrayLike, second: npt.ArrayLike) -> npt.NDArray[np.int32]:
    """A group number for each of `size` positions, equal for positions that pairs connect directly or indirectly.

    Args:
        first, second: the positions of each pair.
    """
    from scipy.sparse import coo_matrix  # slow to import, and most users of this module need only the hash
    from scipy.sparse.csgraph import connected_components

    one, other = np.asarray(first, np.int64), np.asarray(second, np.int64)
    graph = coo_matrix((np.ones(len(one)), (one, other)), shape=(size, size))
    numbers: npt.NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return numbers
