"""What each challenge of a champion needs, and that all together leave no more chance than is promised."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from age_tasks.config import GateSettings
from age_tasks.evaluation.bootstrap import intervals
from age_tasks.evaluation.challenges import ERROR_IN_OFFICE, challenge, error_of, error_spent
from age_tasks.evaluation.gate import champion_rules, passes
from tests.support.metrics import comparison_of

NUMBERS = st.integers(1, 100_000)


@given(NUMBERS)
def test_challenges_spend_less_and_less_and_never_all(number: int):
    assert 0 < error_of(number + 1) < error_of(number)
    assert error_spent(number) < ERROR_IN_OFFICE


@given(st.integers(0, 3000))
def test_what_is_spent_is_the_sum_of_what_the_challenges_may(challenges: int):
    assert sum(map(error_of, range(1, challenges + 1))) == pytest.approx(error_spent(challenges))


@settings(deadline=None)  # the first example imports scipy
@given(NUMBERS, NUMBERS, st.integers(2, 10_000), st.floats(-1, 1), st.floats(0.01, 2))
def test_a_later_challenge_needs_more(one: int, other: int, images: int, value: float, half: float):
    first, second = sorted([one, other])
    found = comparison_of(value=value, high=value + half, images=images)
    assert challenge(found, first).upper <= challenge(found, second).upper
    assert challenge(found, first).level <= challenge(found, second).level


@given(NUMBERS, st.integers(2, 1000), st.integers(1, 50))
def test_people_are_the_sample_where_they_are_known(number: int, people: int, each: int):
    found = comparison_of(images=people * each, people=people)
    assert challenge(found, number).upper == challenge(comparison_of(images=people), number).upper
    assert challenge(found, number).upper >= challenge(comparison_of(images=people * each), number).upper


def test_on_images_of_few_people_equal_candidates_do_not_pass_many_times_as_often_as_allowed():
    """On 144 images of 12 people, as challenge 10: with the degrees of freedom of the images, and of the people."""
    images = {"value": -1.0, "high": 0.0, "images": 144}
    wider = {people: challenge(comparison_of(**images, people=people), 10).upper + 1 for people in (None, 12)}
    passed, blocks = dict.fromkeys(wider, 0), 20
    for block in range(blocks):
        of_people = np.random.default_rng(block).normal(0, 1, (12, 1000))  # the mean of each person's images
        (value, _, high), _ = intervals(of_people, [], 2000, block)
        for people, factor in wider.items():
            passed[people] += int((value + factor * (high - value) < 0).sum())
    allowed = 1000 * blocks * error_of(10)
    assert passed[None] > 6 * allowed
    assert passed[12] < 4 * allowed


def test_the_first_challenge_is_judged_by_the_interval_that_is_shown():
    found = challenge(comparison_of(), 1)
    assert (found.level, found.upper) == (0.95, comparison_of().high)


def test_a_gain_that_was_enough_at_first_is_too_small_after_fifty_challenges():
    bounds = GateSettings()
    found = comparison_of(value=-0.4, high=-0.1, images=1139, bins=())
    at = {
        number: champion_rules(found.model_copy(update={"challenge": challenge(found, number)}), bounds, bounds)
        for number in (1, 50)
    }
    assert passes(at[1])
    assert [rule.sentence for rule in at[50] if not rule.passed] == [
        "better beyond chance (challenge 50 of this champion: upper end of the 99.9961 % interval): "
        "0.23 is not < 0.00 years"
    ]


def test_a_clear_gain_is_enough_after_fifty_challenges():
    bounds, found = GateSettings(), comparison_of(value=-0.8, high=-0.5, images=1139, bins=())
    assert passes(champion_rules(found.model_copy(update={"challenge": challenge(found, 50)}), bounds, bounds))


@pytest.mark.parametrize(("number", "level"), [(1, "95 %"), (3, "99.17 %"), (7, "99.82 %"), (52, "99.9964 %")])
def test_what_was_needed_is_said_in_words(number: int, level: str):
    assert challenge(comparison_of(), number).needed == (
        f"challenge {number} of this champion: the upper end of the {level} interval must be below 0"
    )


def test_the_upper_end_is_that_of_the_resamples_where_these_are_enough():
    """At 98.3 % and 99.17 %, which 20,000 resamples measure."""
    loss = np.random.default_rng(3).normal(-0.1, 4, (300, 1))
    overall, _ = intervals(loss, [], 20_000, seed=1)
    resampled = np.random.default_rng(2).choice(loss[:, 0], (20_000, 300)).mean(axis=1)
    found = comparison_of(value=overall[0, 0], high=overall[2, 0], images=300)
    for number in (2, 3):
        assert challenge(found, number).upper == pytest.approx(np.quantile(resampled, 1 - error_of(number)), abs=0.03)
