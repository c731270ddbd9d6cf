import json
from pathlib import Path

import numpy as np
import pytest

from age_tasks.config import GateSettings
from age_tasks.environment import PROJECT
from age_tasks.evaluation.gate import champion_rules, passes
from benchmarks.gate_simulation import BLOCK, CHAMPION_MAE, compared, differences

RESULTS = PROJECT / "benchmarks" / "gate_simulation.json"


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


def test_the_stored_results_meet_the_bounds():
    rows = json.loads(Path(RESULTS).read_text())
    assert len(rows) == 12
    for row in rows:
        if row["policy"] == "better" and row["true_gain_years"] == 0:
            assert row["promoted_share"] <= 0.05
        if row["true_gain_years"] < 0:
            assert row["promoted_share"] <= 0.001
