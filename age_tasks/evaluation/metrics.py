"""Numbers that say how good an age model is; ages and errors in years."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from age_tasks.config import EvaluateSettings

Metric = Callable[[np.ndarray, np.ndarray], float]


def mae(real: np.ndarray, predicted: np.ndarray) -> float:
    """Mean absolute error."""
    return float(np.abs(predicted - real).mean())


def rmse(real: np.ndarray, predicted: np.ndarray) -> float:
    """Root of the mean squared error: large errors weigh more."""
    return float(np.sqrt(np.square(predicted - real).mean()))


def bias(real: np.ndarray, predicted: np.ndarray) -> float:
    """Mean signed error: above 0 means people are taken for older than they are."""
    return float((predicted - real).mean())


def cs5(real: np.ndarray, predicted: np.ndarray) -> float:
    """Cumulative score at 5: the share (0–1) of predictions within 5 years."""
    return float((np.abs(predicted - real) <= 5).mean())


METRICS: dict[str, Metric] = {"mae": mae, "rmse": rmse, "bias": bias, "cs5": cs5}


def measure(real: np.ndarray, predicted: np.ndarray, samples: int, seed: int) -> dict[str, dict[str, float]]:
    """Every metric with its 95 % percentile bootstrap interval (Efron 1979) over resampled images.

    Returns:
        `{"mae": {"value": 7.1, "low": 6.8, "high": 7.4}, …}`.
    """
    drawn = _resamples(len(real), samples, seed)
    return {
        name: _interval(metric(real, predicted), [metric(real[rows], predicted[rows]) for rows in drawn])
        for name, metric in METRICS.items()
    }


def mae_difference(
    real: np.ndarray, candidate: np.ndarray, other: np.ndarray, samples: int, seed: int
) -> dict[str, float]:
    """MAE of `candidate` less MAE of `other` on the same images, with a paired 95 % bootstrap interval.

    Below 0 means the candidate is better. Pairing removes what makes an image hard for both.
    """
    gain = np.abs(candidate - real) - np.abs(other - real)
    means = [gain[rows].mean() for rows in _resamples(len(real), samples, seed)]
    return _interval(float(gain.mean()), means)


def by_age(predictions: pd.DataFrame, edges: Sequence[float], columns: Sequence[str]) -> pd.DataFrame:
    """Images, MAE and bias of each model in age bins `(low, high]`; the first includes its lower edge.

    Args:
        predictions: `real_age` and one column of predicted ages per model.
    """
    intervals = pd.cut(predictions["real_age"], list(edges), include_lowest=True, labels=False)
    rows = []
    for number, (low, high) in enumerate(pairwise(edges)):
        part = predictions[intervals == number]
        last = number == len(edges) - 2
        row = {
            "bin": f"over {low:g}" if last else f"{low:g}–{high:g}",
            "low": low,
            "high": high,
            "images": len(part),
        }
        for column in columns:
            error = part[column] - part["real_age"]
            row |= {f"{column}_mae": error.abs().mean(), f"{column}_bias": error.mean()}
        rows.append(row)
    return pd.DataFrame(rows)


def _resamples(size: int, samples: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, size, (samples, size))


def _interval(value: float, resampled: Sequence[float]) -> dict[str, float]:
    low, high = np.percentile(resampled, [2.5, 97.5])
    return {"value": round(value, 4), "low": round(float(low), 4), "high": round(float(high), 4)}


MODELS = ("baseline", "finetune")


ADULT = 18  # years


def summarise(predictions: pd.DataFrame, median_age: float, settings: EvaluateSettings) -> dict:
    """The content of `metrics.json`: each model's metrics with intervals, beside predicting the training median."""
    real = predictions["real_age"].to_numpy()
    baseline, finetune = (predictions[name].to_numpy() for name in MODELS)
    samples, seed = settings.bootstrap_samples, settings.seed
    return {
        "images": len(real),
        "median_age": median_age,
        "predict_the_median": {"mae": round(mae(real, np.full_like(real, median_age)), 4)},
        "baseline": measure(real, baseline, samples, seed),
        "finetune": measure(real, finetune, samples, seed),
        "difference": mae_difference(real, finetune, baseline, samples, seed),
        "minors": taken_for(real < ADULT, finetune >= ADULT),
        "adults": taken_for(real >= ADULT, finetune < ADULT),
    }


def taken_for(are: np.ndarray, seem: np.ndarray) -> dict:
    """How many people of a group there are, and which share of them is taken for the other group."""
    return {"images": int(are.sum()), "mistaken": round(float(seem[are].mean()), 4) if are.any() else None}
