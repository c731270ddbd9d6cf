import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from age_tasks.evaluation.bootstrap import intervals, permutation_p_value
from age_tasks.evaluation.comparison import compare, population_stability

EDGES = (0, 20, 40, 60, 120)


def pairs(images: int, gain: float, seed: int = 0) -> pd.DataFrame:
    """Champion and candidate that find the same images hard; the candidate's MAE is lower by `gain` years."""
    rng = np.random.default_rng(seed)
    real, shared = rng.uniform(1, 90, images), rng.normal(0, 6, images)
    champion, candidate = (shared + rng.normal(0, 3, images) for _ in range(2))
    scale = (np.abs(champion).mean() - gain) / np.abs(candidate).mean()
    return pd.DataFrame({"real_age": real, "finetune": real + candidate * scale, "champion": real + champion})


def test_a_clear_gain_is_found_and_pairing_makes_its_interval_narrow():
    found = compare(pairs(1139, 1.0), EDGES, samples=2000, seed=1)
    assert found["value"] == pytest.approx(-1.0, abs=1e-3)
    assert found["high"] < -0.7
    assert found["p_value"] < 0.001
    assert found["high"] - found["low"] < 0.5  # unpaired it would be some 0.8
    assert found["champion_mae"] - found["candidate_mae"] == pytest.approx(1.0, abs=1e-3)


def test_equal_models_cannot_be_told_apart():
    found = compare(pairs(1139, 0.0), EDGES, samples=2000, seed=1)
    assert found["low"] < 0 < found["high"]
    assert found["p_value"] > 0.9


def test_age_bins_are_told_apart_and_hold_all_images():
    table = pairs(1000, 0.0)
    old = table["real_age"] > 60
    table.loc[old, "finetune"] += 5 * np.sign(table["finetune"] - table["real_age"])[old]
    bins = compare(table, EDGES, samples=1000, seed=1)["bins"]
    assert [found["low_age"] for found in bins] == [0, 20, 40, 60]
    assert sum(found["images"] for found in bins) == 1000
    assert bins[3]["low"] > 3
    assert all(found["low"] < 1 for found in bins[:3])


def test_a_bin_without_images_is_left_out():
    table = pairs(100, 0.0).assign(real_age=30.0)
    assert [found["low_age"] for found in compare(table, EDGES, samples=1000, seed=1)["bins"]] == [20]


def test_the_interval_is_scipy_s():
    from scipy.stats import bootstrap

    loss = np.random.default_rng(3).gamma(2, 2, 300) - 4
    (_, low, high), _ = (
        found[:, 0] if isinstance(found, np.ndarray) else found for found in intervals(loss[:, None], [], 9000, 1)
    )
    theirs = bootstrap((loss,), np.mean, n_resamples=9000, method="percentile", random_state=2).confidence_interval
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_the_p_value_is_scipy_s():
    from scipy.stats import permutation_test

    loss = np.random.default_rng(4).normal(0.25, 2, 200)
    theirs = permutation_test((loss, np.zeros(200)), lambda a, b: np.mean(a - b), permutation_type="samples", rng=1)
    assert permutation_p_value(loss, 10_000, seed=2) == pytest.approx(theirs.pvalue, abs=0.02)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 200), st.floats(-3, 3), st.integers(0, 100))
def test_swapping_the_models_mirrors_the_result(images: int, gain: float, seed: int):
    table = pairs(images, gain, seed)
    swapped = table.rename(columns={"finetune": "champion", "champion": "finetune"})
    one, other = (compare(each, EDGES, samples=1000, seed=seed) for each in (table, swapped))
    assert one["value"] == pytest.approx(-other["value"], abs=1e-3)
    assert one["low"] == pytest.approx(-other["high"], abs=1e-3)
    assert one["p_value"] == other["p_value"]
    assert one["low"] <= one["value"] <= one["high"]


def test_drift_is_nothing_for_the_same_ages_and_much_for_others():
    ages = pd.Series(np.random.default_rng(1).uniform(0, 90, 5000))
    assert population_stability(ages, ages.sample(2500, random_state=1), EDGES) < 0.01
    assert population_stability(ages, ages[ages > 40], EDGES) > 1
    assert population_stability(ages[ages < 20], ages[ages > 40], EDGES) < 50  # empty bins are not infinitely far
