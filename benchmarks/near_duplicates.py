"""How long the search for near duplicates takes, and how much memory: random hashes, and such as those of real faces.

    python -m benchmarks.near_duplicates --images faces/images --count 1000000

Prints a table. Two in a hundred hashes are another one with up to 20 changed bits. The others are

- `random`: every bit by chance;
- `changed`: the hash of a real face with 25 to 60 changed bits;
- `drawn`: made of the regions of a real face, moved by as much noise as `NOISE` says, which has the mean and the
  covariance of all faces. Their distances are distributed as those of real faces, and so are the near ones among them.
"""

import argparse
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from age_tasks.data.near_duplicates import NEAR_BITS, SIDE, difference_hash, find_near_duplicates

SHARE_OF_COPIES = 0.02
NOISE = 0.3  # pairs at a small distance are then about as frequent as among 7,591 real faces (UTKFace)
NEW = 0.05  # of the hashes, where new ones are searched among known ones
_BLOCK = 50_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="a folder of face crops")
    parser.add_argument("--count", type=int, default=1_000_000, help="how many hashes are searched")
    options = parser.parse_args()
    print("| hashes | searched | pairs | seconds | processor seconds | peak memory (GB) |\n|---|---|---|---|---|---|")
    for name, make in {"random": random, "changed": changed, "drawn": drawn}.items():
        for new in (options.count, round(options.count * NEW)):
            with multiprocessing.get_context("spawn").Pool(1) as process:  # of its own, for its peak memory
                cells = process.apply(measure, (make, options.images, options.count, new))
            print(f"| `{name}` | {cells} |", flush=True)


def measure(make: Callable[[Path, int], np.ndarray], images: Path, count: int, new: int) -> str:
    """The cells of a row of the table."""
    hashes = [row.tobytes().hex() for row in with_copies(make(images, count))]
    start, cpu = time.perf_counter(), time.process_time()
    found = find_near_duplicates(hashes[:new], hashes[new:])
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)
    searched = f"{count:,}" if new == count else f"{new:,} among {count - new:,} known"
    return f"{searched} | {found.count:,} | {seconds:.0f} | {cpu:.0f} | {peak:.1f}"


def random(images: Path, count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, SIDE * SIDE // 8), np.uint8)


def changed(images: Path, count: int) -> np.ndarray:
    rng = np.random.default_rng(2)
    real = np.array([list(bytes.fromhex(each)) for each in read(images, difference_hash)], np.uint8)
    return flipped(real[rng.integers(len(real), size=count)], rng.integers(25, 61, count), rng)


def drawn(images: Path, count: int) -> np.ndarray:
    rng, shape = np.random.default_rng(3), (SIDE, SIDE + 1)
    real = np.array(read(images, lambda image: regions(image).ravel()))
    real = (real - real.mean(axis=1, keepdims=True)) / (real.std(axis=1, keepdims=True) + 1e-3)
    mean, root = real.mean(axis=0), np.linalg.cholesky(np.cov(real.T) + 1e-6 * np.eye(real.shape[1])).T
    hashes = []
    for start in range(0, count, _BLOCK):
        size = min(_BLOCK, count - start)
        noise = rng.standard_normal((size, len(root)), np.float32) @ root.astype(np.float32)
        moved = mean + np.sqrt(1 - NOISE**2) * (real[rng.integers(len(real), size=size)] - mean) + NOISE * noise
        values = moved.reshape(size, *shape)
        hashes.append(np.packbits((values[:, :, 1:] > values[:, :, :-1]).reshape(size, -1), axis=1))
    return np.concatenate(hashes)


def read(images: Path, described: Callable[[Image.Image], Any]) -> list[Any]:
    """What a function gives of each image of a folder."""
    found = []
    for path in sorted(path for path in images.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"}):
        with Image.open(path) as image:
            found.append(described(image))
    return found


def regions(image: Image.Image) -> np.ndarray:
    """The brightness of the regions that a difference hash compares, shape (SIDE, SIDE + 1)."""
    grey = image.convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(grey, np.float32)


def with_copies(hashes: np.ndarray) -> np.ndarray:
    """The hashes in random order, some of them replaced by another one with up to `NEAR_BITS` changed bits."""
    rng, copies = np.random.default_rng(4), round(len(hashes) * SHARE_OF_COPIES)
    kept = hashes[copies:]
    hashes[:copies] = flipped(kept[rng.integers(len(kept), size=copies)], rng.integers(1, NEAR_BITS + 1, copies), rng)
    return rng.permutation(hashes)


def flipped(hashes: np.ndarray, counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The hashes, each with so many bits changed."""
    found = []
    for start in range(0, len(hashes), _BLOCK):
        block = slice(start, start + _BLOCK)
        rank = rng.random((len(hashes[block]), SIDE * SIDE), np.float32).argsort(axis=1).argsort(axis=1)
        found.append(hashes[block] ^ np.packbits(rank < counts[block, None], axis=1))
    return np.concatenate(found)


if __name__ == "__main__":
    main()
