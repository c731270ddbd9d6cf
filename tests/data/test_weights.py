"""How much each training image counts."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from age_tasks.data.weights import training_weights

AGES = st.lists(st.floats(0, 120), min_size=1, max_size=200)


def table(ages: list[float], **columns: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"real_age": ages, **columns})


def test_without_weights_all_count_alike():
    assert training_weights(table([20, 30]), 1.0) is None


@given(AGES, st.floats(1.01, 100))
def test_no_age_counts_more_than_the_bound_and_the_mean_is_one(ages: list[float], balance: float):
    weights = training_weights(table(ages), balance)
    assert weights.mean() == pytest.approx(1)
    assert weights.max() / weights.min() <= balance * (1 + 1e-9)


def test_rare_ages_count_more():
    weights = training_weights(table([30.0] * 90 + [80.0] * 10), 5)
    assert weights[-1] / weights[0] == pytest.approx(5)
    mild = training_weights(table([30.0] * 60 + [80.0] * 40), 5)
    assert mild[-1] / mild[0] == pytest.approx(1.5, rel=0.01)


def test_weights_of_the_labels_are_kept_and_multiplied():
    weights = training_weights(table([30.0, 30.0], weight=[1.0, 3.0]), 1.0)
    np.testing.assert_allclose(weights, [0.5, 1.5])
    both = training_weights(table([30.0] * 9 + [80.0], weight=[1.0] * 9 + [2.0]), 4)
    assert both[-1] / both[0] == pytest.approx(8)
