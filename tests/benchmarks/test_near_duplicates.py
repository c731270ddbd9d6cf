from pathlib import Path

import numpy as np
import pytest

from age_tasks.demo.synthetic_faces import draw_face
from benchmarks.near_duplicates import changed, drawn, flipped, measure, random


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for age in range(5, 85, 4):
        draw_face(age, np.random.default_rng(age)).save(folder / f"{age}.png")
    return folder


@pytest.mark.parametrize("make", [random, changed, drawn])
def test_hashes_have_256_bits(make, images: Path):
    hashes = make(images, 100)
    assert hashes.shape == (100, 32)
    assert 0.2 < np.unpackbits(hashes).mean() < 0.8


def test_hashes_differ_in_as_many_bits_as_were_changed():
    rng = np.random.default_rng(1)
    hashes, counts = rng.integers(0, 256, (50, 32), np.uint8), np.arange(50)
    assert np.bitwise_count(hashes ^ flipped(hashes, counts, rng)).sum(axis=1).tolist() == counts.tolist()


def test_copies_are_found(images: Path):
    searched, pairs, *_ = measure(random, images, 200, 200).split(" | ")
    assert (searched, pairs) == ("200", "4")
