"""Near duplicates: difference hashes of images, pairs of nearly equal hashes, and the groups that the pairs connect."""

import logging
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

log = logging.getLogger(__name__)

SIDE = 16
BITS = SIDE * SIDE
# Of 7,591 aligned face crops (UTKFace), every pair within 20 bits was one photograph, copied, recoloured or retouched;
# the closest pair of different people was 26 bits apart, and between 21 and 30 bits both kinds occur.
NEAR_BITS = 20
_BLOCK = 2048  # rows of the distance matrix that are in memory at once
_MANY = 50_000  # hashes whose comparison takes a minute or more

Pair = tuple[int, int, int]  # two positions and the distance of their hashes in bits


def difference_hash(image: Image.Image) -> str:
    """256 bits, as 64 hex digits: whether each of 16 x 16 regions is darker than its right neighbour.

    It hardly changes when an image is scaled, recompressed or recoloured (Krawetz, "Kind of like that", 2013; there
    with 8 x 8 regions, too few to tell aligned faces apart).
    """
    grey = image.convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0)
    values = np.asarray(grey, dtype=np.int16)
    return np.packbits(values[:, 1:] > values[:, :-1]).tobytes().hex()


def near_pairs(hashes: Sequence[str], bits: int = NEAR_BITS) -> list[Pair]:
    """All pairs of positions whose hashes differ in at most `bits` of 256, as (first, second, distance), sorted.

    The time is quadratic in the number of hashes (7,591: a second; 100,000: some minutes), the memory linear.
    """
    if not hashes:
        return []
    packed = np.frombuffer(bytes.fromhex("".join(hashes)), dtype=np.uint8).reshape(len(hashes), -1)
    if len(hashes) >= _MANY:
        log.info("comparing %d images pairwise for near duplicates; the time is quadratic in their number", len(hashes))
    signs = np.unpackbits(packed, axis=1).astype(np.float32) * 2 - 1
    return sorted(_pairs_within(signs, bits))


def connected_groups(size: int, pairs: Sequence[Pair]) -> npt.NDArray[np.int32]:
    """A group number for each of `size` positions, equal for positions that pairs connect directly or indirectly."""
    from scipy.sparse import coo_matrix  # slow to import, and most users of this module need only the hash
    from scipy.sparse.csgraph import connected_components

    first, second = ([pair[at] for pair in pairs] for at in (0, 1))
    graph = coo_matrix((np.ones(len(pairs)), (first, second)), shape=(size, size))
    numbers: npt.NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return numbers


def _pairs_within(signs: npt.NDArray[np.float32], bits: int) -> Iterator[Pair]:
    """Pairs of rows, of +1 and -1 for each bit: their product is the number of equal bits minus that of different."""
    for start in range(0, len(signs), _BLOCK):
        distances = (signs.shape[1] - signs[start : start + _BLOCK] @ signs[start:].T) / 2
        for row, column in zip(*np.nonzero(distances <= bits), strict=True):
            if column > row:
                yield int(start + row), int(start + column), int(distances[row, column])
