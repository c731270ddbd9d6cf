"""Resampling: bootstrap intervals (Efron 1979) and permutation tests (Fisher 1935)."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

LEVEL = 0.95
MAX_CHUNK = 500  # resamples at a time
MAX_CHUNK_CELLS = 2_500_000  # resamples times images at a time; their counts take 20 MB


def people_of(table: pd.DataFrame) -> np.ndarray | None:
    """The number of the person in each image, from 0 on; None where nothing is known of people.

    Args:
        table: a row for each image; the column `person`, if there is one, is text. An image without a person counts as
            one of a person of its own.
    """
    if "person" not in table:
        return None
    known = table["person"] != ""
    own = pd.Series(np.arange(len(table)), table.index).map("image {}".format)
    return np.asarray(pd.factorize(("person " + table["person"]).where(known, own))[0])


def people_in(part: np.ndarray, people: np.ndarray | None) -> int | None:
    """How many people the images of a part show; None where nothing is known of people.

    Args:
        part: a mask of shape (images,).
        people: as for `intervals`.
    """
    return None if people is None else len(np.unique(people[part]))


def intervals(
    loss: np.ndarray, groups: Sequence[np.ndarray], samples: int, seed: int, people: np.ndarray | None = None
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Mean and its 95 % percentile bootstrap interval, over all images and over each group of them.

    Memory does not grow with `samples` times images: resamples are drawn in chunks. Images of one person resemble each
    other, so people are resampled with all their images (the cluster bootstrap: Davison and Hinkley, Bootstrap Methods
    and their Application, 1997, section 3.8): intervals from resampled images would be too narrow.

    Args:
        loss: shape (images, columns): all columns share the resamples, so that thousands take one product.
        groups: masks of shape (images,), each with at least one image.
        samples: number of resamples.
        seed: of the resamples; the same seed and number of images give the same resamples.
        people: the number of the person in each image, shape (images,); None: each image is of another person.

    Returns:
        Arrays of shape (3, columns): mean, low, high; for all images, and a list for the groups.
    """
    mean, means = _resampled_means(loss, [np.ones(len(loss), bool), *groups], samples, seed, people)
    overall, *found = _percentiles(mean, means)
    return overall, found


def intervals_with_lower_bounds(
    loss: np.ndarray, groups: Sequence[np.ndarray], samples: int, seed: int, people: np.ndarray | None = None
) -> tuple[list[np.ndarray], np.ndarray]:
    """The interval of each group as `intervals` gives it, and a lower bound of each mean from the same resamples.

    The bounds hold for all groups together with a probability of 95 %. They are one-sided, from the bootstrap
    distribution of the largest studentised deviation (Romano and Wolf, Econometrica 73, 2005): the more groups, the
    wider, but less so where they overlap.

    Args:
        loss: shape (images,).
        groups: masks of shape (images,), each with at least two images.
        samples, seed, people: as for `intervals`.

    Returns:
        For each group an array of shape (3,): mean, low, high; and the bounds, shape (groups,).
    """
    mean, means = (found[..., 0] for found in _resampled_means(loss[:, None], groups, samples, seed, people))
    error = np.maximum(np.nanstd(means, axis=0), np.finfo("float32").eps)
    largest = np.nanmax((means - mean) / error, axis=1)
    return _percentiles(mean, means), np.asarray(mean - np.nanpercentile(largest, 100 * LEVEL) * error)


def differences_of_groups(
    loss: np.ndarray,
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    samples: int,
    seed: int,
    people: np.ndarray | None = None,
) -> np.ndarray:
    """The mean of the first group of each pair less that of the second, with an interval.

    The intervals hold for all pairs together with a probability of 95 %. They are two-sided, from the bootstrap
    distribution of the largest studentised deviation (Romano and Wolf, Econometrica 73, 2005).

    Args:
        loss: shape (images,).
        pairs: masks of shape (images,), each with at least two images.
        samples, seed, people: as for `intervals`.

    Returns:
        Shape (pairs, 3): difference, low, high.
    """
    masks = [mask for pair in pairs for mask in pair]
    mean, means = (found[..., 0] for found in _resampled_means(loss[:, None], masks, samples, seed, people))
    difference = mean[::2] - mean[1::2]
    deviation = means[:, ::2] - means[:, 1::2] - difference
    error = np.maximum(np.nanstd(deviation, axis=0), np.finfo("float32").eps)
    largest = np.nanmax(np.abs(deviation) / error, axis=1)
    reach = np.nanpercentile(largest, 100 * LEVEL) * error
    return np.stack([difference, difference - reach, difference + reach], axis=1)


def _percentiles(mean: np.ndarray, means: np.ndarray) -> list[np.ndarray]:
    """Mean, low and high of each group, stacked; arguments as `_resampled_means` returns them."""
    tail = 50 * (1 - LEVEL)
    low, high = np.nanpercentile(means, [tail, 100 - tail], axis=0)
    return [np.stack([mean[at], low[at], high[at]]) for at in range(len(mean))]


def _resampled_means(
    loss: np.ndarray, groups: Sequence[np.ndarray], samples: int, seed: int, people: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """The mean of each group, shape (groups, columns), and of its resamples, shape (samples, groups, columns).

    A group that is missing from a resample is NaN there.
    """
    masks = np.stack(groups, axis=1).astype("float32")
    weighted = (masks[:, :, None] * loss[:, None, :]).astype("float32").reshape(len(loss), -1)
    means = np.empty((samples, masks.shape[1], loss.shape[1]), "float32")
    for start, counts in _resamples(len(loss), samples, seed, people):
        total = (counts @ weighted).reshape(len(counts), masks.shape[1], -1)
        size = counts @ masks
        with np.errstate(invalid="ignore"):
            means[start : start + len(counts)] = total / size[:, :, None]
    return (masks.T @ loss) / masks.sum(axis=0)[:, None], means


def permutation_p_value(loss: np.ndarray, samples: int, seed: int, people: np.ndarray | None = None) -> float:
    """Two-sided p-value of a paired permutation test of the mean being 0, by random swaps, of all images of a person.

    Args:
        loss: differences, shape (images,).
        samples: number of swaps.
        seed: of the swaps.
        people: as for `intervals`.
    """
    if people is not None:  # a swap changes the sign of the sum over a person's images
        loss = np.bincount(people, weights=loss)
    rng, extreme = np.random.default_rng(seed), 1  # the data themselves are one arrangement (Phipson and Smyth 2010)
    for _, size in _chunks(len(loss), samples):
        signs = rng.integers(0, 2, (size, len(loss)), dtype=np.int8) * 2 - 1
        extreme += int((np.abs(signs @ loss) >= abs(loss.sum()) * (1 - 1e-12)).sum())
    return extreme / (samples + 1)


def _resamples(images: int, samples: int, seed: int, people: np.ndarray | None) -> Iterator[tuple[int, np.ndarray]]:
    """In chunks: the number of the first resample, and how often each resample draws each image.

    The counts have shape (resamples, images), float32.
    """
    rng, drawn_from = np.random.default_rng(seed), images if people is None else int(people.max()) + 1
    for start, size in _chunks(images, samples):
        drawn = rng.integers(drawn_from, size=(size, drawn_from)) + drawn_from * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * drawn_from).reshape(size, drawn_from).astype("float32")
        yield start, counts if people is None else counts[:, people]


def _chunks(images: int, samples: int) -> Iterator[tuple[int, int]]:
    """First number and size of each chunk of resamples."""
    step = min(MAX_CHUNK, max(MAX_CHUNK_CELLS // images, 1))
    for start in range(0, samples, step):
        yield start, min(step, samples - start)
