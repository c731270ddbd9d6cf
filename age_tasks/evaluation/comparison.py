"""Champion against candidate on the same test images: is the difference more than chance?"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from age_tasks.evaluation.bootstrap import intervals, people_in, people_of, permutation_p_value
from age_tasks.evaluation.metrics import estimate
from age_tasks.evaluation.results import BinDifference, PairedComparison


def compare(predictions: pd.DataFrame, edges: Sequence[float], samples: int, seed: int) -> PairedComparison:
    """MAE of the candidate less MAE of the champion, in years: below 0 the candidate is better.

    The images, or people where they are known, are resampled in pairs (Efron 1979), which takes out what makes an image
    hard for both. The p-value is that of a permutation test: how often swapping candidate and champion at random, image
    by image, or person by person, gives a difference at least as large.

    Args:
        predictions: columns `real_age`, `finetune` (the candidate), `champion`, in years; `person` if it is known.
        edges: of the age bins, in years, ascending.
        samples: resamples behind each 95 % interval, and swaps behind the p-value.
    """
    real = predictions["real_age"].to_numpy()
    errors = {name: np.abs(predictions[name].to_numpy() - real) for name in ("finetune", "champion")}
    loss = (errors["finetune"] - errors["champion"]).astype("float64")
    number = pd.cut(predictions["real_age"], list(edges), include_lowest=True, labels=False).to_numpy()
    masks = [number == at for at in range(len(edges) - 1)]
    filled = [at for at, mask in enumerate(masks) if mask.any()]
    people = people_of(predictions)
    overall, bins = intervals(loss[:, None], [masks[at] for at in filled], samples, seed, people)
    bounds = list(pairwise(edges))
    return PairedComparison(
        **dict(estimate(overall[:, 0])),
        images=len(loss),
        people=None if people is None else len(np.unique(people)),
        candidate_mae=round(float(errors["finetune"].mean()), 4),
        champion_mae=round(float(errors["champion"].mean()), 4),
        p_value=round(permutation_p_value(loss, samples, seed, people), 4),
        bins=tuple(
            BinDifference(
                **dict(estimate(found[:, 0])),
                low_age=bounds[at][0],
                high_age=bounds[at][1],
                images=int(masks[at].sum()),
                people=people_in(masks[at], people),
                candidate_mae=round(float(errors["finetune"][masks[at]].mean()), 4),
                champion_mae=round(float(errors["champion"][masks[at]].mean()), 4),
            )
            for at, found in zip(filled, bins, strict=True)
        ),
    )


def population_stability(before: pd.Series, now: pd.Series, edges: Sequence[float]) -> float:
    """How far the age distribution has moved: the population stability index (Siddiqi 2006) over age bins.

    By convention, below 0.1 is little and above 0.25 is much.

    Args:
        before, now: ages in years.
        edges: of the bins, in years, ascending.
    """
    expected, actual = (_fractions(ages, edges) for ages in (before, now))
    return float(((actual - expected) * np.log(actual / expected)).sum())


def _fractions(ages: pd.Series, edges: Sequence[float]) -> np.ndarray:
    """The fraction of the ages in each bin, smoothed by half an image: an empty bin is not infinitely far away."""
    counts, _ = np.histogram(ages, list(edges))
    smoothed = counts + 0.5
    return np.asarray(smoothed / smoothed.sum())
