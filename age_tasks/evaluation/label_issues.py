"""Labels to look at: the rows whose age is most at odds with what all other rows say of such a face."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.linalg import solve

FOLDS = 5
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)  # of the ridge, as a share of the features' mean square
CHUNK = 1024
NEIGHBOURS = 301

Features = Callable[[slice], np.ndarray]


def out_of_fold_ages(features: Features, ages: np.ndarray, seed: int) -> np.ndarray:
    """An age for each image from a ridge regression that has not seen it: five folds, the strength with the lowest MAE.

    Reads the features twice, a chunk at a time, and keeps their products only: memory does not grow with the images.

    Args:
        features: from a slice of rows to float arrays of shape (rows, width).
        ages: in years, shape (images,).
        seed: deals the images to folds.

    Returns:
        Ages in years, shape (images,).
    """
    fold = np.random.default_rng(seed).permutation(len(ages)) % FOLDS
    rows = [slice(start, start + CHUNK) for start in range(0, len(ages), CHUNK)]
    products = None
    for part in rows:
        x, y = _with_constant(features(part)), ages[part]
        if products is None:
            products = np.zeros((FOLDS, x.shape[1], x.shape[1])), np.zeros((FOLDS, x.shape[1]))
        for at in range(FOLDS):
            inside = fold[part] == at
            products[0][at] += x[inside].T @ x[inside]
            products[1][at] += x[inside].T @ y[inside]
    weights = [
        _solve(products[0].sum(0) - products[0][at], products[1].sum(0) - products[1][at]) for at in range(FOLDS)
    ]
    found = np.empty((len(ages), len(STRENGTHS)))
    for part in rows:
        x = _with_constant(features(part))
        for at in range(FOLDS):
            inside = np.flatnonzero(fold[part] == at)
            found[part.start + inside] = x[inside] @ weights[at]
    errors = np.abs(found - ages[:, None]).mean(axis=0)
    return found[:, errors.argmin()]


def by_suspicion(table: pd.DataFrame) -> pd.DataFrame:
    """The rows in order of how much their label is at odds with their out-of-fold age, the most first.

    An error counts by how large errors usually are at such an age: ten years are much for a child, little at seventy.

    Args:
        table: columns `real_age` and `other_age` (out of fold), in years.

    Returns:
        `table` in that order with a column `times_usual`: the error over the median error of the images nearest in age.
    """
    ordered = table.sort_values("other_age", kind="stable")
    error = (ordered["real_age"] - ordered["other_age"]).abs()
    usual = error.rolling(NEIGHBOURS, center=True, min_periods=1).median().clip(lower=error.median() / 2)
    return ordered.assign(times_usual=(error / usual).round(2)).sort_values(
        "times_usual", ascending=False, kind="stable", ignore_index=True
    )


def _with_constant(features: np.ndarray) -> np.ndarray:
    return np.column_stack([features.astype("float64"), np.ones(len(features))])


def _solve(gram: np.ndarray, product: np.ndarray) -> np.ndarray:
    """The weights of each strength, shape (width, strengths); the constant is not shrunk."""
    shrunk = np.diag(np.append(np.ones(len(gram) - 1), 0.0)) * np.trace(gram[:-1, :-1]) / (len(gram) - 1)
    return np.column_stack([solve(gram + strength * shrunk, product, assume_a="pos") for strength in STRENGTHS])
