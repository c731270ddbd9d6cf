"""The correction of a test MAE for having been chosen by it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from age_tasks.config import GateSettings
from age_tasks.evaluation.challenges import challenge
from age_tasks.evaluation.gate import gate_result, judge, passing_difference
from age_tasks.evaluation.selection import selection
from tests.support.metrics import CHAMPION, comparison_of, metrics_of

ERROR = 0.13  # standard error of a difference in years


def test_a_lead_just_beyond_the_threshold_counts_as_chance_and_a_large_one_hardly():
    just, large = (selection(comparison_of(value=value, high=value + 1.96 * ERROR), -0.27) for value in (-0.28, -0.8))
    assert just.optimism == pytest.approx(0.14)  # half of the lead: the other half is the champion's bad luck
    assert large.optimism == pytest.approx(0, abs=0.001)
    assert (just.images, just.people) == (40, None)
    assert selection(comparison_of(people=12), -0.27).people == 12


@settings(deadline=None)  # the first example imports scipy
@given(st.floats(-2, -0.001), st.floats(1e-4, 2), st.floats(-1, 0.5))
def test_the_correction_is_between_none_and_half_of_the_lead(value: float, error: float, threshold: float):
    found = selection(comparison_of(value=value, high=value + 1.96 * error), threshold)
    assert -1e-4 <= found.optimism <= -value / 2 + 1e-4
    if value >= threshold:
        assert found.optimism == 0


@pytest.mark.parametrize("true", [0.0, -0.25, -0.5])
def test_most_of_what_chance_adds_to_those_that_pass_is_taken_away(true: float):
    observed = np.random.default_rng(4).normal(true, ERROR, 20_000)
    passed = observed[observed < -2.1 * ERROR][:300]
    chosen = [selection(comparison_of(value=each, high=each + 1.96 * ERROR), -2.1 * ERROR) for each in passed]
    measured, corrected = (true - passed) / 2, (true - passed) / 2 - [each.optimism for each in chosen]
    assert abs(corrected.mean()) < max(0.3 * measured.mean(), 0.03)


def test_only_a_candidate_that_passed_is_corrected_by_what_it_had_to_reach():
    bounds = GateSettings()
    found = comparison_of(**CHAMPION | {"bins": []})
    asked = found.model_copy(update={"challenge": challenge(found, 1)})
    passed = metrics_of(champion=asked)
    result = gate_result(judge(passed, bounds), (), asked, bounds)
    assert result.selection == selection(asked, passing_difference(asked, bounds))
    assert result.selection.optimism > 0
    assert result.challenge == asked.challenge
    late = found.model_copy(update={"challenge": challenge(found, 50)})
    refused = gate_result(judge(metrics_of(champion=late), bounds), (), late, bounds)
    assert (refused.passed, refused.selection, refused.challenge.number) == (False, None, 50)


def test_where_an_equal_model_is_enough_the_challenge_asks_nothing():
    bounds, found = GateSettings(policy="not_worse"), comparison_of(value=0.05, high=0.2, bins=())
    late = found.model_copy(update={"challenge": challenge(found, 50)})
    result = gate_result(judge(metrics_of(champion=late), bounds), (), late, bounds)
    assert (result.passed, result.challenge) == (True, None)
    assert result.selection.optimism >= 0
