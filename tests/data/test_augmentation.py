from pathlib import Path

import numpy as np
import pytest

from age_tasks.data.augmentation import MIRROR, PLAIN, load_view
from age_tasks.data.decoding import load_rgb
from age_tasks.demo.synthetic_faces import draw_face


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    draw_face(40, np.random.default_rng(1)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_the_first_two_views_are_the_picture_and_its_mirror(picture: Path):
    plain = load_rgb(picture, 64)
    assert np.array_equal(load_view(picture, 64, PLAIN), plain)
    assert np.array_equal(load_view(picture, 64, MIRROR), plain[:, ::-1])


def test_further_views_vary_but_stay_the_same_picture(picture: Path):
    views = [load_view(picture, 64, view) for view in range(2, 8)]
    assert all(view.shape == (64, 64, 3) and view.dtype == np.uint8 for view in views)
    assert len({view.tobytes() for view in views}) == len(views)
    plain = load_rgb(picture, 64)
    assert all(abs(view.mean() - plain.mean()) < 60 for view in views)


def test_a_view_is_the_same_every_time_and_differs_between_pictures(picture: Path):
    assert np.array_equal(load_view(picture, 64, 3), load_view(picture, 64, 3))
    other = picture.with_name("b.png")
    other.write_bytes(picture.read_bytes())
    assert not np.array_equal(load_view(picture, 64, 3), load_view(other, 64, 3))
