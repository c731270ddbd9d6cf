from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from age_tasks.evaluation.conformal import COVERAGE, MIN_GROUP_SIZE, bounds, group_of, half_widths, possible_ages

EDGES = (0, 20, 40, 60, 120)


def people(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Real and predicted ages; the error grows with the predicted age."""
    rng = np.random.default_rng(seed)
    predicted = rng.uniform(5, 85, count)
    return np.clip(predicted + rng.normal(0, 1 + predicted / 10), 0, None), predicted


def people_in_groups(sizes: Sequence[int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Real and predicted ages, so many in each group of predicted ages."""
    rng = np.random.default_rng(seed)
    edges = zip(sizes, EDGES, EDGES[1:], strict=False)
    predicted = np.concatenate([rng.uniform(low + 0.01, high - 0.01, size) for size, low, high in edges])
    return np.clip(predicted + rng.normal(0, 1 + predicted / 10), 0, None), predicted


def test_nine_in_ten_new_ages_lie_within_the_interval_of_every_group():
    groups = half_widths(*people(4000, seed=1), EDGES)
    real, predicted = people(4000, seed=2)
    low, high = bounds(predicted, groups)
    covered = (low <= real) & (real <= high)
    for first, last in ((5, 20), (20, 40), (40, 60), (60, 85)):
        inside = (predicted > first) & (predicted <= last)
        assert covered[inside].mean() == pytest.approx(0.9, abs=0.03)
    assert groups[0].half_width < groups[-1].half_width


@given(st.lists(st.floats(-60, 120), min_size=1, max_size=30), st.floats(0, 30), st.floats(0, 120))
def test_an_interval_is_around_the_reported_age_and_covers_no_fewer_ages(
    predicted: list[float], width: float, real: float
):
    """Against the interval around what was computed, which may end below 0."""
    ages = np.array(predicted)
    groups = [group.model_copy(update={"half_width": width}) for group in half_widths(ages, ages, EDGES)]
    low, high = bounds(ages, groups)
    reported = possible_ages(ages)
    assert (low >= 0).all()
    assert (low <= reported).all()
    assert (reported <= high).all()
    covered = (low <= real) & (real <= high)
    assert covered[(ages - width <= real) & (real <= ages + width)].all()


def test_an_age_below_zero_has_an_interval_from_zero():
    groups = half_widths(np.zeros(4), np.array([1.5, -1.5, 1.5, 1.5]), EDGES)
    low, high = bounds(np.array([-3.0, -0.8, 0.0, 5.0]), groups)
    assert low.tolist() == [0, 0, 0, 3.5]
    assert high.tolist() == [1.5, 1.5, 1.5, 6.5]


SIZES = st.sampled_from([0, *range(MIN_GROUP_SIZE, 150)])


@settings(max_examples=50, deadline=None)
@given(st.tuples(SIZES, SIZES, SIZES, SIZES).filter(any), st.integers(0, 50))
def test_the_intervals_cover_the_ages_they_were_made_from(sizes: tuple[int, ...], seed: int):
    """Groups of their own half-width: each covers its own images."""
    real, predicted = people_in_groups(sizes, seed)
    groups = half_widths(real, predicted, EDGES)
    assert [group.images for group in groups] == list(sizes)
    low, high = bounds(predicted, groups)
    assert (low >= 0).all()
    covered = (low - 0.01 <= real) & (real <= high + 0.01)  # half-widths are rounded
    number = group_of(predicted, EDGES)
    for at in set(number):
        assert covered[number == at].mean() >= COVERAGE


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300), st.integers(0, 50))
def test_any_number_of_images_gives_a_width_in_every_group(count: int, seed: int):
    groups = half_widths(*people(count, seed), EDGES)
    assert sum(group.images for group in groups) == count
    assert all(group.half_width >= 0 for group in groups)


def test_a_small_group_gets_the_half_width_of_all_images():
    real, predicted = people(400, seed=3)
    few = predicted < 80
    groups = half_widths(real[few], predicted[few], (0, 20, 40, 79.9, 120))
    errors = np.sort(np.abs(real - predicted)[few])
    assert groups[-1].images < 50
    assert groups[-1].half_width == pytest.approx(errors[int(np.ceil((len(errors) + 1) * 0.9)) - 1], abs=0.01)
