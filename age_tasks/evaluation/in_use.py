"""The champion's error in use: on images that nobody had learned from when it was scored on them."""

import numpy as np
import pandas as pd

from age_tasks.evaluation.bootstrap import intervals, people_of
from age_tasks.evaluation.enough import too_few
from age_tasks.evaluation.metrics import estimate
from age_tasks.evaluation.results import ErrorInUse, Estimate


def error_in_use(
    images: pd.DataFrame, name: str, tested: Estimate | None, optimism: float | None, samples: int, seed: int
) -> ErrorInUse:
    """The champion's MAE on new images, and whether it is worse than on its test images beyond chance.

    It is where the 95 % interval of the difference is above 0, and the new images and their people are enough to judge
    by. Beside the selection, nothing is adjusted for: the new images may show other people, or be harder.

    Args:
        images: those that are new since the champion was trained, at least one: columns real_age, champion (years);
            person if it is known.
        name: of the champion, such as `v3`.
        tested: its test MAE when it was published; None if that is lost.
        optimism: by how much that looks too good, in years, since the champion was chosen by it; None if not known.
        samples, seed: as for `bootstrap.intervals`.
    """
    loss = (images["champion"] - images["real_age"]).abs().to_numpy(dtype="float64")
    people = people_of(images)
    count = None if people is None else len(np.unique(people))
    few = bool(too_few(len(loss), count))
    found, _ = intervals(loss[:, None], [], samples, seed, people)
    mae = estimate(found[:, 0])
    difference = difference_of_independent(mae, _moved(tested, optimism or 0.0)) if tested else None
    return ErrorInUse(
        name=name,
        images=len(loss),
        people=count,
        mae=mae,
        test_mae=tested,
        optimism=optimism if tested else None,
        difference=difference,
        few=few,
        worse=difference is not None and difference.low > 0 and not few,
    )


def _moved(number: Estimate, by: float) -> Estimate:
    return Estimate(value=number.value + by, low=number.low + by, high=number.high + by)


def difference_of_independent(first: Estimate, second: Estimate) -> Estimate:
    """The first number less the second, with a 95 % interval from those of both (MOVER: Zou and Donner 2008).

    It needs no more than the two intervals, which may be asymmetric; the numbers are of different images.
    """
    value = first.value - second.value
    below = np.hypot(first.value - first.low, second.high - second.value)
    above = np.hypot(first.high - first.value, second.value - second.low)
    return estimate(np.array([value, value - below, value + above]))
