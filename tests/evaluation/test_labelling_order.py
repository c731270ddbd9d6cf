"""In which order images are best labelled."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from age_tasks.evaluation.labelling_order import labelling_order

LABELLED = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])  # each at a distance of 1 from the nearest other


def order(features: list[list[float]], widths: list[float], count: int = 10) -> tuple[list[int], list[float]]:
    chosen, distance = labelling_order(np.array(features), np.array(widths), LABELLED, count)
    return chosen.tolist(), distance.tolist()


def test_the_farthest_from_what_is_labelled_comes_first():
    chosen, distance = order([[2, 0], [0, 9], [4, 0]], [1, 1, 1])
    assert chosen == [1, 2, 0]
    assert distance == [8, 3, 1]


def test_of_images_at_the_same_distance_the_less_certain_comes_first():
    assert order([[3, 0], [0, 3]], [10, 20])[0] == [1, 0]


def test_images_like_one_that_was_chosen_wait():
    """The second of the far pair is near the first, so that the near image comes before it."""
    assert order([[9, 0], [9.1, 0], [0, 3]], [1, 1, 1])[0] == [1, 2, 0]


def test_an_image_that_is_labelled_is_not_ranked():
    assert order([[1, 0], [2, 0]], [1, 1])[0] == [1]


def test_one_labelled_image_is_enough():
    chosen, _ = labelling_order(np.array([[1.0], [3.0]]), np.ones(2), np.array([[0.0]]), 5)
    assert chosen.tolist() == [1, 0]


points = st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9), st.floats(1, 50)), min_size=1, max_size=12)


@settings(deadline=None, max_examples=50)
@given(points, st.integers(1, 12))
def test_a_shorter_ranking_is_the_beginning_of_a_longer_one(found: list[tuple[float, float, float]], count: int):
    features, widths = [[x, y] for x, y, _ in found], [width for _, _, width in found]
    whole, distances = order(features, widths, len(found))
    assert order(features, widths, count)[0] == whole[:count]
    assert len(set(whole)) == len(whole)
    assert all(distance > 0 for distance in distances)
