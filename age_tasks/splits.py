"""Stratified splits of labels into train, validation and test."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from age_tasks.config import SplitSettings
from age_tasks.errors import LabelsError

SPLITS = ("train", "val", "test")


def split_labels(labels: pd.DataFrame, settings: SplitSettings) -> dict[str, pd.DataFrame]:
    """Deal rows to train, val and test: the test set first, validation from the rest, strata cut anew each time.

    Rows with the same `sha256` (where there is such a column) stay together. With equal-width bins this gives the
    published splits of the 7,591 APPA-REAL labels.

    Args:
        labels: columns `file_name`, `real_age` (years), and optionally `sha256`.

    Raises:
        LabelsError: too few images for the number of bins.
    """
    groups = labels.drop_duplicates("sha256") if "sha256" in labels else labels
    rest, test = _deal(groups, settings.test_fraction, settings)
    train, val = _deal(rest, settings.val_fraction / (1 - settings.test_fraction), settings)
    dealt = dict(zip(SPLITS, (train, val, test), strict=True))
    if "sha256" in labels:
        return {name: labels[labels["sha256"].isin(part["sha256"])] for name, part in dealt.items()}
    return dealt


def age_strata(ages: pd.Series, bins: str, n_bins: int) -> pd.Series:
    """The stratum of each age: `quantile` bins hold equal counts (ties may merge bins), `equal_width` equal years."""
    if bins == "quantile":
        return pd.qcut(ages, n_bins, labels=False, duplicates="drop").fillna(0)  # one age only: no edges, one stratum
    return pd.cut(ages, n_bins, labels=False)


def summarise(splits: Mapping[str, pd.DataFrame], settings: SplitSettings) -> dict:
    """Counts, shares, age statistics in years and counts by decade (over 10 up to 20, …) of each split."""
    total = sum(len(part) for part in splits.values())
    summary: dict = {"settings": settings.model_dump(), "images": total}
    for name, part in splits.items():
        ages = part["real_age"]
        decades = np.ceil(ages / 10).clip(1, 10).astype(int).sub(1).value_counts().sort_index()
        summary[name] = {
            "images": len(part),
            "share": round(len(part) / total, 4),
            "mean_age": round(float(ages.mean()), 2),
            "std_age": round(float(ages.std()), 2),
            "median_age": float(ages.median()),
            "min_age": float(ages.min()),
            "max_age": float(ages.max()),
            "by_decade": {f"{10 * decade}-{10 * decade + 10}": int(count) for decade, count in decades.items()},
        }
    return summary


def _deal(labels: pd.DataFrame, fraction: float, settings: SplitSettings) -> tuple[pd.DataFrame, pd.DataFrame]:
    strata = _merge_rare(age_strata(labels["real_age"], settings.bins, settings.n_bins))
    smallest = len(strata.unique())
    if len(labels) * min(fraction, 1 - fraction) < smallest:
        raise LabelsError(
            f"{len(labels)} images are too few to deal {fraction:.0%} of them over {smallest} age bins "
            f"(at least {int(np.ceil(smallest / min(fraction, 1 - fraction)))} are needed); "
            "label more images, or use fewer bins: --set split.n_bins=3"
        )
    return tuple(train_test_split(labels, test_size=fraction, random_state=settings.seed, stratify=strata))


def _merge_rare(strata: pd.Series) -> pd.Series:
    """Strata of a single image can't be divided: they join their nearest neighbour below (or above)."""
    counts = strata.value_counts().sort_index()
    merged, into = {}, None
    for stratum, count in counts.items():
        if count >= 2:
            into = stratum
        merged[stratum] = into if into is not None else counts[counts >= 2].index.min()
    return strata.map(merged)
