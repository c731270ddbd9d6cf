from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from age_tasks.data import augmentation
from age_tasks.data.augmentation import MIRROR, PLAIN, load_augmentations, load_augmented
from age_tasks.data.decoding import load_rgb
from age_tasks.data.image_folder import ImageFolder
from age_tasks.demo.synthetic_faces import draw_face
from age_tasks.store import open_store
from age_tasks.store.base import file_sha256
from age_tasks.training.feature_cache import row_key


@pytest.fixture
def image(tmp_path: Path) -> Path:
    draw_face(40, np.random.default_rng(1)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_the_first_two_augmentations_are_the_image_and_its_mirror(image: Path):
    plain, sha256 = load_rgb(image, 64), file_sha256(image)
    assert np.array_equal(load_augmented(image, 64, PLAIN, sha256), plain)
    assert np.array_equal(load_augmented(image, 64, MIRROR, sha256), plain[:, ::-1])


@pytest.mark.parametrize("kind", ["png", "jpg"])
@pytest.mark.parametrize("numbers", [[0], [3], [0, 1, 2, 3, 4, 5, 6, 7], [7, 1, 2, 2, 0]])
def test_together_they_are_what_they_are_one_by_one(image: Path, kind: str, numbers: list[int]):
    with Image.open(image) as opened:
        opened.resize((500, 400)).save(image.with_suffix(f".{kind}"), quality=90)
    path, sha256 = image.with_suffix(f".{kind}"), file_sha256(image)
    together = load_augmentations(path, 64, numbers, sha256)
    assert np.array_equal(together, [load_augmented(path, 64, number, sha256) for number in numbers])


def test_together_they_are_made_from_one_decoding_of_each_scale(image: Path, monkeypatch: pytest.MonkeyPatch):
    sides: list[int] = []

    def counted(path: Path, side: int) -> np.ndarray:
        sides.append(side)
        return load_rgb(path, side)

    monkeypatch.setattr(augmentation, "load_accepted", counted)
    load_augmentations(image, 64, range(8), "ab")
    assert sides == [64, 80]


def test_random_augmentations_differ_but_resemble_the_image(image: Path):
    augmented = [load_augmented(image, 64, number, file_sha256(image)) for number in range(2, 8)]
    assert all(each.shape == (64, 64, 3) and each.dtype == np.uint8 for each in augmented)
    assert len({each.tobytes() for each in augmented}) == len(augmented)
    plain = load_rgb(image, 64)
    assert all(abs(each.mean() - plain.mean()) < 60 for each in augmented)


@pytest.mark.parametrize("number", range(6))
def test_an_augmentation_depends_on_the_content_and_not_on_the_file_name(image: Path, number: int):
    renamed = image.with_name("b.png")
    renamed.write_bytes(image.read_bytes())
    one, other = (load_augmented(path, 64, number, file_sha256(path)) for path in (image, renamed))
    assert np.array_equal(one, other)


def test_an_augmentation_is_the_same_for_a_local_image_and_one_on_s3(image: Path, s3: dict[str, str], tmp_path: Path):
    open_store("s3://age/augmented").put("a.png", image)
    fetched = ImageFolder("s3://age/augmented", tmp_path).path("a.png")
    assert fetched.name != image.name
    one, other = (load_augmented(path, 64, 3, file_sha256(path)) for path in (image, fetched))
    assert np.array_equal(one, other)


def test_augmentations_of_different_contents_vary_differently(image: Path):
    one, other = (load_augmented(image, 64, 3, sha256) for sha256 in ("a" * 64, "b" * 64))
    assert not np.array_equal(one, other)


def test_cached_features_of_images_and_mirrors_stay_valid_and_those_of_random_augmentations_do_not():
    """Rows of version 1 were seeded by the file name; those of images and mirrors were not, and keep their keys."""
    assert [row_key("abc", number) for number in (PLAIN, MIRROR)] == ["abc", "abc 1.1"]
    assert row_key("abc", 2) not in {"abc 2", "abc 1.2"}
