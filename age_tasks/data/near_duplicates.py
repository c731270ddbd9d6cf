"""Pictures that show the same: difference hashes, near pairs, and the groups that they join."""

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

SIDE = 16
BITS = SIDE * SIDE
# Of 7,591 aligned face crops (UTKFace), every pair within 20 bits was one photograph, copied, recoloured or retouched;
# the first two different people were 26 bits apart, and between 21 and 30 bits the two kinds mix.
NEAR_BITS = 20
BLOCK = 2048

Pair = tuple[int, int, int]


def difference_hash(image: Image.Image) -> str:
    """256 bits, as 64 hex digits: whether each of 16 x 16 regions is darker than its right neighbour.

    It hardly changes when a picture is scaled, recompressed or recoloured (Krawetz, "Kind of like that", 2013; there
    with 8 x 8 regions, too few to tell aligned faces apart).
    """
    grey = image.convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0)
    values = np.asarray(grey, dtype=np.int16)
    return np.packbits(values[:, 1:] > values[:, :-1]).tobytes().hex()


def near_pairs(hashes: Sequence[str], bits: int = NEAR_BITS) -> list[Pair]:
    """All pairs of positions whose hashes differ in at most `bits` of 256, as (first, second, distance), in order.

    Takes time in the square of the number of hashes (7,591: a second; 100,000: some minutes), memory in the number.
    """
    if not hashes:
        return []
    packed = np.frombuffer(bytes.fromhex("".join(hashes)), dtype=np.uint8).reshape(len(hashes), -1)
    signs = np.unpackbits(packed, axis=1).astype(np.float32) * 2 - 1
    return sorted(_near(signs, bits))


def groups(size: int, pairs: Sequence[Pair]) -> np.ndarray:
    """A group number for each of `size` positions: the same for all that pairs connect, directly or by others."""
    from scipy.sparse import coo_matrix  # most who import this module need the hash only
    from scipy.sparse.csgraph import connected_components

    first, second = ([pair[at] for pair in pairs] for at in (0, 1))
    graph = coo_matrix((np.ones(len(pairs)), (first, second)), shape=(size, size))
    return connected_components(graph, directed=False)[1]


def _near(signs: np.ndarray, bits: int) -> Iterator[Pair]:
    """Of two rows of +1 and -1, the product is the number of equal bits less that of different ones."""
    for start in range(0, len(signs), BLOCK):
        distances = (signs.shape[1] - signs[start : start + BLOCK] @ signs[start:].T) / 2
        for row, column in zip(*np.nonzero(distances <= bits), strict=True):
            if column > row:
                yield int(start + row), int(start + column), int(distances[row, column])
