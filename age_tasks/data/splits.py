"""Stratified splits of labels into train, validation and test that stay stable while labels are added and removed.

The initial split is the published one: `train_test_split`, the test set first, validation from the rest. Later, every
image with an assignment keeps it; only new images are assigned, so that each age bin approaches the wanted fractions.
"""

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import train_test_split

from age_tasks.config import SplitSettings
from age_tasks.data.label_columns import FIXED_SPLIT, PERSON
from age_tasks.data.near_duplicates import NEAR_GROUP, connected_groups, find_near_duplicates
from age_tasks.errors import LabelsError

SPLITS = ("train", "val", "test")
LEFT_OUT = "left out"
ASSIGNMENT_COLUMNS = ["sha256", "dhash", "split"]
# Of the splits that one person or duplicates have been assigned to, the first stays: tests must stay as they are.
PRECEDENCE = ("test", "val", "train")


def no_assignments() -> pd.DataFrame:
    """The assignments before the initial split: none."""
    return pd.DataFrame(columns=ASSIGNMENT_COLUMNS)


def assign(labels: pd.DataFrame, previous: pd.DataFrame, settings: SplitSettings) -> pd.Series:
    """The split of each row: `train`, `val`, `test`, or `left out`.

    Images with a previous assignment keep it, even if their age was corrected. Duplicates and near duplicates form a
    group, also with images that have left the labels, and a group stays in one split. A new image whose group has
    previous assignments to different splits can be in none of them, and is left out.

    Images of one person belong to a group too. Where a person's images were assigned to several splits, before it was
    known whose they are, those in the test split stay, or else those in the validation split, and the others are left
    out. A fixed split is used as it is, except that of a group in several splits the same are left out.

    Args:
        labels: columns `file_name`, `real_age` (years), and `sha256` and `dhash` if the images were read; `person`
            (text, empty if it is not known) and `fixed_split` if the labels say so; see also `with_near_groups`.
        previous: columns `sha256`, `dhash`, `split` of all images ever assigned, and `person` if it was known; see
            `extend_assignments`.

    Returns:
        Texts, with the index of `labels`.

    Raises:
        LabelsError: too few images for the number of bins.
    """
    labels = with_near_groups(labels)
    key = labels["sha256"] if "sha256" in labels else labels["file_name"]
    if FIXED_SPLIT in labels:
        return _fixed_split(key, labels)
    previous, dropped = _one_split_per_person(key, labels, previous)
    group_of = _groups(key, labels, previous)
    group = key.map(group_of)
    split_of_image = dict(zip(previous["sha256"], previous["split"], strict=True)) | dict.fromkeys(dropped, LEFT_OUT)
    split_of_group = _previous_splits_of_groups(previous, group_of)
    found = [split_of_image.get(image) or split_of_group.get(name) for image, name in zip(key, group, strict=True)]
    split = pd.Series(found, labels.index, dtype="object")
    candidates = labels.assign(group=group, split=split)[split != LEFT_OUT]
    if candidates["split"].notna().all():
        return split
    first = candidates["split"].isna().all()
    assign_groups = _initial_split if first and PERSON not in labels else _assign_new_groups
    assigned = assign_groups(candidates, settings)
    return split.where(split.notna(), group.map(assigned).astype("object"))


def with_near_groups(labels: pd.DataFrame) -> pd.DataFrame:
    """The labels with the column `near_group`, equal for near duplicates; searched for only if it is not there yet.

    Labels without the column `dhash`, whose images were not read, stay as they are.
    """
    if NEAR_GROUP in labels or "dhash" not in labels:
        return labels
    return labels.assign(**{NEAR_GROUP: find_near_duplicates(labels["dhash"].tolist()).groups()})


def split_labels(
    labels: pd.DataFrame, settings: SplitSettings, previous: pd.DataFrame | None = None
) -> dict[str, pd.DataFrame]:
    """`assign`, as one table for each split, with the rows in the order of `labels`."""
    split = assign(labels, no_assignments() if previous is None else previous, settings)
    return {name: labels[split == name] for name in SPLITS}


def extend_assignments(labels: pd.DataFrame, split: pd.Series, previous: pd.DataFrame) -> pd.DataFrame:
    """The previous assignments, also those of images that have left, and the new ones; sorted by sha256.

    Args:
        labels: columns `sha256`, `dhash`, and `person` if it is known.
        split: of each row, see `assign`.
    """
    columns = [*ASSIGNMENT_COLUMNS, *([PERSON] if PERSON in labels else [])]
    assigned = labels.assign(split=split).loc[split != LEFT_OUT, columns]
    extended = pd.concat([previous, assigned]).drop_duplicates("sha256").sort_values("sha256", ignore_index=True)
    if PERSON in labels:  # what the labels say today counts
        today = dict(zip(labels["sha256"], labels[PERSON], strict=True))
        extended[PERSON] = extended["sha256"].map(today).fillna(extended[PERSON]).fillna("")
    return extended


