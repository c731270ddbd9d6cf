import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from age_tasks.evaluation.enough import FEW_PEOPLE
from age_tasks.evaluation.in_use import difference_of_independent, error_in_use
from age_tasks.evaluation.results import ErrorInUse, Estimate

TESTED = Estimate(value=6.0, low=5.6, high=6.4)


def found(
    images: int, mae: float, tested: Estimate | None = TESTED, optimism: float | None = None, **columns: object
) -> ErrorInUse:
    """Of new images with errors around this mean."""
    rng = np.random.default_rng(1)
    errors = rng.permutation(np.linspace(0, 2 * mae, images)) * rng.choice([-1, 1], images)
    ages = rng.uniform(20, 60, images)
    table = pd.DataFrame({"real_age": ages, "champion": ages + errors} | columns)
    return error_in_use(table, "v3", tested, optimism, 500, 1)


def test_a_much_larger_error_on_new_images_is_worse_beyond_chance():
    worse = found(200, 9.0)
    assert (worse.images, worse.people, worse.few, worse.worse) == (200, None, False, True)
    assert worse.mae.low < 9.0 < worse.mae.high
    assert "v3 was trained, its MAE is 9.00 years" in worse.sentence
    assert "worse beyond chance (difference +3.00 years" in worse.sentence


@pytest.mark.parametrize("mae", [3.0, 6.0, 6.3])
def test_a_lower_or_hardly_larger_error_is_not_worse_beyond_chance(mae: float):
    same = found(200, mae)
    assert not same.worse
    assert "not worse beyond chance" in same.sentence


def test_fewer_than_thirty_new_images_are_not_judged():
    few, enough = found(29, 12.0), found(30, 12.0)
    assert (few.few, few.worse) == (True, False)
    assert (enough.few, enough.worse) == (False, True)
    assert "too few to judge by" in few.sentence
    assert "on the image that is new" in found(1, 12.0).sentence


def test_an_error_on_test_images_that_is_lost_is_not_compared_with():
    alone = found(200, 9.0, tested=None)
    assert (alone.test_mae, alone.difference, alone.worse) == (None, None, False)
    assert "is not known" in alone.sentence


def test_the_test_mae_is_compared_with_as_corrected_for_its_selection():
    measured, corrected = found(200, 6.9), found(200, 6.9, optimism=0.3)
    assert (measured.worse, corrected.worse) == (True, False)
    assert corrected.test_mae == TESTED
    assert corrected.difference.value == pytest.approx(measured.difference.value - 0.3)
    assert "it was 6.00 years (95 % interval 5.60 to 6.40), 6.30 corrected for its selection: not" in corrected.sentence
    assert "corrected" not in found(200, 6.9, optimism=0.001).sentence
    assert found(200, 6.9, tested=None, optimism=0.3).optimism is None


def test_images_of_few_people_say_less():
    people = [f"person {number // 20}" for number in range(200)]
    hard = [number // 20 % 2 for number in range(200)]  # all images of every other person
    ages = np.full(200, 40.0)
    images = pd.DataFrame({"real_age": ages, "champion": ages + 12.0 * np.array(hard), "person": people})
    clustered = error_in_use(images, "v3", TESTED, None, 500, 1)
    alone = error_in_use(images.drop(columns="person"), "v3", TESTED, None, 500, 1)
    assert clustered.people == 10
    assert clustered.mae.high - clustered.mae.low > 2 * (alone.mae.high - alone.mae.low)


def of_people(people: int) -> ErrorInUse:
    """60 images that so many people share, with errors of 9 years for some and 12 for others."""
    person = np.arange(60) % people
    table = pd.DataFrame({"real_age": 40.0, "champion": 49.0 + 3.0 * (person % 2), "person": person.astype(str)})
    return error_in_use(table, "v3", TESTED, None, 500, 1)


@pytest.mark.parametrize("people", [1, 2, FEW_PEOPLE - 1])
def test_new_images_of_few_people_are_not_judged(people: int):
    found = of_people(people)
    assert found.difference.low > 0
    assert (found.people, found.few, found.worse) == (people, True, False)
    assert found.sentence.endswith("so few people are too few to judge by")


def test_new_images_of_enough_people_are_judged():
    found = of_people(FEW_PEOPLE)
    assert (found.few, found.worse) == (False, True)


numbers = st.floats(-50, 50, allow_nan=False)
reaches = st.floats(0, 10)


@settings(deadline=None)
@given(numbers, reaches, reaches, numbers, reaches, reaches)
def test_the_interval_of_a_difference_is_wider_than_each_and_mirrors_when_swapped(a, a_low, a_high, b, b_low, b_high):
    first, second = Estimate(value=a, low=a - a_low, high=a + a_high), Estimate(value=b, low=b - b_low, high=b + b_high)
    there, back = difference_of_independent(first, second), difference_of_independent(second, first)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=2e-4)
    assert there.low <= there.value <= there.high
    assert there.value - there.low >= max(a_low, b_high) - 2e-4
    assert there.high - there.value >= max(a_high, b_low) - 2e-4


def test_the_interval_of_a_difference_of_normal_means_is_that_of_the_textbook():
    first, second = Estimate(value=7, low=7 - 1.96 * 0.3, high=7 + 1.96 * 0.3), Estimate(value=6, low=5.216, high=6.784)
    between = difference_of_independent(first, second)
    assert (between.value, between.low, between.high) == pytest.approx((1, 1 - 1.96 * 0.5, 1 + 1.96 * 0.5), abs=1e-4)
