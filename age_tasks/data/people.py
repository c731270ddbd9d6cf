"""Who is in the images, and what a fixed split does with them, for the validation page."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from age_tasks.config import SplitSettings
from age_tasks.data.label_columns import FIXED_SPLIT, PERSON
from age_tasks.data.splits import LEFT_OUT, SPLITS, assign, empty_splits, no_assignments


@dataclass(frozen=True)
class People:
    """The people in the accepted images.

    Args:
        count: how many are known.
        unknown: images that name none; each counts as one of a person of its own.
        median, most: images a person.
        conflicts: rows with the content of an earlier row and another person: columns line, file_name, person,
            first_line, first_person.
    """

    count: int
    unknown: int
    median: float
    most: int
    conflicts: pd.DataFrame


@dataclass(frozen=True)
class FixedSplit:
    """The split that the labels fix: rows by split, and those that are left out.

    Args:
        left_out: rows whose person or duplicate is in a split that comes before: columns line, file_name, fixed_split,
            and person if it is known.
        empty: splits without an image, although rows are accepted.
    """

    rows: Mapping[str, int]
    left_out: pd.DataFrame
    empty: tuple[str, ...] = ()


def people(accepted: pd.DataFrame) -> People | None:
    """The people in the accepted rows; None if the labels name none.

    Args:
        accepted: columns line, file_name, sha256, and person if the labels name people.
    """
    if PERSON not in accepted:
        return None
    known = accepted[accepted[PERSON] != ""]
    images = known.groupby(PERSON)["sha256"].nunique()
    first = known.drop_duplicates("sha256").set_index("sha256")
    others = known.assign(
        first_line=known["sha256"].map(first["line"]), first_person=known["sha256"].map(first[PERSON])
    )
    return People(
        count=len(images),
        unknown=len(accepted) - len(known),
        median=float(images.median()) if len(images) else 0.0,
        most=int(images.max()) if len(images) else 0,
        conflicts=others.loc[
            others[PERSON] != others["first_person"], ["line", "file_name", PERSON, "first_line", "first_person"]
        ],
    )


def fixed_split(accepted: pd.DataFrame) -> FixedSplit | None:
    """What becomes of the split that the labels fix; None if they fix none.

    Args:
        accepted: columns line, file_name, sha256, dhash, near_group, and fixed_split if the labels fix one.
    """
    if FIXED_SPLIT not in accepted:
        return None
    split = assign(accepted, no_assignments(), SplitSettings())
    columns = ["line", "file_name", FIXED_SPLIT, *([PERSON] if PERSON in accepted else [])]
    counts = accepted[FIXED_SPLIT].value_counts()
    return FixedSplit(
        rows={name: int(counts.get(name, 0)) for name in SPLITS},
        left_out=accepted.loc[split == LEFT_OUT, columns],
        empty=empty_splits(split),
    )
