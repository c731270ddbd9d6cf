"""Stratified splits of labels into train, validation and test that stay as they are while labels arrive and leave.

The first deal is the published one: `train_test_split`, the test set first, validation from the rest. Later deals leave
every known image where it is, and deal only new ones, so that each age bin nears the fractions asked for.
"""

import hashlib
from collections.abc import Mapping

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from age_tasks.config import SplitSettings
from age_tasks.data.near_duplicates import groups, near_pairs
from age_tasks.errors import LabelsError

SPLITS = ("train", "val", "test")
LEFT_OUT = "left out"
KNOWN_COLUMNS = ["sha256", "dhash", "split"]


def no_known() -> pd.DataFrame:
    """The known images before the first deal: none."""
    return pd.DataFrame(columns=KNOWN_COLUMNS)


def assign(labels: pd.DataFrame, known: pd.DataFrame, settings: SplitSettings) -> pd.Series:
    """The split of each row: `train`, `val`, `test`, or `left out`.

    Known images keep their split, whatever their age is now. Pictures that show the same (by content, or nearly, also
    those known that have left the labels) stay together; a new picture that shows the same as two known ones of
    different splits can stand in neither, and is left out.

    Args:
        labels: columns `file_name`, `real_age` (years), and where pictures were read `sha256` and `dhash`.
        known: `sha256`, `dhash`, `split` of all images ever dealt; see `remember`.

    Raises:
        LabelsError: too few images for the number of bins.
    """
    key = labels["sha256"] if "sha256" in labels else labels["file_name"]
    group_of = _groups(labels, known) if "dhash" in labels else dict(zip(key, key, strict=True))
    group = key.map(group_of)
    of_known, taken = dict(zip(known["sha256"], known["split"], strict=True)), _taken(known, group_of)
    found = [of_known.get(picture) or taken.get(name) for picture, name in zip(key, group, strict=True)]
    split = pd.Series(found, labels.index, dtype="object")
    dealing = labels.assign(group=group, split=split)[split != LEFT_OUT]
    if dealing["split"].notna().all():
        return split
    deal = _deal_first if dealing["split"].isna().all() else _deal_new
    dealt = deal(dealing, settings)
    return split.where(split.notna(), group.map(dealt).astype("object"))


def split_labels(
    labels: pd.DataFrame, settings: SplitSettings, known: pd.DataFrame | None = None
) -> dict[str, pd.DataFrame]:
    """`assign`, as one table for each split, rows in their order in `labels`."""
    split = assign(labels, no_known() if known is None else known, settings)
    return {name: labels[split == name] for name in SPLITS}


def remember(labels: pd.DataFrame, split: pd.Series, known: pd.DataFrame) -> pd.DataFrame:
    """What is known after a deal: all that was known, also of images that have left, and what is new, by sha256."""
    dealt = labels.assign(split=split).loc[split != LEFT_OUT, KNOWN_COLUMNS]
    return pd.concat([known, dealt]).drop_duplicates("sha256").sort_values("sha256", ignore_index=True)


def across_pairs(labels: pd.DataFrame, split: pd.Series) -> int:
    """How many pairs of pictures that show the same stand in different splits."""
    placed = labels.assign(split=split)[split != LEFT_OUT]
    of = placed["split"].to_numpy()
    return sum(of[first] != of[second] for first, second, _ in near_pairs(placed["dhash"].tolist()))


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


def _groups(labels: pd.DataFrame, known: pd.DataFrame) -> dict[str, str]:
    """The group of each picture of `labels` and `known`, named by the first sha256 in it; both given by sha256."""
    pictures = pd.concat([labels[["sha256", "dhash"]], known[["sha256", "dhash"]]])
    pictures = pictures.drop_duplicates("sha256").sort_values("sha256")
    number = groups(len(pictures), near_pairs(pictures["dhash"].tolist()))
    return dict(zip(pictures["sha256"], pictures.groupby(number)["sha256"].transform("first"), strict=True))


def _taken(known: pd.DataFrame, group_of: Mapping[str, str]) -> dict[str, str]:
    """The split that a new picture of each group must take: that of the group's known pictures, if they agree."""
    found = known.groupby(known["sha256"].map(group_of))["split"].unique()
    return {group: splits[0] if len(splits) == 1 else LEFT_OUT for group, splits in found.items()}


def _deal_first(labels: pd.DataFrame, settings: SplitSettings) -> dict[str, str]:
    """The published deal of groups, each standing in with its first row; strata are cut anew for each draw."""
    firsts = labels.drop_duplicates("group")
    rest, test = _draw(firsts, settings.test_fraction, settings)
    train, val = _draw(rest, settings.val_fraction / (1 - settings.test_fraction), settings)
    parts = zip(SPLITS, (train, val, test), strict=True)
    return {group: name for name, part in parts for group in part["group"]}


def _deal_new(labels: pd.DataFrame, settings: SplitSettings) -> dict[str, str]:
    """Each new group, in an order that the seed and its name decide, to the split that its age bin lacks most."""
    fractions = {"val": settings.val_fraction, "test": settings.test_fraction}
    fractions = {"train": 1 - sum(fractions.values()), **fractions}
    size = labels["group"].value_counts()
    stratum = age_strata(labels["real_age"], settings.bins, settings.n_bins)
    new_of = labels["split"].isna() & ~labels["group"].duplicated()
    dealt = {}
    for number, rows in labels.groupby(stratum):
        placed = rows["split"].value_counts()
        lacking = {name: share * len(rows) - placed.get(name, 0) for name, share in fractions.items()}
        for group in sorted(
            labels.loc[new_of & (stratum == number), "group"], key=lambda name: _lot(settings.seed, name)
        ):
            dealt[group] = max(SPLITS, key=lacking.__getitem__)
            lacking[dealt[group]] -= size[group]
    return dealt


def _lot(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed} {name}".encode()).hexdigest()


def _draw(labels: pd.DataFrame, fraction: float, settings: SplitSettings) -> tuple[pd.DataFrame, pd.DataFrame]:
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
