import numpy as np
import pandas as pd
import pytest

from age_tasks.evaluation import bootstrap
from age_tasks.evaluation.bootstrap import differences_of_groups, intervals, people_of, permutation_p_value


def test_the_interval_agrees_with_scipy():
    from scipy.stats import bootstrap as scipy_bootstrap

    loss = np.random.default_rng(3).gamma(2, 2, 300) - 4
    overall, _ = intervals(loss[:, None], [], 9000, 1)
    theirs = scipy_bootstrap((loss,), np.mean, n_resamples=9000, method="percentile", random_state=2)
    expected = theirs.confidence_interval
    assert overall[0, 0] == pytest.approx(loss.mean())
    assert overall[1:, 0] == pytest.approx((expected.low, expected.high), abs=0.02)


def test_a_group_has_the_interval_of_its_images():
    loss = np.random.default_rng(3).normal((0, 5), 1, (400, 2))
    group = np.arange(400) < 100
    _, (found,) = intervals(loss, [group], 2000, 1)
    assert found[0] == pytest.approx(loss[group].mean(axis=0))
    for column in range(2):
        alone, _ = intervals(loss[group][:, column : column + 1], [], 2000, 2)
        assert found[:, column] == pytest.approx(alone[:, 0], abs=0.03)


def test_the_interval_of_a_difference_is_that_of_two_means():
    rng = np.random.default_rng(6)
    loss, group = rng.normal(5, 2, 600), np.arange(600) < 200
    (found,) = differences_of_groups(loss, [(group, ~group)], 4000, 1)
    error = np.sqrt(loss[group].var() / 200 + loss[~group].var() / 400)
    difference = loss[group].mean() - loss[~group].mean()
    assert found == pytest.approx(difference + np.array([0, -1.96, 1.96]) * error, abs=0.03)


def test_intervals_of_several_differences_hold_together():
    rng, outside = np.random.default_rng(7), 0
    groups = [np.arange(400) % 4 == number for number in range(4)]
    for seed in range(100):
        found = differences_of_groups(rng.normal(0, 1, 400), [(each, ~each) for each in groups], 300, seed)
        outside += bool(((found[:, 1] > 0) | (found[:, 2] < 0)).any())
    assert outside <= 10


def test_the_p_value_agrees_with_scipy():
    from scipy.stats import permutation_test

    loss = np.random.default_rng(4).normal(0.25, 2, 200)
    theirs = permutation_test((loss, np.zeros(200)), lambda a, b: np.mean(a - b), permutation_type="samples", rng=1)
    assert permutation_p_value(loss, 10_000, seed=2) == pytest.approx(theirs.pvalue, abs=0.02)


def test_chunks_bound_the_memory_and_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch):
    loss = np.random.default_rng(3).normal(0, 1, (200, 1))
    (whole, _), draws = intervals(loss, [], 600, 1), []
    draw = np.bincount

    def counted(values: np.ndarray, minlength: int) -> np.ndarray:
        draws.append(len(values))
        return draw(values, minlength=minlength)

    monkeypatch.setattr(bootstrap, "MAX_CHUNK_CELLS", 7 * 200)
    monkeypatch.setattr(np, "bincount", counted)
    chunked, _ = intervals(loss, [], 600, 1)
    assert max(draws) == 7 * 200
    assert chunked == pytest.approx(whole, abs=1e-6)


def images_of_people(rng: np.random.Generator, people: int = 30, each: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Errors around 0 that images of a person have in common, and the person in each image."""
    of_person = rng.normal(0, 2, people)
    return (of_person[:, None] + rng.normal(0, 1, (people, each))).ravel(), np.repeat(np.arange(people), each)


def test_intervals_hold_with_twenty_images_a_person_if_people_are_resampled():
    """Of images alone they hold far less often than 95 % of the time."""
    rng, hits = np.random.default_rng(5), {"people": 0, "images": 0}
    for number in range(300):
        loss, people = images_of_people(rng)
        for name, known in (("people", people), ("images", None)):
            (_, low, high), _ = intervals(loss[:, None], [], 300, number, known)
            hits[name] += bool(low[0] <= 0 <= high[0])
    assert hits["people"] / 300 > 0.88
    assert hits["images"] / 300 < 0.6


def test_chance_is_rarely_significant_if_people_are_swapped():
    rng, found = np.random.default_rng(6), {"people": 0, "images": 0}
    for number in range(200):
        loss, people = images_of_people(rng)
        for name, known in (("people", people), ("images", None)):
            found[name] += permutation_p_value(loss, 500, number, known) < 0.05
    assert found["people"] / 200 < 0.1
    assert found["images"] / 200 > 0.3


def test_a_person_with_one_image_each_is_an_image():
    loss = np.random.default_rng(3).normal(0, 1, (200, 1))
    alone, people = intervals(loss, [], 500, 1), intervals(loss, [], 500, 1, np.arange(200))
    np.testing.assert_allclose(alone[0], people[0], atol=1e-6)


def test_an_image_without_a_person_is_of_a_person_of_its_own():
    assert people_of(pd.DataFrame({"real_age": [1.0]})) is None
    numbers = people_of(pd.DataFrame({"person": ["ann", "", "ann", "", "image 1"]}))
    assert numbers[0] == numbers[2]
    assert len(set(numbers)) == 4