def across_pairs(labels: pd.DataFrame, split: pd.Series) -> int:
    """The number of near-duplicate pairs whose images are in different splits.

    Both are in one group, and hardly ever is a group in several splits: only such ones are searched for pairs.
    """
    assigned = with_near_groups(labels).assign(split=split)[split != LEFT_OUT]
    spread = assigned[assigned.groupby(NEAR_GROUP)["split"].transform("nunique") > 1]
    return find_near_duplicates(spread["dhash"].tolist()).count_across(spread["split"].tolist())


def age_strata(ages: pd.Series, bins: str, n_bins: int) -> pd.Series:
    """The stratum of each age: `quantile` bins hold equal counts (ties may merge bins), `equal_width` equal years."""
    if bins == "quantile":
        return pd.qcut(ages, n_bins, labels=False, duplicates="drop").fillna(0)  # one age only: no edges, one stratum
    return pd.cut(ages, n_bins, labels=False)


def summarise(splits: Mapping[str, pd.DataFrame], settings: SplitSettings) -> dict[str, Any]:
    """Counts, fractions, age statistics in years and counts by decade (over 10 up to 20, …) of each split."""
    total = sum(len(part) for part in splits.values())
    summary: dict[str, Any] = {"settings": settings.model_dump(), "images": total}
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
            "by_decade": {f"{10 * decade}-{10 * decade + 10}": int(decades[decade]) for decade in decades.index},
        }
    return summary


def _fixed_split(key: pd.Series, labels: pd.DataFrame) -> pd.Series:
    """The split that the labels fix; of a group in several, only the images in the first by `PRECEDENCE` stay."""
    rank = labels[FIXED_SPLIT].map({name: number for number, name in enumerate(PRECEDENCE)})
    first = rank.groupby(key.map(_groups(key, labels, no_assignments()))).transform("min")
    return labels[FIXED_SPLIT].where(rank == first, LEFT_OUT)


def _one_split_per_person(
    key: pd.Series, labels: pd.DataFrame, previous: pd.DataFrame
) -> tuple[pd.DataFrame, set[str]]:
    """The previous assignments that stay, so that each person is in one split, and the images of the others."""
    if PERSON not in labels:
        return previous, set()
    images = pd.Index(pd.concat([key, previous["sha256"]]).unique())
    number = dict(zip(images, _connected(images, _person_links(key, labels, previous)), strict=True))
    rank = previous["split"].map({name: number for number, name in enumerate(PRECEDENCE)})
    stays = rank == rank.groupby(previous["sha256"].map(number)).transform("min")
    return previous[stays], set(previous.loc[~stays, "sha256"])


def _groups(key: pd.Series, labels: pd.DataFrame, previous: pd.DataFrame) -> dict[str, str]:
    """The group of each image of `labels` and `previous`; a group's name is the first key in it.

    Args:
        key: of each row of `labels`.
    """
    links = [_links_of_equals(key, key)]
    if NEAR_GROUP in labels:
        links.append(_near_links(key, labels, previous))
    if PERSON in labels:
        links.append(_person_links(key, labels, previous))
    images = pd.Index(sorted({*key, *previous["sha256"]}))
    number = _connected(images, pd.concat(links))
    return dict(zip(images, images.to_series().groupby(number).transform("first"), strict=True))


def _near_links(key: pd.Series, labels: pd.DataFrame, previous: pd.DataFrame) -> pd.DataFrame:
    """Pairs of images that connect all near duplicates, see `_connected`.

    The labels have their groups. Searched for are only those of images that have left the labels.
    """
    among_labels = _links_of_equals(key, labels[NEAR_GROUP])
    gone = previous[~previous["sha256"].isin(key)]
    if gone.empty:
        return among_labels
    near = find_near_duplicates(gone["dhash"].tolist(), known=labels["dhash"].tolist())
    images = pd.concat([gone["sha256"], key]).to_numpy()
    one, other = near.links()
    return pd.concat([among_labels, pd.DataFrame({"one": images[one], "other": images[other]})])


def _person_links(key: pd.Series, labels: pd.DataFrame, previous: pd.DataFrame) -> pd.DataFrame:
    """Pairs of images that connect all images of each person, as the labels say today, or said last; see `_connected`.

    An image without a person is not linked.
    """
    images, people = key, labels[PERSON]
    if PERSON in previous:
        gone = previous[~previous["sha256"].isin(key)]
        images, people = pd.concat([images, gone["sha256"]]), pd.concat([people, gone[PERSON]])
    return _links_of_equals(images[people != ""], people[people != ""])


