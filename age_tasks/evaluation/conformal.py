"""Intervals around predicted ages that hold as often as they say: split conformal prediction (Vovk et al. 2005).

What the error was on the validation images, by groups of predicted age (Mondrian), is what it will be on new pictures
like those.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

COVERAGE = 0.9
FEWEST = 50  # a group of fewer images takes the half-width of all


def half_widths(real: np.ndarray, predicted: np.ndarray, edges: Sequence[float]) -> list[dict]:
    """How far a real age lies from a predicted one at most, 9 times in 10, by groups of predicted age.

    Args:
        real, predicted: ages of the validation images in years, shape (images,).
        edges: of the groups, in years, ascending; the first and last group are open.

    Returns:
        For each group `low`, `high` (years; None where it is open), `half_width` (years) and `images`.
    """
    errors, number = np.abs(predicted - real), group_of(predicted, edges)
    groups = []
    for at, (low, high) in enumerate(pairwise([None, *edges[1:-1], None])):
        inside = errors[number == at]
        width = _quantile(inside if len(inside) >= FEWEST else errors)
        groups.append({"low": low, "high": high, "half_width": round(width, 2), "images": len(inside)})
    return groups


def group_of(predicted: np.ndarray, edges: Sequence[float]) -> np.ndarray:
    """The number of the group of each predicted age, from 0."""
    return np.digitize(predicted, list(edges[1:-1]), right=True)


def bounds(predicted: np.ndarray, groups: Sequence[dict]) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper end of the interval of each predicted age, in years, not below 0."""
    inner = [group["high"] for group in groups[:-1]]
    width = np.array([group["half_width"] for group in groups])[np.digitize(predicted, inner, right=True)]
    return np.maximum(predicted - width, 0), predicted + width


def _quantile(errors: np.ndarray) -> float:
    """The finite-sample quantile that gives the coverage on average; the largest error where there are too few."""
    rank = int(np.ceil((len(errors) + 1) * COVERAGE))
    return float(np.sort(errors)[min(rank, len(errors)) - 1])
