"""Champion against candidate on the same test images: is the difference more than chance?"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

CHUNK = 500  # resamples at a time: their weights for 5,000 images are 10 MB
LEVEL = 0.95


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


def intervals(
    loss: np.ndarray, groups: Sequence[np.ndarray], samples: int, seed: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Mean and its 95 % percentile bootstrap interval, over all images and over each group of them.

    Args:
        loss: shape (images, comparisons): all comparisons share the resamples, so that thousands take one product.
        groups: masks of shape (images,), each with at least one image.

    Returns:
        Arrays of shape (3, comparisons): mean, low, high; for all images, and a list for the groups.
    """
    masks = np.stack([np.ones(len(loss), bool), *groups], axis=1).astype("float32")
    weighted = (masks[:, :, None] * loss[:, None, :]).astype("float32").reshape(len(loss), -1)
    means = np.empty((samples, masks.shape[1], loss.shape[1]), "float32")
    for start, weights in _resamples(len(loss), samples, seed):
        total = (weights @ weighted).reshape(len(weights), masks.shape[1], -1)
        count = weights @ masks  # a group may be missing from a resample
        with np.errstate(invalid="ignore"):
            means[start : start + len(weights)] = total / count[:, :, None]
    tail = 50 * (1 - LEVEL)
    low, high = np.nanpercentile(means, [tail, 100 - tail], axis=0)
    mean = (masks.T @ loss) / masks.sum(axis=0)[:, None]
    found = [np.stack([mean[at], low[at], high[at]]) for at in range(masks.shape[1])]
    return found[0], found[1:]


def permutation_p_value(loss: np.ndarray, samples: int, seed: int) -> float:
    """Two-sided p-value of a paired permutation test of the mean being 0 (Fisher 1935), by random swaps.

    Args:
        loss: differences, shape (images,).
    """
    rng, extreme = np.random.default_rng(seed), 1  # the data themselves are one arrangement (Phipson and Smyth 2010)
    for start in range(0, samples, CHUNK):
        signs = rng.integers(0, 2, (min(CHUNK, samples - start), len(loss)), dtype=np.int8) * 2 - 1
        extreme += int((np.abs(signs @ loss) >= abs(loss.sum()) * (1 - 1e-12)).sum())
    return extreme / (samples + 1)


def population_stability(before: pd.Series, now: pd.Series, edges: Sequence[float]) -> float:
    """How far the distribution of ages has moved: the population stability index (Siddiqi 2006) over age bins.

    Below 0.1 little, above 0.25 much, by its usual reading.
    """
    before_share, now_share = (_shares(ages, edges) for ages in (before, now))
    return float(((now_share - before_share) * np.log(now_share / before_share)).sum())


def _shares(ages: pd.Series, edges: Sequence[float]) -> np.ndarray:
    counts, _ = np.histogram(ages, list(edges))
    return (counts + 0.5) / (counts + 0.5).sum()  # an empty bin is not infinitely far from one image


def _resamples(images: int, samples: int, seed: int):
    """How often each image is drawn, resample by resample, in chunks of shape (≤ CHUNK, images)."""
    rng = np.random.default_rng(seed)
    for start in range(0, samples, CHUNK):
        size = min(CHUNK, samples - start)
        drawn = rng.integers(images, size=(size, images)) + images * np.arange(size)[:, None]
        yield start, np.bincount(drawn.ravel(), minlength=size * images).reshape(size, images).astype("float32")


def _named(found: np.ndarray) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in zip(("value", "low", "high"), found, strict=True)}