def _links_of_equals(images: pd.Series, values: pd.Series) -> pd.DataFrame:
    """Pairs of images that connect those of the same value, see `_connected`."""
    return pd.DataFrame({"one": images.groupby(values.to_numpy()).transform("first"), "other": images})


def _connected(images: pd.Index, links: pd.DataFrame) -> npt.NDArray[np.int32]:
    """The number of each image's group, see `connected_groups`.

    Args:
        links: columns `one`, `other`: two images of a group.
    """
    one, other = (images.get_indexer(pd.Index(links[side])) for side in ("one", "other"))
    return connected_groups(len(images), one, other)


def _previous_splits_of_groups(previous: pd.DataFrame, group_of: Mapping[str, str]) -> dict[str, str]:
    """The split that new images of a group must join: that of its previous assignments, or `left out` if they differ.

    Groups without a previous assignment are absent.
    """
    splits_of: dict[str, set[str]] = {}
    for sha256, split in zip(previous["sha256"], previous["split"], strict=True):
        splits_of.setdefault(group_of[sha256], set()).add(split)
    return {group: min(splits) if len(splits) == 1 else LEFT_OUT for group, splits in splits_of.items()}


def _initial_split(labels: pd.DataFrame, settings: SplitSettings) -> dict[str, str]:
    """The published split, of groups: the first row of each represents it. Each draw cuts its own strata."""
    firsts = labels.drop_duplicates("group")
    rest, test = _draw(firsts, settings.test_fraction, settings)
    train, val = _draw(rest, settings.val_fraction / (1 - settings.test_fraction), settings)
    parts = zip(SPLITS, (train, val, test), strict=True)
    return {group: name for name, part in parts for group in part["group"]}


def _assign_new_groups(labels: pd.DataFrame, settings: SplitSettings) -> dict[str, str]:
    """Each new group, in the order of its shuffle key, to the split that lacks most images in the group's age bin."""
    fractions = {"val": settings.val_fraction, "test": settings.test_fraction}
    fractions = {"train": 1 - sum(fractions.values()), **fractions}
    size = labels["group"].value_counts()
    stratum = age_strata(labels["real_age"], settings.bins, settings.n_bins)
    is_new = labels["split"].isna() & ~labels["group"].duplicated()
    assigned: dict[str, str] = {}
    # A person's images have several ages: what a stratum got too many of, or too few, the next ones make up for.
    missing = dict.fromkeys(SPLITS, 0.0)
    for number, rows in labels.groupby(stratum):
        counts = rows["split"].value_counts()
        left = missing if PERSON in labels else dict.fromkeys(SPLITS, 0.0)
        missing = {name: left[name] + part * len(rows) - counts.get(name, 0) for name, part in fractions.items()}
        new_groups = labels.loc[is_new & (stratum == number), "group"]
        for group in sorted(new_groups, key=lambda name: _shuffle_key(settings.seed, name)):
            assigned[group] = max(SPLITS, key=missing.__getitem__)
            missing[assigned[group]] -= size[group]
    return assigned


def _shuffle_key(seed: int, group: str) -> str:
    """Sorting by this key shuffles groups, the same way for the same seed."""
    return hashlib.sha256(f"{seed} {group}".encode()).hexdigest()


def _draw(labels: pd.DataFrame, fraction: float, settings: SplitSettings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw this fraction of the rows at random, stratified by age; returns the rest and what was drawn."""
    strata = _merge_single_image_strata(age_strata(labels["real_age"], settings.bins, settings.n_bins))
    count = len(strata.unique())
    smaller = min(fraction, 1 - fraction)
    if len(labels) * smaller < count:
        bins = math.floor(len(labels) * min(settings.test_fraction, settings.val_fraction))
        fewer = f", or use fewer bins: --set split.n_bins={bins}" if bins else ""
        raise LabelsError(
            f"{len(labels)} images are too few to assign {fraction:.0%} of them over {count} age bins "
            f"(at least {math.ceil(count / smaller)} are needed); label more images{fewer}"
        )
    rest, drawn = train_test_split(labels, test_size=fraction, random_state=settings.seed, stratify=strata)
    return rest, drawn


def _merge_single_image_strata(strata: pd.Series) -> pd.Series:
    """Merge a stratum of a single image, which can't be divided, into the nearest larger one below, or else above."""
    counts = strata.value_counts().sort_index()
    if counts.max() < 2:
        return pd.Series(0, strata.index)
    merged, into = {}, None
    for stratum, count in counts.items():
        if count >= 2:
            into = stratum
        merged[stratum] = into if into is not None else counts[counts >= 2].index.min()
    return strata.map(merged)
