"""Stratified splits of labels into train, validation and test that stay stable while labels are added and removed.

The initial split is the published one: `train_test_split`, the test set first, validation from the rest. Later, every
image with an assignment keeps it; only new images are assigned, so that each age bin approaches the wanted fractions.
"""

import hashlib
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from age_tasks.config import SplitSettings
from age_tasks.data.label_columns import FIXED_SPLIT, PERSON
from age_tasks.data.near_duplicates import NEAR_GROUP, connected_groups, find_near_duplicates
from age_tasks.errors import LabelsError

SPLITS = ("train", "val", "test")
LEFT_OUT = "left out"
ASSIGNMENT_COLUMNS = ["sha256", "dhash", "split"]
# Of the splits that one person or duplicates have been assigned to, the first stays: tests must stay as they are.
PRECEDENCE = ("test", "val", "train")
FIXED_WAY_OUT = (
    " by the fixed split (data.split_column): write {} for some rows, or start the run again without a fixed split "
    "(--set data.split_column=)"
)


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
    if FIXED_SPLIT in labels:
        return _fixed_split(labels)
    previous, dropped = _one_split_per_person(labels, previous)
    images = _number(labels, previous)
    groups = _groups(images, labels, previous)
    group = pd.Series(groups[images.of_labels], labels.index)
    split = group.map(_previous_splits_of_groups(previous, groups[images.of_previous])).astype("object")
    own = pd.Series(previous["split"].to_numpy(), images.of_previous, dtype="object").reindex(images.of_labels)
    own = own.set_axis(labels.index)
    split = own.where(own.notna(), split).mask(_key(labels).isin(dropped), LEFT_OUT)
    candidates = labels[["real_age"]].assign(group=group, split=split)[split != LEFT_OUT]
    if candidates["split"].notna().all():
        return split
    if candidates["split"].isna().all() and PERSON not in labels:
        assigned = _initial_split(candidates, settings)
    else:
        assigned = _assign_new_groups(candidates, images.names, groups, settings, carry=PERSON in labels)
    return split.where(split.notna(), group.map(assigned))


def require_images_in_each(labels: pd.DataFrame, split: pd.Series) -> None:
    """Check that there are images to train, validate and test with.

    Args:
        labels: as `assign` was given them.
        split: of each row, as `assign` returned it.

    Raises:
        LabelsError: a split has none.
    """
    empty = empty_splits(split)
    if not empty:
        return
    if FIXED_SPLIT in labels:
        way_out = FIXED_WAY_OUT.format(empty[0])
    elif PERSON in labels:
        people = labels.loc[labels[PERSON] != "", PERSON].nunique()
        way_out = (
            f": {len(labels)} images show {people} known people (data.person_column), too few for three splits; leave "
            "the cell empty where a person is not known, label images of more people, or start the run again without "
            "people (--set data.person_column=)"
        )
    else:
        way_out = f": all {len(labels)} images were assigned to other splits before; label more images"
    raise LabelsError(f"no image is in {' or '.join(empty)}{way_out}")


def empty_splits(split: pd.Series) -> tuple[str, ...]:
    """The splits without an image; none of an empty series."""
    return tuple(name for name in SPLITS if len(split) and not (split == name).any())


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
    extended = (
        pd.concat([previous, assigned])
        .drop_duplicates("sha256")
        .sort_values("sha256", ignore_index=True, kind="stable")
    )
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
    """Counts, fractions, age statistics in years and counts by decade (over 10 up to 20, …) of each split.

    The standard deviation of one age is None.
    """
    total = sum(len(part) for part in splits.values())
    summary: dict[str, Any] = {"settings": settings.model_dump(), "images": total}
    for name, part in splits.items():
        ages = part["real_age"]
        decades = np.ceil(ages / 10).clip(1, 10).astype(int).sub(1).value_counts().sort_index()
        summary[name] = {
            "images": len(part),
            "share": round(len(part) / total, 4),
            "mean_age": round(float(ages.mean()), 2),
            "std_age": round(float(ages.std()), 2) if len(part) > 1 else None,
            "median_age": float(ages.median()),
            "min_age": float(ages.min()),
            "max_age": float(ages.max()),
            "by_decade": {f"{10 * decade}-{10 * decade + 10}": int(decades[decade]) for decade in decades.index},
        }
    return summary


class _Images(NamedTuple):
    """Numbers of images, from 0 on, in place of their names: strings are compared once.

    Args:
        names: of each number.
        of_labels: the number of each row of the labels.
        of_previous: the number of each row of the previous assignments.
    """

    names: npt.NDArray[np.object_]
    of_labels: npt.NDArray[np.int64]
    of_previous: npt.NDArray[np.int64]


