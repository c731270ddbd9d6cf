"""Prediction intervals with a guaranteed coverage: split conformal prediction (Vovk et al. 2005).

The half-width comes from the errors on the validation images, by groups of predicted age (Mondrian). The coverage holds
for new images that are drawn from the same population.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

COVERAGE = 0.9
MIN_GROUP_SIZE = 50  # images; a smaller group gets the half-width of all images


def half_widths(real: np.ndarray, predicted: np.ndarray, edges: Sequence[float]) -> list[dict[str, Any]]:
    """Half-width of the 90 % interval around a predicted age, by groups of predicted age.

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
        width = _quantile(inside if len(inside) >= MIN_GROUP_SIZE else errors)
        groups.append({"low": low, "high": high, "half_width": round(width, 2), "images": len(inside)})
    return groups


def group_of(predicted: np.ndarray, edges: Sequence[float]) -> np.ndarray:
    """The index of each predicted age's group.

    Args:
        predicted: ages in years, shape (images,).
        edges: as for `half_widths`.
    """
    return np.asarray(np.digitize(predicted, list(edges[1:-1]), right=True))


def bounds(predicted: np.ndarray, groups: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper end of the interval of each predicted age, in years, not below 0.

    Args:
        predicted: ages in years, shape (images,).
        groups: the result of `half_widths`.

    Returns:
        Two arrays of shape (images,).
    """
    inner = [group["high"] for group in groups[:-1]]
    width = np.array([group["half_width"] for group in groups])[np.digitize(predicted, inner, right=True)]
    return np.maximum(predicted - width, 0), predicted + width


def _quantile(errors: np.ndarray) -> float:
    """The finite-sample quantile for the coverage; the largest error where there are too few images for it."""
    rank = int(np.ceil((len(errors) + 1) * COVERAGE))
    return float(np.sort(errors)[min(rank, len(errors)) - 1])
