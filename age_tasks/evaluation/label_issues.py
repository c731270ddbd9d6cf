"""Label issues: rows whose label disagrees most with a prediction from all other rows."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy.linalg import cho_factor, cho_solve
from threadpoolctl import threadpool_limits

from age_tasks.progress import Progress

FOLDS = 5
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)  # of the ridge penalty, as a fraction of the features' mean square
CHUNK = 1024  # rows of features in memory at a time
NEIGHBOURS = 301  # images nearest in age, behind the typical error

Features = Callable[[slice], np.ndarray]


def out_of_fold_ages(features: Features, ages: np.ndarray, seed: int, order: np.ndarray | None = None) -> np.ndarray:
    """Predict each image's age by ridge regression on the other folds, with the penalty that has the lowest MAE.

    The features are read twice, a chunk at a time, and only their products are kept: memory does not grow with the
    number of images. One thread does it: two of OpenBLAS wait for each other in a loop, which on cores that have other
    work too took twenty times as long.

    Args:
        features: gives the features of a slice of rows in `order`, as floats of shape (rows, width).
        ages: in years, shape (images,).
        seed: of the random assignment to folds.
        order: in which order features are read soonest: the numbers of all images; None: in that of the ages.

    Returns:
        Ages in years, shape (images,).
    """
    fold = np.random.default_rng(seed).permutation(len(ages)) % FOLDS
    order = np.arange(len(ages)) if order is None else order
    predicted = np.empty(len(ages))
    with threadpool_limits(1, "blas"):
        predicted[order] = _out_of_fold_ages(features, ages[order], fold[order], Progress("rows of the regressions"))
    return predicted


def rank_by_label_error(table: pd.DataFrame) -> pd.DataFrame:
    """Sort rows by relative label error, largest first.

    An error counts relative to the typical error at that age: ten years are much for a child, little at seventy.

    Args:
        table: columns `real_age` and `other_age` (out of fold), in years.

    Returns:
        `table` in that order with a column `relative_error`: the error divided by the median error of the images
        nearest in age.
    """
    ordered = table.sort_values("other_age", kind="stable")
    error = (ordered["real_age"] - ordered["other_age"]).abs()
    typical = error.rolling(NEIGHBOURS, center=True, min_periods=1).median().clip(lower=error.median() / 2)
    return ordered.assign(relative_error=(error / typical).round(2)).sort_values(
        "relative_error", ascending=False, kind="stable", ignore_index=True
    )


def _out_of_fold_ages(features: Features, ages: np.ndarray, fold: np.ndarray, progress: Progress) -> np.ndarray:
    chunks = [slice(start, start + CHUNK) for start in range(0, len(ages), CHUNK)]
    weights = _weights_by_fold(features, ages, fold, chunks, progress)
    predicted = np.empty((len(ages), len(STRENGTHS)))
    for chunk in chunks:
        x = _with_constant(features(chunk))
        for number in range(FOLDS):
            inside = np.flatnonzero(fold[chunk] == number)
            predicted[chunk.start + inside] = x[inside] @ weights[number]
    errors = np.abs(predicted - ages[:, None]).mean(axis=0)
    return np.asarray(predicted[:, errors.argmin()])


def _weights_by_fold(
    features: Features, ages: np.ndarray, fold: np.ndarray, chunks: Sequence[slice], progress: Progress
) -> list[np.ndarray]:
    """For each fold, the weights fitted on all others, shape (width, strengths)."""
    width = features(slice(0, 1)).shape[1] + 1
    gram, product = np.zeros((FOLDS, width, width)), np.zeros((FOLDS, width))
    for chunk in chunks:
        x, y = _with_constant(features(chunk)), ages[chunk]
        for number in range(FOLDS):
            inside = fold[chunk] == number
            rows = x[inside]
            gram[number] += rows.T @ rows  # of one array: NumPy then computes half of it
            product[number] += rows.T @ y[inside]
        progress(min(chunk.stop, len(ages)), len(ages))
    whole, whole_product = gram.sum(0), product.sum(0)
    return [_solve(whole - gram[number], whole_product - product[number]) for number in range(FOLDS)]


def _with_constant(features: np.ndarray) -> np.ndarray:
    return np.column_stack([features.astype("float64"), np.ones(len(features))])


def _solve(gram: np.ndarray, product: np.ndarray) -> np.ndarray:
    """The weights of each strength, shape (width, strengths); the constant is not shrunk."""
    shrunk = np.arange(len(gram) - 1)
    mean_square = gram[shrunk, shrunk].mean()
    weights = np.empty((len(gram), len(STRENGTHS)))
    for column, strength in enumerate(STRENGTHS):
        penalised = np.array(gram, order="F")  # a copy, in the order that LAPACK factorises in place
        penalised[shrunk, shrunk] += strength * mean_square
        weights[:, column] = cho_solve(cho_factor(penalised, overwrite_a=True, check_finite=False), product)
    return weights
