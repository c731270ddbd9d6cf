"""Champion against candidate on the same test images: is the difference more than chance?"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from age_tasks.evaluation.bootstrap import intervals, permutation_p_value


def compare(predictions: pd.DataFrame, edges: Sequence[float], samples: int, seed: int) -> dict:
    """MAE of the candidate less MAE of the champion, in years: below 0 the candidate is better.

    The images are resampled in pairs (Efron 1979), which takes out what makes an image hard for both. The p-value is
    that of a permutation test: how often swapping candidate and champion at random, image by image, gives a difference
    at least as large.

    Args:
        predictions: columns `real_age`, `finetune` (the candidate), `champion`, in years.
        edges: of the age bins, in years, ascending.
        samples: resamples behind each 95 % interval, and swaps behind the p-value.

    Returns:
        `value`, `low`, `high`, `p_value`, `images`, and `bins`: a list of the same by age bin, empty bins left out.
    """
    real = predictions["real_age"].to_numpy()
    errors = {name: np.abs(predictions[name].to_numpy() - real) for name in ("finetune", "champion")}
    loss = (errors["finetune"] - errors["champion"]).astype("float64")
    number = pd.cut(predictions["real_age"], list(edges), include_lowest=True, labels=False).to_numpy()
    there = [number == at for at in range(len(edges) - 1)]
    kept = [at for at, inside in enumerate(there) if inside.any()]
    overall, bins = intervals(loss[:, None], [there[at] for at in kept], samples, seed)
    bounds = list(pairwise(edges))
    return {
        "images": len(loss),
        "candidate_mae": round(float(errors["finetune"].mean()), 4),
        "champion_mae": round(float(errors["champion"].mean()), 4),
        **_named(overall[:, 0]),
        "p_value": round(permutation_p_value(loss, samples, seed), 4),
        "bins": [
            {"low_age": bounds[at][0], "high_age": bounds[at][1], "images": int(there[at].sum()), **_named(found[:, 0])}
            for at, found in zip(kept, bins, strict=True)
        ],
    }


def population_stability(before: pd.Series, now: pd.Series, edges: Sequence[float]) -> float:
    """How far the distribution of ages has moved: the population stability index (Siddiqi 2006) over age bins.

    Below 0.1 little, above 0.25 much, by its usual reading.
    """
    before_share, now_share = (_shares(ages, edges) for ages in (before, now))
    return float(((now_share - before_share) * np.log(now_share / before_share)).sum())


def _shares(ages: pd.Series, edges: Sequence[float]) -> np.ndarray:
    counts, _ = np.histogram(ages, list(edges))
    return (counts + 0.5) / (counts + 0.5).sum()  # an empty bin is not infinitely far from one image


def _named(found: np.ndarray) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in zip(("value", "low", "high"), found, strict=True)}
