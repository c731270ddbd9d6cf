import numpy as np
import pandas as pd
import pytest

from age_tasks.evaluation.metrics import by_age, mae_difference, measure

REAL = np.array([10.0, 20, 30, 40])


def test_metrics_of_a_known_case():
    found = measure(REAL, np.array([11.0, 20, 40, 37]), samples=200, seed=1)
    assert found.mae.value == 3.5
    assert found.bias.value == 2
    assert found.cs5.value == 0.75
    assert found.rmse.value == pytest.approx(27.5**0.5, abs=1e-4)
    assert found.mae.low <= 3.5 <= found.mae.high


def test_the_difference_is_paired():
    rng = np.random.default_rng(1)
    real = rng.uniform(1, 90, 400)
    error = np.abs(rng.normal(0, 12, 400)) + 1
    gain = mae_difference(real, real + error - 0.5, real + error, samples=500, seed=1)
    assert gain.value == gain.low == gain.high == -0.5


def test_bins_include_their_upper_edge_and_may_be_empty():
    predictions = pd.DataFrame({"real_age": [0.0, 10, 11, 95], "model": [1.0, 12, 11, 90]})
    found = by_age(predictions, (0, 10, 20, 30, 120), ["model"])
    assert found["images"].tolist() == [2, 1, 0, 1]
    assert found["model_mae"][0] == 1.5
    assert found["model_bias"][3] == -5
    assert found["bin"].tolist()[-1] == "over 30"
