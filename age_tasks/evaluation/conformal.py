"""Prediction intervals with a guaranteed coverage: split conformal prediction (Vovk et al. 2005).

The half-width comes from the errors on the validation images, by groups of predicted age (Mondrian). The coverage holds
for new images that are drawn from the same population.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from age_tasks.evaluation.results import IntervalGroup, PredictionInterval

COVERAGE = 0.9
MIN_GROUP_SIZE = 50  # images; a smaller group gets the half-width of all images


def half_widths(real: np.ndarray, predicted: np.ndarray, edges: Sequence[float]) -> list[IntervalGroup]:
    """Half-width of the 90 % interval around a predicted age, by groups of predicted age.

    Args:
        real, predicted: ages of the validation images in years, shape (images,).
        edges: of the groups, in years, ascending; the first and last group are open.
    """
    errors, number = np.abs(predicted - real), group_of(predicted, edges)
    groups = []
    for at, (low, high) in enumerate(pairwise([None, *edges[1:-1], None])):
        inside = errors[number == at]
        width = _quantile(inside if len(inside) >= MIN_GROUP_SIZE else errors)
        groups.append(IntervalGroup(low=low, high=high, half_width=round(width, 2), images=len(inside)))
    return groups


def group_of(predicted: np.ndarray, edges: Sequence[float]) -> np.ndarray:
    """The index of each predicted age's group.

    Args:
        predicted: ages in years, shape (images,).
        edges: as for `half_widths`.
    """
    return np.asarray(np.digitize(predicted, list(edges[1:-1]), right=True))


def possible_ages(predicted: np.ndarray) -> np.ndarray:
    """The predicted ages as they are reported, in years: what the head `regression` computes below 0 is 0."""
    return np.asarray(np.maximum(predicted, 0))


def bounds(predicted: np.ndarray, groups: Sequence[IntervalGroup]) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper end of the interval of each predicted age, in years, not below 0.

    It is around the age that is reported. Real ages are not below 0 either, so it covers no fewer of them.

    Args:
        predicted: ages in years, shape (images,); some may be below 0.
        groups: the result of `half_widths`.

    Returns:
        Two arrays of shape (images,).
    """
    predicted = possible_ages(predicted)
    inner = [group.high for group in groups[:-1] if group.high is not None]
    width = np.array([group.half_width for group in groups])[np.digitize(predicted, inner, right=True)]
    return np.maximum(predicted - width, 0), predicted + width


def with_coverage(
    groups: Sequence[IntervalGroup], real: np.ndarray, predicted: np.ndarray, edges: Sequence[float]
) -> PredictionInterval:
    """The interval with its coverage of other images, overall and by group.

    Args:
        groups: the result of `half_widths`.
        real, predicted: ages of the test images in years, shape (images,).
        edges: as for `half_widths`.
    """
    low, high = bounds(predicted, groups)
    covered, number = (low <= real) & (real <= high), group_of(predicted, edges)
    tested = []
    for at, group in enumerate(groups):
        inside = covered[number == at]
        fraction = round(float(inside.mean()), 4) if len(inside) else None
        tested.append(group.model_copy(update={"test_images": len(inside), "test_coverage": fraction}))
    return PredictionInterval(coverage=COVERAGE, test_coverage=round(float(covered.mean()), 4), groups=tuple(tested))


def _quantile(errors: np.ndarray) -> float:
    """The finite-sample quantile for the coverage; the largest error where there are too few images for it."""
    rank = int(np.ceil((len(errors) + 1) * COVERAGE))
    return float(np.sort(errors)[min(rank, len(errors)) - 1])
