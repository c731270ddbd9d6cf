import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from age_tasks.data.near_duplicates import NEAR_BITS, connected_groups, difference_hash, find_near_duplicates
from age_tasks.data.probes import probe_file
from age_tasks.demo.synthetic_faces import draw_face


@pytest.fixture(scope="module")
def face() -> Image.Image:
    return draw_face(34, np.random.default_rng(1))


def distance(one: Image.Image, other: Image.Image) -> int:
    return bits_between(*(bytes.fromhex(difference_hash(image)) for image in (one, other)))


def bits_between(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()


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
    assert find_near_duplicates(hashes).nearest(10) == []


# Few hashes, so that some are equal or near.
hashes = st.lists(
    st.builds(
        lambda person, changed: (person << 200 ^ sum(1 << bit for bit in changed)).to_bytes(32),
        st.integers(0, 2**40),
        st.sets(st.integers(0, 255), max_size=12),
    ),
    max_size=6,
).flatmap(lambda some: st.lists(st.sampled_from(some), max_size=12) if some else st.just([]))


@settings(max_examples=100, deadline=None)
@given(hashes, st.data())
def test_pairs_are_those_that_counting_bits_finds_the_nearest_first(hashes: list[bytes], data: st.DataObject):
    known = data.draw(st.integers(0, len(hashes)))
    counted = [
        (i, j, bits_between(one, other))
        for i, one in enumerate(hashes)
        for j, other in enumerate(hashes)
        if i < j and bits_between(one, other) <= NEAR_BITS
    ]
    texts = [each.hex() for each in hashes]
    near = find_near_duplicates(texts)
    assert near.nearest(100) == sorted(counted, key=lambda pair: (pair[2], *pair[:2]))
    assert near.count == len(counted)
    parts = [data.draw(st.sampled_from(["train", "val", "test"])) for _ in hashes]
    assert near.count_across(parts) == sum(parts[one] != parts[other] for one, other, _ in counted)
    groups = connected_groups(len(hashes), [one for one, _, _ in counted], [other for _, other, _ in counted])
    assert same_grouping(near.groups(), groups)
    later = find_near_duplicates(texts[:known], texts[known:])
    new = [pair for pair in counted if pair[0] < known]
    assert set(new) <= set(later.nearest(100)) <= set(counted)


def same_grouping(one: np.ndarray, other: np.ndarray) -> bool:
    return len({*zip(one, other, strict=True)}) == len({*one}) == len({*other})


def test_very_many_copies_of_one_image_are_counted_and_linked_and_the_first_are_listed():
    near = find_near_duplicates(["ff" * 32] * 100_000 + ["fe" + "ff" * 31])
    assert near.count == 100_000 * 99_999 // 2 + 100_000
    assert set(near.groups()) == {0}
    assert near.nearest(3) == [(0, 1, 0), (0, 2, 0), (0, 3, 0)]


def test_many_images_are_searched_with_progress(caplog: pytest.LogCaptureFixture):
    rng = np.random.default_rng(3)
    hashes = [rng.bytes(32).hex() for _ in range(3000)]
    with caplog.at_level("INFO"):
        near = find_near_duplicates([*hashes, hashes[7], hashes[2999]])
    assert near.nearest(10) == [(7, 3000, 0), (2999, 3001, 0)]
    assert "parts of the search for near duplicates: 350 of 350" in caplog.text


def test_groups_connect_indirectly():
    number = connected_groups(6, [0, 1], [1, 4])
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
