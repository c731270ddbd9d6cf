"""All pairs of hashes that differ in few bits: an exact search that compares only hashes that agree in many bits.

The 256 bits are cut into chunks, and the chunks form groups. Each group has a share of the bits that may differ, such
that a pair beyond the shares of all groups would differ in too many bits (the general pigeonhole principle of Qin et
al., "GPH: Similarity Search in Hamming Space", ICDE 2018). A group has `_EQUAL` more chunks than its share: where it is
kept, `_EQUAL` chunks agree. So there is a table for each choice of `_EQUAL` chunks of a group (Manku, Jain and Das
Sarma, "Detecting Near-Duplicates for Web Crawling", WWW 2007). Sorted by them, the hashes that agree in them are next
to each other, and only those are compared.

Faces share their layout, and neighbouring bits of a difference hash resemble each other: some values of a few bits are
very frequent. Therefore a table sorts by many bits, and takes them from all over the image.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import combinations, pairwise
from math import ceil
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

BITS = 256
# 350 tables for 20 bits, each sorted by some 31 bits. Of the numbers that were tried, the fastest for a million hashes
# of faces; random ones, which differ in more bits, are faster with fewer tables.
_GROUPS, _EQUAL = 5, 5
_FEW = 1 << 20  # so many pairs are compared without tables
_BUCKET = 128  # so many hashes that agree in a table are compared together with those of other buckets, more by rows
_BLOCK = 1 << 16  # pairs that are compared at once
_MERGED = 1 << 22  # so many pairs, most of them found in several tables, are merged at once
_SLOTS = 22  # bits of the number by which it is remembered that a new hash has a key
_MIX = np.uint64(0x9E3779B97F4A7C15)  # makes the upper bits of a product depend on all of a key (Fibonacci)
_THREADS = min(8, os.cpu_count() or 1)  # each needs about 60 bytes a hash

Hashes = npt.NDArray[np.uint64]
"""Shape (number, 4)."""
_Rows = npt.NDArray[np.int64]
_Progress = Callable[[int, int], None]


class Pairs(NamedTuple):
    """Pairs of rows, the lower row first, sorted; and the number of bits in which they differ."""

    first: _Rows
    second: _Rows
    bits: npt.NDArray[np.uint16]


def pairs_within(bits: int, hashes: Hashes, new: int | None = None, progress: _Progress | None = None) -> Pairs:
    """All pairs of rows that differ in at most `bits` bits: those that a comparison of every pair finds.

    Args:
        bits: a few of the 256; each more adds tables.
        hashes: no two of them the same, since many copies of one would be very many pairs.
        new: the rows before this one are new, by default all; pairs of two others are left out, and not searched for.
        progress: called with the number of finished tables, and of all.
    """
    count, new = len(hashes), len(hashes) if new is None else new
    if new * count <= _FEW:
        found = _pairs_in_bucket(bits, hashes, np.arange(count), new)
    else:
        found = _pairs_in_tables(bits, hashes, new, progress)
    first, second = np.divmod(found, max(count, 1))
    blocks = (slice(start, start + _BLOCK) for start in range(0, len(found), _BLOCK))
    distances = [_distances(hashes.take(first[block], 0), hashes.take(second[block], 0)) for block in blocks]
    return Pairs(first, second, np.concatenate([np.empty(0, np.uint16), *distances]))


def _tables(bits: int) -> tuple[int, list[tuple[int, ...]]]:
    """The number of chunks, and the chunks by which each table is sorted."""
    # Each share and one more add up to bits + 1: who exceeds all shares differs in more than `bits` bits.
    shares = [(bits + 1 + group) // _GROUPS - 1 for group in range(_GROUPS)]
    edges = np.cumsum([0, *(share + _EQUAL for share in shares)]).tolist()
    return edges[-1], [table for start, end in pairwise(edges) for table in combinations(range(start, end), _EQUAL)]


def _chunks(hashes: Hashes, number: int) -> npt.NDArray[np.uint16]:
    """The values of the chunks, shape (number, hashes): bit i of a hash belongs to the chunk i modulo `number`."""
    bit = np.arange(BITS)
    weights = np.zeros((BITS, number), np.float32)
    weights[bit, bit % number] = 2.0 ** (bit // number)
    values = np.empty((number, len(hashes)), np.uint16)
    for start in range(0, len(hashes), _BLOCK):
        block = slice(start, start + _BLOCK)
        values[:, block] = (np.unpackbits(hashes[block].view(np.uint8), axis=1).astype(np.float32) @ weights).T
    return values


def _pairs_in_tables(bits: int, hashes: Hashes, new: int, progress: _Progress | None) -> _Rows:
    """The pairs that any table shows, see `_pairs_in_bucket`; without repetitions."""
    number, tables = _tables(bits)
    search = partial(_pairs_in_table, bits, hashes, _chunks(hashes, number), new)
    known, found = np.empty(0, np.int64), list[_Rows]()
    with ThreadPoolExecutor(_THREADS) as pool:
        for done, pairs in enumerate(pool.map(search, tables), 1):
            found.append(pairs)
            if done == len(tables) or sum(map(len, found)) > max(len(known), _MERGED):
                known, found = _without_repetitions(np.concatenate([known, *found])), []
            if progress:
                progress(done, len(tables))
    return known


def _without_repetitions(numbers: _Rows) -> _Rows:
    """The numbers in ascending order, each once; far faster than `np.unique`, which hashes them."""
    numbers.sort()
    return numbers[np.concatenate([[True], numbers[1:] != numbers[:-1]])] if len(numbers) else numbers


def _pairs_in_table(
    bits: int, hashes: Hashes, chunks: npt.NDArray[np.uint16], new: int, table: tuple[int, ...]
) -> _Rows:
    """The pairs that agree in the chunks of one table, see `_pairs_in_bucket`."""
    rows, starts, sizes = _buckets(_keys(chunks, table), new)
    large = sizes > _BUCKET
    found = [
        _pairs_in_bucket(bits, hashes, rows[start : start + size], new)
        for start, size in zip(starts[large], sizes[large], strict=True)
    ]
    small = (sizes > 1) & ~large
    rows, sizes = rows[np.repeat(small, sizes)], sizes[small]
    own = hashes.take(rows, axis=0)  # next to each other, as they are compared
    for one, other in _neighbours(rows < new, sizes):
        near = _distances(own.take(one, axis=0), own.take(other, axis=0)) <= bits
        found.append(rows[one[near]] * len(hashes) + rows[other[near]])
    return np.concatenate([np.empty(0, np.int64), *found])


def _keys(chunks: npt.NDArray[np.uint16], table: Iterable[int]) -> npt.NDArray[np.uint64]:
    """For each hash, the values of these chunks as one number."""
    keys = np.zeros(chunks.shape[1], np.uint64)
    for chunk in table:
        keys <<= np.uint64(ceil(BITS / len(chunks)))
        keys |= chunks[chunk]
    return keys


def _buckets(keys: npt.NDArray[np.uint64], new: int) -> tuple[_Rows, _Rows, _Rows]:
    """Rows in buckets of the same key, ascending in each; and the start and the size of each bucket.

    Rows whose key no new row has may be absent. Two keys may share a bucket where there are very many rows.
    """
    rows = np.arange(len(keys))
    if new < len(keys):
        slots = keys * _MIX >> np.uint64(64 - _SLOTS)
        has_new = np.zeros(1 << _SLOTS, np.bool)
        has_new[slots[:new]] = True
        rows = np.flatnonzero(has_new[slots])
    # Sorting numbers of key and row is several times faster than finding the order of the keys.
    shift = np.uint64(len(keys).bit_length())
    packed = (keys[rows] << shift) | rows.astype(np.uint64)
    packed.sort()
    rows, keys = (packed & ((np.uint64(1) << shift) - np.uint64(1))).astype(np.int64), packed >> shift
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return rows, starts, np.diff(starts, append=len(rows))


def _neighbours(is_new: npt.NDArray[np.bool], sizes: _Rows) -> Iterator[tuple[_Rows, _Rows]]:
    """All pairs of positions that share a bucket, the first of them new, in blocks; the buckets follow each other."""
    at, end, ahead = np.arange(len(is_new)), np.repeat(np.cumsum(sizes), sizes), 1
    inside = is_new & (at + 1 < end)
    while inside.any():
        at, end = at[inside], end[inside]
        for start in range(0, len(at), _BLOCK):
            block = at[start : start + _BLOCK]
            yield block, block + ahead
        ahead += 1
        inside = at + ahead < end


def _pairs_in_bucket(bits: int, hashes: Hashes, rows: _Rows, new: int) -> _Rows:
    """The pairs of these rows, ascending, that differ in at most `bits` bits, and of which the first is new.

    Returns:
        For each pair, the first row times the number of hashes, plus the second row; ascending.
    """
    found, own = [np.empty(0, np.int64)], hashes.take(rows, axis=0)
    step = max(1, _BLOCK // max(1, len(rows)))
    for start in range(0, int(np.searchsorted(rows, new)), step):
        near = _distances(own[start : start + step, None], own[None, start:]) <= bits
        one, other = np.nonzero(np.triu(near, 1))
        found.append(rows[start + one] * len(hashes) + rows[start + other])
    pairs = np.concatenate(found)
    return pairs[pairs < new * len(hashes)]


def _distances(one: Hashes, other: Hashes) -> npt.NDArray[np.uint16]:
    """In how many bits hashes, along the last axis, differ."""
    bits = np.bitwise_count(one ^ other)
    distances: npt.NDArray[np.uint16] = sum(
        (bits[..., word] for word in range(1, bits.shape[-1])), bits[..., 0].astype(np.uint16)
    )
    return distances
