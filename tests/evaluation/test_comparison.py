import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from age_tasks.evaluation.comparison import compare, population_stability

EDGES = (0, 20, 40, 60, 120)


def pairs(images: int, gain: float, seed: int = 0) -> pd.DataFrame:
    """Champion and candidate that find the same images hard; the candidate's MAE is lower by `gain` years."""
    rng = np.random.default_rng(seed)
    real, shared = rng.uniform(1, 90, images), rng.normal(0, 6, images)
    champion, candidate = (shared + rng.normal(0, 3, images) for _ in range(2))
    scale = (np.abs(champion).mean() - gain) / np.abs(candidate).mean()
    return pd.DataFrame({"real_age": real, "finetune": real + candidate * scale, "champion": real + champion})


def test_a_clear_gain_is_significant_and_pairing_narrows_its_interval():
    found = compare(pairs(1139, 1.0), EDGES, samples=2000, seed=1)
    assert found.value == pytest.approx(-1.0, abs=1e-3)
    assert found.high < -0.7
    assert found.p_value < 0.001
    assert found.high - found.low < 0.5  # unpaired it would be some 0.8
    assert found.champion_mae - found.candidate_mae == pytest.approx(1.0, abs=1e-3)


def test_equal_models_do_not_differ_significantly():
    found = compare(pairs(1139, 0.0), EDGES, samples=2000, seed=1)
    assert found.low < 0 < found.high
    assert found.p_value > 0.9


def test_bins_have_their_own_difference_and_together_all_images():
    table = pairs(1000, 0.0)
    old = table["real_age"] > 60
    table.loc[old, "finetune"] += 5 * np.sign(table["finetune"] - table["real_age"])[old]
    bins = compare(table, EDGES, samples=1000, seed=1).bins
    assert [found.low_age for found in bins] == [0, 20, 40, 60]
    assert sum(found.images for found in bins) == 1000
    assert bins[3].low > 3
    assert all(found.low < 1 for found in bins[:3])


def test_people_are_counted_over_all_and_in_each_bin():
    table = pairs(200, 0.0).sort_values("real_age", ignore_index=True)
    table["person"] = [f"person {number // 10}" if number < 150 else "" for number in range(200)]  # 50 of their own
    found = compare(table, EDGES, samples=1000, seed=1)
    number = pd.cut(table["real_age"], EDGES, labels=False)
    own = table["person"].where(table["person"] != "", table.index.astype(str))
    assert found.people == 65
    assert [each.people for each in found.bins] == own.groupby(number).nunique().tolist()
    alone = compare(table.drop(columns="person"), EDGES, samples=1000, seed=1)
    assert (alone.people, {each.people for each in alone.bins}) == (None, {None})


def test_empty_bins_are_left_out():
    table = pairs(100, 0.0).assign(real_age=30.0)
    assert [found.low_age for found in compare(table, EDGES, samples=1000, seed=1).bins] == [20]


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 200), st.floats(-3, 3), st.integers(0, 100))
def test_swapping_the_models_changes_the_sign(images: int, gain: float, seed: int):
    table = pairs(images, gain, seed)
    swapped = table.rename(columns={"finetune": "champion", "champion": "finetune"})
    one, other = (compare(each, EDGES, samples=1000, seed=seed) for each in (table, swapped))
    assert one.value == pytest.approx(-other.value, abs=1e-3)
    assert one.low == pytest.approx(-other.high, abs=1e-3)
    assert one.p_value == other.p_value
    assert one.low <= one.value <= one.high


def test_population_stability_is_low_for_the_same_ages_and_high_for_others():
    ages = pd.Series(np.random.default_rng(1).uniform(0, 90, 5000))
    assert population_stability(ages, ages.sample(2500, random_state=1), EDGES) < 0.01
    assert population_stability(ages, ages[ages > 40], EDGES) > 1
    assert population_stability(ages[ages < 20], ages[ages > 40], EDGES) < 50  # empty bins are not infinitely far
