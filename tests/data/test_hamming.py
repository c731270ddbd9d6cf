"""Pairs within a distance: the same as a comparison of every pair finds, whatever the hashes are like."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from age_tasks.data.hamming import BITS, Hashes, pairs_within

MANY = 1500  # more than are compared pairwise


def every_pair(bits: int, hashes: Hashes, new: int) -> list[tuple[int, int, int]]:
    """What a comparison of every pair finds."""
    signs = np.unpackbits(hashes.view(np.uint8), axis=1).astype(np.float32) * 2 - 1
    distances = ((BITS - signs @ signs.T) / 2).astype(int)
    near = np.triu(distances <= bits, 1)
    near[new:] = False
    return [(int(one), int(other), int(distances[one, other])) for one, other in zip(*np.nonzero(near), strict=True)]


def found(bits: int, hashes: Hashes, new: int) -> list[tuple[int, int, int]]:
    return list(zip(*(column.tolist() for column in pairs_within(bits, hashes, new)), strict=True))


def packed(bits: np.ndarray) -> Hashes:
    """Different hashes of rows of bits, in their order."""
    first = np.unique(bits, axis=0, return_index=True)[1]
    return np.packbits(bits[np.sort(first)].astype(bool), axis=1).view(np.uint64)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(min_size=32, max_size=32), unique=True, max_size=12), st.integers(0, 256), st.data())
def test_few_hashes_and_any_distance(hashes: list[bytes], bits: int, data: st.DataObject):
    words = np.frombuffer(b"".join(hashes), np.uint64).reshape(-1, 4)
    new = data.draw(st.integers(0, len(hashes)))
    assert found(bits, words, new) == every_pair(bits, words, new)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    people=st.integers(1, MANY),  # many images of few, or few of many
    informative=st.integers(20, BITS),  # bits that differ between people; all others are equal, as in dark margins
    flips=st.integers(1, 40),  # bits that differ between images of one person
    in_a_row=st.booleans(),  # next to each other, hence in as many chunks as can be
    bits=st.sampled_from([20, 20, 20, 19, 7, 3, 0]),
    new=st.sampled_from([MANY, MANY, 900, 700]),
)
def test_many_hashes_with_near_ones_among_them(
    seed: int, people: int, informative: int, flips: int, in_a_row: bool, bits: int, new: int
):
    rng = np.random.default_rng(seed)
    layout = np.sort(rng.permutation(BITS)[:informative])
    images = np.zeros((MANY, BITS), np.int8)
    images[:, layout] = rng.integers(0, 2, (people, informative))[rng.integers(people, size=MANY)]
    for image in images:
        count = rng.integers(flips + 1)
        start = rng.integers(BITS)
        changed = np.arange(start, start + count) % BITS if in_a_row else rng.permutation(BITS)[:count]
        image[changed] ^= 1
    hashes = packed(images)
    assert found(bits, hashes, min(new, len(hashes))) == every_pair(bits, hashes, min(new, len(hashes)))


@pytest.mark.parametrize("distance", [19, 20, 21])
def test_pairs_at_the_bound_wherever_they_differ(distance: int):
    rng = np.random.default_rng(distance)
    images = rng.integers(0, 2, (MANY, BITS)).astype(np.int8)
    ones = np.arange(0, MANY, 2)
    images[ones + 1] = images[ones]
    for one in ones:
        images[one + 1, rng.permutation(BITS)[:distance]] ^= 1
    pairs = pairs_within(20, packed(images))
    assert pairs.first.tolist() == (ones.tolist() if distance <= 20 else [])
    assert (pairs.second == pairs.first + 1).all()


def test_large_groups_that_resemble_each_other_are_compared_in_full():
    rng = np.random.default_rng(5)
    images = np.zeros((MANY, BITS), np.int8)
    images[:, :40] = rng.integers(0, 2, (MANY, 40))
    hashes = packed(images)
    assert found(8, hashes, len(hashes)) == every_pair(8, hashes, len(hashes))


def test_progress_is_told():
    told: list[tuple[int, int]] = []
    hashes = packed(np.random.default_rng(1).integers(0, 2, (MANY, BITS)))
    pairs_within(20, hashes, progress=lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] == len(told)
