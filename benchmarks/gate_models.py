"""Simulated models with a known true error, and how `evaluate` would describe a comparison of two."""

import numpy as np

from age_tasks.config import EvaluateSettings
from age_tasks.evaluation.bootstrap import intervals
from age_tasks.evaluation.results import BinDifference, ChampionComparison

CHAMPION_MAE = 6.5  # years
# Of the errors of two trainings of one recipe on 7,591 images: both err on the same difficult ones.
CORRELATION = 0.8
AGES = (2.2, 14.3)  # a gamma distribution: mean 31, standard deviation 21 years


def drawn_ages(images: int, rng: np.random.Generator) -> np.ndarray:
    """Ages of test images in years."""
    return np.asarray(rng.gamma(*AGES, images).clip(1, 100))


def spread_of(ages: np.ndarray) -> np.ndarray:
    """The standard deviation of the champion's error at each age, shape (images, 1): wider with age, as in practice."""
    spread = (0.5 + ages / 60)[:, None]
    return np.asarray(spread * CHAMPION_MAE / (np.sqrt(2 / np.pi) * spread.mean()))


def with_own_part(shared: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Standardised errors of models: the part that all share, since some images are difficult, and each one's own."""
    return np.asarray(np.sqrt(CORRELATION) * shared + np.sqrt(1 - CORRELATION) * rng.standard_normal(shared.shape))


def described(loss: np.ndarray, ages: np.ndarray, seed: int) -> list[ChampionComparison]:
    """Each column as `evaluation.comparison.compare` would describe it.

    Args:
        loss: absolute error of the candidate less the champion's in years, shape (images, columns).
        ages: shape (images,).
        seed: of the resamples, which all columns share.
    """
    edges = np.array(EvaluateSettings().bin_edges)
    number = np.digitize(ages, edges[1:-1], right=True)
    groups = [mask for mask in (number == at for at in range(len(edges) - 1)) if mask.any()]
    overall, bins = intervals(loss, groups, EvaluateSettings().comparison_samples, seed)
    names, sizes = ("value", "low", "high"), [int(mask.sum()) for mask in groups]
    return [
        ChampionComparison(
            **dict(zip(names, overall[:, column], strict=True)),
            images=len(loss),
            bins=tuple(
                BinDifference(**dict(zip(names, found[:, column], strict=True)), images=size, low_age=0, high_age=0)
                for size, found in zip(sizes, bins, strict=True)
            ),
            new_images=500,
            drift=0.0,
            seen_in_training=0,
            version="simulated",
            name="v1",
            candidate_mae=CHAMPION_MAE + overall[0, column],
            champion_mae=CHAMPION_MAE,
            p_value=1.0,
        )
        for column in range(loss.shape[1])
    ]
