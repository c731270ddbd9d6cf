"""Resampling: bootstrap intervals (Efron 1979) and permutation tests (Fisher 1935)."""

from collections.abc import Iterator, Sequence

import numpy as np

LEVEL = 0.95
MAX_CHUNK = 500  # resamples at a time
MAX_CHUNK_CELLS = 2_500_000  # resamples times images at a time; their counts take 20 MB


def intervals(
    loss: np.ndarray, groups: Sequence[np.ndarray], samples: int, seed: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Mean and its 95 % percentile bootstrap interval, over all images and over each group of them.

    Memory does not grow with `samples` times images: resamples are drawn in chunks.

    Args:
        loss: shape (images, columns): all columns share the resamples, so that thousands take one product.
        groups: masks of shape (images,), each with at least one image.
        samples: number of resamples.
        seed: of the resamples; the same seed and number of images give the same resamples.

    Returns:
        Arrays of shape (3, columns): mean, low, high; for all images, and a list for the groups.
    """
    masks = np.stack([np.ones(len(loss), bool), *groups], axis=1).astype("float32")
    weighted = (masks[:, :, None] * loss[:, None, :]).astype("float32").reshape(len(loss), -1)
    means = np.empty((samples, masks.shape[1], loss.shape[1]), "float32")
    for start, counts in _resamples(len(loss), samples, seed):
        total = (counts @ weighted).reshape(len(counts), masks.shape[1], -1)
        size = counts @ masks  # a group may be missing from a resample
        with np.errstate(invalid="ignore"):
            means[start : start + len(counts)] = total / size[:, :, None]
    tail = 50 * (1 - LEVEL)
    low, high = np.nanpercentile(means, [tail, 100 - tail], axis=0)
    mean = (masks.T @ loss) / masks.sum(axis=0)[:, None]
    found = [np.stack([mean[at], low[at], high[at]]) for at in range(masks.shape[1])]
    return found[0], found[1:]


def permutation_p_value(loss: np.ndarray, samples: int, seed: int) -> float:
    """Two-sided p-value of a paired permutation test of the mean being 0, by random swaps.

    Args:
        loss: differences, shape (images,).
        samples: number of swaps.
        seed: of the swaps.
    """
    rng, extreme = np.random.default_rng(seed), 1  # the data themselves are one arrangement (Phipson and Smyth 2010)
    for _, size in _chunks(len(loss), samples):
        signs = rng.integers(0, 2, (size, len(loss)), dtype=np.int8) * 2 - 1
        extreme += int((np.abs(signs @ loss) >= abs(loss.sum()) * (1 - 1e-12)).sum())
    return extreme / (samples + 1)


def _resamples(images: int, samples: int, seed: int) -> Iterator[tuple[int, np.ndarray]]:
    """In chunks: the number of the first resample, and how often each resample draws each image.

    The counts have shape (resamples, images), float32.
    """
    rng = np.random.default_rng(seed)
    for start, size in _chunks(images, samples):
        drawn = rng.integers(images, size=(size, images)) + images * np.arange(size)[:, None]
        yield start, np.bincount(drawn.ravel(), minlength=size * images).reshape(size, images).astype("float32")


def _chunks(images: int, samples: int) -> Iterator[tuple[int, int]]:
    """First number and size of each chunk of resamples."""
    step = min(MAX_CHUNK, max(MAX_CHUNK_CELLS // images, 1))
    for start in range(0, samples, step):
        yield start, min(step, samples - start)
