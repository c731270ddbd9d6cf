"""Metrics as `evaluate` writes them, without a training."""

import hashlib
import random
from typing import Any

from age_tasks.config import GateSettings
from age_tasks.evaluation.challenges import challenge
from age_tasks.evaluation.gate import judge, passes, verdict
from age_tasks.evaluation.results import ChampionComparison, Metrics

METRICS = {
    "images": 40,
    "median_age": 28.0,
    "predict_the_median": {"mae": 13.31},
    "baseline": {
        "mae": {"value": 9.047, "low": 8.61, "high": 9.49},
        "rmse": {"value": 11.82, "low": 11.2, "high": 12.4},
        "bias": {"value": -1.13, "low": -1.8, "high": -0.46},
        "cs5": {"value": 0.361, "low": 0.333, "high": 0.389},
    },
    "finetune": {
        "mae": {"value": 7.065, "low": 6.71, "high": 7.42},
        "rmse": {"value": 9.58, "low": 9.0, "high": 10.1},
        "bias": {"value": 0.52, "low": -0.03, "high": 1.07},
        "cs5": {"value": 0.4876, "low": 0.459, "high": 0.517},
    },
    "difference": {"value": -1.98, "low": -2.31, "high": -1.66},
    "minors": {"images": 9, "mistaken": 0.2222},
    "adults": {"images": 31, "mistaken": 0.0323},
    "interval": {
        "coverage": 0.9,
        "test_coverage": 0.91,
        "groups": [
            {"low": None, "high": 30, "half_width": 8.13, "images": 700, "test_images": 31, "test_coverage": 0.93},
            {"low": 30, "high": None, "half_width": 17.9, "images": 400, "test_images": 9, "test_coverage": 0.85},
        ],
    },
    "champion": None,
}
CHAMPION = {
    "version": "sunday-0a1b2c3d",
    "name": "v4",
    "seen_in_training": 0,
    "new_images": 509,
    "drift": 0.012,
    "images": 40,
    "candidate_mae": 7.065,
    "champion_mae": 7.412,
    "value": -0.347,
    "low": -0.61,
    "high": -0.09,
    "p_value": 0.0081,
    "bins": [
        {"low_age": 20, "high_age": 30, "images": 31, "value": -0.5, "low": -0.8, "high": -0.2},
        {"low_age": 40, "high_age": 50, "images": 8, "value": 0.3, "low": -0.9, "high": 1.5},
    ],
}
IN_USE = {
    "name": "v3",
    "images": 57,
    "mae": {"value": 7.9, "low": 6.9, "high": 9.0},
    "test_mae": {"value": 6.0, "low": 5.6, "high": 6.4},
    "difference": {"value": 1.9, "low": 0.82, "high": 3.07},
    "few": False,
    "worse": True,
}


def metrics_of(**changed: object) -> Metrics:
    """The content of `metrics.json`, with other values for some of its fields."""
    return Metrics.model_validate(METRICS | changed)


def comparison_of(**changed: object) -> ChampionComparison:
    """A comparison with a champion, with other values for some of its fields."""
    return ChampionComparison.model_validate(CHAMPION | changed)


def judged_summary(slices: int) -> dict[str, Any]:
    """The summary of the gate for a comparison with a champion in ten age bins and so many slices."""
    chance = random.Random(slices)

    def numbers(*names: str) -> dict[str, float]:
        return {name: round(chance.uniform(-9, 9), 4) for name in names}

    interval = ("value", "low", "high", "candidate_mae", "champion_mae")
    bins = [{"low_age": low, "high_age": low + 10, "images": 113, **numbers(*interval)} for low in range(0, 100, 10)]
    found = [
        {"column": "camera", "slice_value": f"model {at}", "images": 40, **numbers(*interval[:3], "lower_bound")}
        for at in range(slices)
    ]
    comparison = comparison_of(bins=bins, slices=found)
    comparison = comparison.model_copy(update={"challenge": challenge(comparison, 3)})
    rules = judge(metrics_of(champion=comparison), GateSettings())
    return {
        "run": "manual__2026-11-22T10-15-00-00-00",
        "seconds": 0.31,
        "passed": passes(rules),
        "verdict": verdict(rules),
        "rules": [rule.model_dump(mode="json") for rule in rules],
        "changed": [],
        "candidate": {"images": 1139, **numbers("value", "low", "high")},
        "corrected_mae": None,
        "champion": comparison.model_dump(mode="json"),
        "model": hashlib.sha256(b"model").hexdigest(),
    }