_Links = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]  # pairs of numbers of images that belong to one group


def _key(labels: pd.DataFrame) -> pd.Series:
    """What tells images apart: their content, or their name if they were not read."""
    return labels["sha256"] if "sha256" in labels else labels["file_name"]


def _number(labels: pd.DataFrame, previous: pd.DataFrame) -> _Images:
    keys = [column.to_numpy("object") for column in (_key(labels), previous["sha256"])]
    numbers, names = pd.factorize(np.concatenate(keys))
    return _Images(names, numbers[: len(labels)], numbers[len(labels) :])


def _fixed_split(labels: pd.DataFrame) -> pd.Series:
    """The split that the labels fix; of a group in several, only the images in the first by `PRECEDENCE` stay."""
    rank = labels[FIXED_SPLIT].map({name: number for number, name in enumerate(PRECEDENCE)})
    images = _number(labels, no_assignments())
    first = rank.groupby(_groups(images, labels, no_assignments())[images.of_labels]).transform("min")
    return labels[FIXED_SPLIT].where(rank == first, LEFT_OUT)


def _one_split_per_person(labels: pd.DataFrame, previous: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """The previous assignments that stay, so that each person is in one split, and the images of the others."""
    if PERSON not in labels:
        return previous, previous["sha256"].head(0)
    images = _number(labels, previous)
    person = connected_groups(len(images.names), *_person_links(images, labels, previous))
    rank = previous["split"].map({name: number for number, name in enumerate(PRECEDENCE)})
    stays = rank == rank.groupby(person[images.of_previous]).transform("min")
    return previous[stays], previous.loc[~stays, "sha256"]


def _groups(images: _Images, labels: pd.DataFrame, previous: pd.DataFrame) -> npt.NDArray[np.int32]:
    """The number of each image's group."""
    links = []
    if NEAR_GROUP in labels:
        links += [_links_of_equals(images.of_labels, labels[NEAR_GROUP]), _links_to_gone(images, labels, previous)]
    if PERSON in labels:
        links.append(_person_links(images, labels, previous))
    if not links:
        return np.arange(len(images.names), dtype=np.int32)
    one, other = map(np.concatenate, zip(*links, strict=True))
    return connected_groups(len(images.names), one, other)


def _gone(images: _Images) -> npt.NDArray[np.bool_]:
    """Which rows of the previous assignments are of images that have left the labels."""
    here = np.zeros(len(images.names), bool)
    here[images.of_labels] = True
    return ~here[images.of_previous]


def _links_to_gone(images: _Images, labels: pd.DataFrame, previous: pd.DataFrame) -> _Links:
    """Near duplicates among images that have left the labels, and between them and the labels."""
    gone = _gone(images)
    numbers = np.concatenate([images.of_previous[gone], images.of_labels])
    if not gone.any():
        return numbers[:0], numbers[:0]
    near = find_near_duplicates(previous.loc[gone, "dhash"].tolist(), known=labels["dhash"].tolist())
    one, other = near.links()
    return numbers[one], numbers[other]


def _person_links(images: _Images, labels: pd.DataFrame, previous: pd.DataFrame) -> _Links:
    """Pairs that connect all images of each person, as the labels say today, or said last.

    An image without a person is not linked.
    """
    numbers, people = images.of_labels, labels[PERSON]
    if PERSON in previous:
        gone = _gone(images)
        numbers = np.concatenate([numbers, images.of_previous[gone]])
        people = pd.concat([people, previous.loc[gone, PERSON]])
    known = (people != "").to_numpy()
    return _links_of_equals(numbers[known], people[known])


def _links_of_equals(numbers: npt.NDArray[np.int64], values: pd.Series) -> _Links:
    """Pairs that connect the images of the same value.

    Args:
        numbers: of the images.
        values: one of each image.
    """
    value = pd.factorize(values)[0]
    first = np.unique(value, return_index=True)[1]
    return numbers[first[value]], numbers


def _previous_splits_of_groups(previous: pd.DataFrame, group: npt.NDArray[np.int32]) -> pd.Series:
    """The split that new images of a group must join: that of its previous assignments, or `left out` if they differ.

    Args:
        group: of each row of `previous`.

    Returns:
        Texts, with the number of the group as index; groups without a previous assignment are absent.
    """
    number, names = pd.factorize(previous["split"].to_numpy("object"))
    lowest, highest = (getattr(pd.Series(number).groupby(group), name)() for name in ("min", "max"))
    splits = np.array([*names, LEFT_OUT], dtype="object")
    return pd.Series(splits[lowest.where(lowest == highest, len(names))], lowest.index, dtype="object")


def _initial_split(candidates: pd.DataFrame, settings: SplitSettings) -> pd.Series:
    """The published split, of groups: the first row of each represents it. Each draw cuts its own strata.

    Returns:
        Texts, with the number of the group as index.
    """
    firsts = candidates.drop_duplicates("group")
    most_bins = _most_bins(len(firsts), settings)
    rest, test = _draw(firsts, settings.test_fraction, settings, most_bins)
    train, val = _draw(rest, _val_fraction_of_rest(settings), settings, most_bins)
    parts = zip(SPLITS, (train, val, test), strict=True)
    return pd.concat([pd.Series(name, part["group"], dtype="object") for name, part in parts])


def _assign_new_groups(
    candidates: pd.DataFrame,
    names: npt.NDArray[np.object_],
    groups: npt.NDArray[np.int32],
    settings: SplitSettings,
    carry: bool,
) -> pd.Series:
    """Each new group, in the order of its shuffle key, to the split that lacks most images in the group's age bin.

    Args:
        candidates: columns real_age, group, and split, which is missing of new images.
        names: of all images.
        groups: of all images.
        carry: whether a group's images have several ages, as a person's: what a stratum got too many of, or too few,
            the next ones make up for.

    Returns:
        Texts, with the number of the group as index.
    """
    fractions = {"val": settings.val_fraction, "test": settings.test_fraction}
    fractions = {"train": 1 - sum(fractions.values()), **fractions}
    size = candidates["group"].value_counts().to_dict()
    stratum = age_strata(candidates["real_age"], settings.bins, settings.n_bins)
    new = candidates.loc[candidates["split"].isna() & ~candidates["group"].duplicated(), "group"]
    key = _shuffle_keys(new.to_numpy(), names, groups, settings.seed)
    assigned: dict[int, str] = {}
    missing = dict.fromkeys(SPLITS, 0.0)
    for number, rows in candidates.groupby(stratum):
        counts = rows["split"].value_counts()
        left = missing if carry else dict.fromkeys(SPLITS, 0.0)
        missing = {name: left[name] + part * len(rows) - counts.get(name, 0) for name, part in fractions.items()}
        for group in sorted(new[stratum.loc[new.index] == number], key=key.__getitem__):
            assigned[group] = max(SPLITS, key=missing.__getitem__)
            missing[assigned[group]] -= size[group]
    return pd.Series(assigned, dtype="object")


def _shuffle_keys(
    wanted: npt.NDArray[np.int32], names: npt.NDArray[np.object_], groups: npt.NDArray[np.int32], seed: int
) -> dict[int, str]:
    """By these keys of groups they are sorted at random, the same way for the same seed.

    The key is that of the group's first image by name, wherever the images are in the labels.

    Args:
        wanted: the groups.
        names: of all images.
        groups: of all images.
    """
    among = np.isin(groups, wanted)
    firsts: dict[int, str] = {}
    for group, name in zip(groups[among].tolist(), names[among], strict=True):
        firsts[group] = min(name, firsts.get(group, name))
    return {group: hashlib.sha256(f"{seed} {name}".encode()).hexdigest() for group, name in firsts.items()}


def _val_fraction_of_rest(settings: SplitSettings) -> float:
    """The fraction of the images outside the test split that validate."""
    return settings.val_fraction / (1 - settings.test_fraction)


def _most_bins(images: int, settings: SplitSettings) -> int:
    """The largest number of age bins over which both draws can assign so many images; 0 if there is none."""
    rest = images - math.ceil(images * settings.test_fraction)
    draws = ((images, settings.test_fraction), (rest, _val_fraction_of_rest(settings)))
    return min(math.floor(count * min(fraction, 1 - fraction)) for count, fraction in draws)


def _draw(
    labels: pd.DataFrame, fraction: float, settings: SplitSettings, most_bins: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw this fraction of the rows at random, stratified by age; returns the rest and what was drawn.

    Args:
        most_bins: which the message of a refusal names, see `_most_bins`.
    """
    strata = _merge_single_image_strata(age_strata(labels["real_age"], settings.bins, settings.n_bins))
    count = len(strata.unique())
    smaller = min(fraction, 1 - fraction)
    if len(labels) * smaller < count:
        fewer = f", or use fewer bins: --set split.n_bins={most_bins}" if most_bins else ""
        raise LabelsError(
            f"{len(labels)} images are too few to assign {fraction:.0%} of them over {count} age bins "
            f"(at least {math.ceil(count / smaller)} are needed); label more images{fewer}"
        )
    from sklearn.model_selection import train_test_split  # late: half a second, and other stages need only names

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
