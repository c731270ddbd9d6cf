import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from age_tasks.data.near_duplicates import BITS, NEAR_BITS, connected_groups, difference_hash, near_pairs
from age_tasks.data.probes import probe_file
from age_tasks.demo.synthetic_faces import draw_face


@pytest.fixture(scope="module")
def face() -> Image.Image:
    return draw_face(34, np.random.default_rng(1))


def distance(one: Image.Image, other: Image.Image) -> int:
    (pair,) = near_pairs([difference_hash(one), difference_hash(other)], bits=BITS)
    return pair[2]


def recompressed(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=50)
    return Image.open(buffer)


@pytest.mark.parametrize(
    "change",
    [
        recompressed,
        lambda image: image.resize((90, 90)),
        lambda image: image.convert("L"),
        lambda image: ImageEnhance.Brightness(image).enhance(0.8),
    ],
    ids=["recompressed", "scaled", "grey", "darker"],
)
def test_a_changed_copy_is_a_near_duplicate(face: Image.Image, change):
    assert distance(face, change(face)) <= NEAR_BITS


def test_different_faces_are_no_near_duplicates():
    rng = np.random.default_rng(2)
    hashes = [difference_hash(draw_face(age, rng)) for age in range(5, 85, 4)]
    assert near_pairs(hashes) == []


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(min_size=32, max_size=32), max_size=12), st.integers(0, 256))
def test_near_pairs_equal_those_found_by_counting_bits(hashes: list[bytes], bits: int):
    counted = [
        (i, j, (int.from_bytes(one) ^ int.from_bytes(other)).bit_count())
        for i, one in enumerate(hashes)
        for j, other in enumerate(hashes)
        if i < j
    ]
    assert near_pairs([each.hex() for each in hashes], bits) == [pair for pair in counted if pair[2] <= bits]


def test_near_pairs_across_blocks_are_found():
    rng = np.random.default_rng(3)
    hashes = [rng.bytes(32).hex() for _ in range(3000)]
    assert near_pairs([*hashes, hashes[7], hashes[2999]]) == [(7, 3000, 0), (2999, 3001, 0)]


def test_groups_connect_indirectly():
    number = connected_groups(6, [(0, 1, 3), (1, 4, 5)])
    assert number[0] == number[1] == number[4]
    assert len(set(number.tolist())) == 4


def test_the_hash_is_that_of_the_upright_image(face: Image.Image, tmp_path: Path):
    face.save(tmp_path / "upright.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    face.rotate(90).save(tmp_path / "turned.png", exif=exif)
    upright, turned = probe_file(tmp_path / "upright.png"), probe_file(tmp_path / "turned.png")
    assert upright.dhash == turned.dhash != ""
    assert upright.sha256 != turned.sha256
