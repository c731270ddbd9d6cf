import json

import numpy as np
import pytest

from age_tasks.config import GateSettings
from age_tasks.environment import PROJECT
from age_tasks.evaluation.gate import champion_rules, passes
from benchmarks import gate_years
from benchmarks.gate_models import CHAMPION_MAE
from benchmarks.gate_simulation import BLOCK, compared, differences
from benchmarks.gate_years import simulated

RESULTS = json.loads((PROJECT / "benchmarks" / "gate_simulation.json").read_text())


@pytest.mark.parametrize("gain", [-0.5, 0.0, 0.5])
def test_simulated_differences_have_the_true_mean(gain: float):
    loss = differences(np.full(20_000, 30.0), gain, np.random.default_rng(1))
    assert loss.mean() == pytest.approx(-gain, abs=0.02)
    assert loss.std() < CHAMPION_MAE  # the models' errors are correlated


@pytest.mark.parametrize(("gain", "fewest", "most"), [(-0.5, 0, 0), (0.0, 0, 10), (0.5, 80, BLOCK)])
def test_the_gate_promotes_better_models_and_hardly_any_other(gain: float, fewest: int, most: int):
    settings = GateSettings()
    promoted = sum(passes(champion_rules(found, settings, settings)) for found in compared(1139, gain, seed=7))
    assert fewest <= promoted <= most


def test_equal_candidates_replace_a_champion_less_often_than_when_each_decision_stood_alone(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(gate_years, "BLOCK", 100)
    alone, counted = (simulated(0.0, 100, seed=5, weeks=4, each_at_95=each) for each in (True, False))
    assert counted.within(4) < alone.within(4)
    assert counted.within(4) <= 0.08


def test_the_stored_decisions_meet_the_bounds():
    assert len(RESULTS["decisions"]) == 12
    for row in RESULTS["decisions"]:
        if row["policy"] == "better" and row["true_gain_years"] == 0:
            assert row["promoted_share"] <= 0.05
        if row["true_gain_years"] < 0:
            assert row["promoted_share"] <= 0.001


def test_the_stored_years_keep_the_promise():
    shares = {(row["true_gain_years"], row["each_at_95"]): row["replaced_share"] for row in RESULTS["years"]}
    assert {row["years"] for row in RESULTS["years"]} == {2000}
    assert shares[-0.5, False] == 0
    assert shares[0.0, False] <= 0.05 < 0.3 < shares[0.0, True]


def test_the_stored_tries_promote_a_better_candidate_soon():
    first = RESULTS["tries"][0]
    assert (first["challenge"], first["test_images"]) == (1, 1139)
    assert first["first_try"] >= 0.9
    assert first["within_three"] >= 0.99


def test_the_correction_takes_most_of_the_optimism_of_equal_models_that_were_promoted():
    (equal,) = [row for row in RESULTS["years"] if row["true_gain_years"] == 0 and not row["each_at_95"]]
    assert abs(equal["corrected_optimism_years"]) < equal["optimism_years"] / 2
