import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from age_tasks.evaluation.conformal import bounds, half_widths

EDGES = (0, 20, 40, 60, 120)


def people(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Real and predicted ages; the error grows with the predicted age."""
    rng = np.random.default_rng(seed)
    predicted = rng.uniform(5, 85, count)
    return np.clip(predicted + rng.normal(0, 1 + predicted / 10), 0, None), predicted


def test_nine_in_ten_new_ages_lie_within_in_every_group():
    groups = half_widths(*people(4000, seed=1), EDGES)
    real, predicted = people(4000, seed=2)
    low, high = bounds(predicted, groups)
    covered = (low <= real) & (real <= high)
    for first, last in ((5, 20), (20, 40), (40, 60), (60, 85)):
        inside = (predicted > first) & (predicted <= last)
        assert covered[inside].mean() == pytest.approx(0.9, abs=0.03)
    assert groups[0]["half_width"] < groups[-1]["half_width"]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300), st.integers(0, 50))
def test_the_ages_it_was_made_from_are_covered(count: int, seed: int):
    real, predicted = people(count, seed)
    groups = half_widths(real, predicted, EDGES)
    low, high = bounds(predicted, groups)
    assert sum(group["images"] for group in groups) == count
    assert (low >= 0).all()
    if all(group["images"] >= 50 or group["images"] == 0 for group in groups):
        assert ((low - 0.01 <= real) & (real <= high + 0.01)).mean() >= 0.9


def test_a_small_group_takes_the_width_of_all():
    real, predicted = people(400, seed=3)
    few = predicted < 80
    groups = half_widths(real[few], predicted[few], (0, 20, 40, 79.9, 120))
    errors = np.sort(np.abs(real - predicted)[few])
    assert groups[-1]["images"] < 50
    assert groups[-1]["half_width"] == pytest.approx(errors[int(np.ceil((len(errors) + 1) * 0.9)) - 1], abs=0.01)
