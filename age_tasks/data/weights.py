"""How much each training image counts: by the labels, and by how rare its age is."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from age_tasks.data.label_columns import WEIGHT

SMOOTHING_YEARS = 2.0  # standard deviation of the kernel behind the density of ages
_YEARS = np.arange(0, 151)


def training_weights(train: pd.DataFrame, balance: float) -> npt.NDArray[np.float64] | None:
    """The weight of each training image, 1 in the mean; None if all count alike.

    The rarer its age, the more an image counts: by the inverse of the density of ages, smoothed over neighbouring years
    (Yang et al., Delving into deep imbalanced regression, 2021), which is bounded so that no age counts more than
    `balance` times as much as another.

    Args:
        train: columns real_age (years), and weight if the labels have one.
        balance: the setting `data.balance_ages`.
    """
    if balance <= 1 and WEIGHT not in train:
        return None
    weights = train[WEIGHT].to_numpy("float64") if WEIGHT in train else np.ones(len(train))
    if balance > 1:
        weights = weights * _rarity(train["real_age"].to_numpy("float64"), balance)
    return np.asarray(weights / weights.mean())


def _rarity(ages: npt.NDArray[np.float64], balance: float) -> npt.NDArray[np.float64]:
    """The inverse density at each age, divided by its least value, at most `balance`."""
    counts = np.bincount(np.clip(ages.round().astype(int), 0, _YEARS[-1]), minlength=len(_YEARS))
    kernel = np.exp(-0.5 * (np.arange(-8, 9) / SMOOTHING_YEARS) ** 2)
    density = np.interp(ages, _YEARS, np.convolve(counts, kernel / kernel.sum(), mode="same"))
    return np.asarray(np.minimum(density.max() / density, balance))
