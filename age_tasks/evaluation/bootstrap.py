"""Resampling: bootstrap intervals and permutation tests."""

from collections.abc import Sequence

import numpy as np

CHUNK = 500  # resamples at a time: their weights for 5,000 images are 10 MB


LEVEL = 0.95


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


def _resamples(images: int, samples: int, seed: int):
    """How often each image is drawn, resample by resample, in chunks of shape (≤ CHUNK, images)."""
    rng = np.random.default_rng(seed)
    for start in range(0, samples, CHUNK):
        size = min(CHUNK, samples - start)
        drawn = rng.integers(images, size=(size, images)) + images * np.arange(size)[:, None]
        yield start, np.bincount(drawn.ravel(), minlength=size * images).reshape(size, images).astype("float32")
