"""Error metrics of age predictions; ages and errors in years."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from age_tasks.evaluation.bootstrap import intervals
from age_tasks.evaluation.results import ConstantMetrics, Estimate, Mistaken, ModelMetrics

MODELS = ("baseline", "finetune")
ADULT = 18  # years


def mae(real: np.ndarray, predicted: np.ndarray) -> float:
    """Mean absolute error."""
    return float(np.abs(predicted - real).mean())


def measure(
    real: np.ndarray, predicted: np.ndarray, samples: int, seed: int, people: np.ndarray | None = None
) -> ModelMetrics:
    """Every metric with its 95 % percentile bootstrap interval over resampled images, or people.

    `mae`: mean absolute error. `rmse`: root of the mean squared error, in which large errors weigh more. `bias`: mean
    signed error, above 0 where people are taken for older than they are. `cs5`: cumulative score at 5, the share (0–1)
    of predictions within 5 years.

    Args:
        real, predicted: ages in years, shape (images,).
        people: as for `bootstrap.intervals`.
    """
    error = predicted - real
    columns = (np.abs(error), np.square(error), error, np.abs(error) <= 5)
    found, _ = intervals(np.column_stack(columns), [], samples, seed, people)
    found[:, 1] = np.sqrt(found[:, 1])
    mae, rmse, bias, cs5 = (estimate(column) for column in found.T)
    return ModelMetrics(mae=mae, rmse=rmse, bias=bias, cs5=cs5)


def mae_difference(
    real: np.ndarray,
    candidate: np.ndarray,
    other: np.ndarray,
    samples: int,
    seed: int,
    people: np.ndarray | None = None,
) -> Estimate:
    """MAE of `candidate` less MAE of `other` on the same images, with a paired 95 % bootstrap interval.

    Below 0 means the candidate is better. Pairing removes what makes an image hard for both.
    """
    gain = np.abs(candidate - real) - np.abs(other - real)
    found, _ = intervals(gain[:, None], [], samples, seed, people)
    return estimate(found[:, 0])


def estimate(found: np.ndarray) -> Estimate:
    """Value, low and high, rounded to 4 digits.

    Args:
        found: a column of `bootstrap.intervals`, shape (3,).
    """
    value, low, high = (round(float(number), 4) for number in found)
    return Estimate(value=value, low=low, high=high)


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


def predict_the_median(real: np.ndarray, median_age: float) -> ConstantMetrics:
    """The MAE of predicting the training images' median age for every test image."""
    return ConstantMetrics(mae=round(mae(real, np.full_like(real, median_age)), 4))


def mistaken_for_adults(real: np.ndarray, predicted: np.ndarray) -> Mistaken:
    """Images of people under 18, and the fraction that is predicted to be 18 or older."""
    return _taken_for(real < ADULT, predicted >= ADULT)


def mistaken_for_minors(real: np.ndarray, predicted: np.ndarray) -> Mistaken:
    """Images of people of 18 or older, and the fraction that is predicted to be younger."""
    return _taken_for(real >= ADULT, predicted < ADULT)


def _taken_for(are: np.ndarray, seem: np.ndarray) -> Mistaken:
    """How many images show a group of people, and which fraction of them is predicted to be outside the group.

    Args:
        are, seem: masks of shape (images,): in the group by real age; outside it by predicted age.
    """
    return Mistaken(images=int(are.sum()), mistaken=round(float(seem[are].mean()), 4) if are.any() else None)
