"""Row-level and dataset-level validation: which rows are quarantined, and whether the labels are accepted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from age_tasks.config import RepeatedLabels, ValidateSettings
from age_tasks.data.age_hints import age_hint
from age_tasks.data.expectations import Finding, age_bounds
from age_tasks.data.image_folder import name_problem
from age_tasks.data.near_duplicates import find_near_duplicates
from age_tasks.data.splits import FIXED_WAY_OUT
from age_tasks.store.documents import Document

SHIFT = "shift_beyond_chance"  # the column of the suite `distribution` that a person may accept
MOST_PAIRS = 100_000  # of near duplicates that are listed
CHANCE = 0.001  # in at most this fraction of cases, labels within the bound are refused


class AgeShift(BaseModel):
    """How far the ages are from those of the labels that were accepted last.

    Args:
        distance: Kolmogorov-Smirnov, the largest difference between the two cumulative distributions.
        rows: number of ages.
        previous_rows: number of ages accepted last.
        previous_run: the run in which they were.
    """

    model_config = ConfigDict(frozen=True)

    distance: float
    rows: int
    previous_rows: int
    previous_run: str

    @property
    def allowance(self) -> float:
        """The distance between two samples of one population that is exceeded with the probability `CHANCE`.

        The asymptotic critical value sqrt(-ln(CHANCE / 2) / 2) * sqrt((n + m) / (n * m)) of Smirnov (1939). It holds
        for finite samples too, but for a slight excess if both have the same size below 458 (Wei and Dudley, Two-sample
        Dvoretzky-Kiefer-Wolfowitz inequalities, Statistics & Probability Letters 82, 2012). Tied ages, and rows that
        both label sets contain, make the distance smaller.
        """
        rows = self.rows * self.previous_rows / (self.rows + self.previous_rows)
        return math.sqrt(-math.log(CHANCE / 2) / 2 / rows)

    @property
    def beyond_chance(self) -> float:
        """The distance less the allowance: so far the two populations differ at least, by all but `CHANCE`.

        This, not the distance, is compared with `validate.max_age_shift`. The setting then means a difference between
        populations at every number of rows: labels are refused where they show that they exceed it, and few labels,
        which can show little, are not refused for that. (The larger of setting and critical value as the bound would
        refuse small samples of populations whose difference the setting allows.)
        """
        return max(0.0, self.distance - self.allowance)

    @property
    def sentence(self) -> str:
        """The change in words, with its numbers."""
        return (
            f"The ages differ from those of run {self.previous_run}: Kolmogorov-Smirnov distance {self.distance:.3f} "
            f"({self.rows} rows against {self.previous_rows}), {self.beyond_chance:.3f} beyond what chance explains"
        )


@dataclass(frozen=True)
class Verdict:
    """Whether the labels may be trained on.

    Args:
        accepted: no problem was found, or a person accepted the only one.
        problems: for people, one sentence each.
        shifted: the ages differ too much from those accepted before. A person may accept that; unless one did, it is
            the last of the problems.
    """

    accepted: bool
    problems: tuple[str, ...]
    shifted: bool = False


@dataclass(frozen=True)
class NearPairs:
    """The near duplicates among the accepted rows: files with different content that show nearly the same image.

    Args:
        count: the number of pairs.
        nearest: the pairs, the nearest first, at most `MOST_PAIRS`: columns file_name, line and real_age (years) of
            both, prefixed `first_` and `second_`, and bits (the distance).
        group: of each row a number, equal for rows that pairs connect, and for those of one content.
    """

    count: int
    nearest: pd.DataFrame
    group: pd.Series


class VerdictFile(Document):
    """`verdict.json`: why labels were refused, for `labels accept`.

    `problems` are those that no person can accept; `shift` is None for the first labels.
    """

    accepted: bool
    problems: list[str]
    shifted: bool
    shift: AgeShift | None


def with_derived_columns(snapshot: pd.DataFrame, repeated_labels: RepeatedLabels = "quarantine") -> pd.DataFrame:
    """The snapshot with the columns that the suite `rows` refers to; null where a column does not apply to a row.

    Args:
        repeated_labels: the setting `data.repeated_labels`; unless it is `quarantine`, an image may be listed several
            times, and one image under several names must have the same age in the end.
    """
    table = snapshot.reset_index(drop=True)
    valid_name = table["file_name"].map(name_problem) == ""
    exists = valid_name & (table["state"] != "missing")
    decodes = exists & (table["state"] == "ok")
    possible = table["real_age"].between(*age_bounds())  # an impossible age contradicts no other: its own row fails
    age_text = table["age_text"].where(table["real_age"].isna(), "")  # 38 and 38.00 are the same age
    repeated = table.groupby(["file_name", table["real_age"].fillna(-math.inf), age_text])["line"]
    table["listed"] = repeated.cumcount() + 1
    table["first_line"] = repeated.transform("min")
    table["name_is_valid"] = valid_name
    table["image_exists"] = exists.where(valid_name).astype("object")
    table["image_decodes"] = decodes.where(exists).astype("object")
    table["age_hint"] = ["" if fine else age_hint(text) for fine, text in zip(possible, table["age_text"], strict=True)]
    table["smaller_side"] = table[["width", "height"]].min(axis=1).where(decodes)
    one_age = table["real_age"].where(valid_name & possible)
    if repeated_labels != "quarantine":
        table["listed"] = 1
        one_age = one_age.groupby(table["file_name"]).transform(repeated_labels)
    _count_ages(table, "ages_of_name", "file_name", one_age)
    _count_ages(table, "ages_of_content", "sha256", one_age.where(decodes))
    table["file_name"] = table["file_name"].where(table["file_name"] != "", None)
    return table


def quarantined(table: pd.DataFrame, findings: list[Finding]) -> pd.DataFrame:
    """The rows that fail a critical row-level expectation.

    Returns:
        Columns line, file_name, age_text, fault (of the first expectation that failed), reason (of all).
    """
    faults: dict[int, list[tuple[str, str]]] = {}
    for finding in (finding for finding in findings if finding.blocks):
        rows = table.loc[list(finding.failing_rows)].itertuples(index=False, name=None)
        for position, row in zip(finding.failing_rows, rows, strict=True):
            values = dict(zip(table.columns, row, strict=True))
            reason = finding.meta["reason"].format(**finding.arguments | values)
            faults.setdefault(position, []).append((finding.meta["fault"], reason))
    found = [faults[position] for position in sorted(faults)]
    return table.loc[sorted(faults), ["line", "file_name", "age_text"]].assign(
        fault=[each[0][0] for each in found], reason=["; ".join(reason for _, reason in each) for each in found]
    )


def age_shift(ages: pd.Series, previous: pd.Series, previous_run: str) -> AgeShift | None:
    """How far ages are from those accepted in a previous run; None if there are none."""
    if ages.empty or previous.empty:
        return None
    distance = _ks_distance(ages, previous)
    return AgeShift(distance=distance, rows=len(ages), previous_rows=len(previous), previous_run=previous_run)


def distribution(accepted: pd.DataFrame, shift: AgeShift | None) -> dict[str, float | None]:
    """The values that the suite `distribution` checks, of all accepted rows together; ages in years.

    Args:
        accepted: column `real_age`.
        shift: from the previously accepted labels, if any.
    """
    ages = accepted["real_age"]
    quartiles = [None] * 3 if ages.empty else [float(value) for value in ages.quantile([0.25, 0.5, 0.75])]
    return {
        "rows": len(ages),
        "mean_age": None if ages.empty else float(ages.mean()),
        "first_quartile": quartiles[0],
        "median_age": quartiles[1],
        "third_quartile": quartiles[2],
        "distance_to_previous": shift.distance if shift else None,
        SHIFT: shift.beyond_chance if shift else None,
    }


def near_pairs(accepted: pd.DataFrame) -> NearPairs:
    """The near duplicates among the accepted rows.

    Args:
        accepted: columns file_name, line, real_age, sha256, dhash.
    """
    images = accepted.drop_duplicates("sha256").reset_index(drop=True)
    near = find_near_duplicates(images["dhash"].tolist())
    pairs, described = near.nearest(MOST_PAIRS), ["file_name", "line", "real_age"]
    sides = [
        images.loc[[pair[at] for pair in pairs], described].add_prefix(prefix).reset_index(drop=True)
        for at, prefix in enumerate(("first_", "second_"))
    ]
    table = pd.concat([*sides, pd.Series([bits for _, _, bits in pairs], name="bits", dtype="int64")], axis=1)
    group_of = dict(zip(images["sha256"], near.groups(), strict=True))
    return NearPairs(near.count, table, accepted["sha256"].map(group_of))


def judge(
    rows: int,
    quarantine: pd.DataFrame,
    findings: list[Finding],
    settings: ValidateSettings,
    shift: AgeShift | None = None,
    shift_accepted: bool = False,
    across_splits: int = 0,
    empty_splits: Sequence[str] = (),
) -> Verdict:
    """Accept the labels unless too many rows are quarantined, or a critical dataset-level expectation fails.

    Args:
        rows: number of all rows.
        shift: of the ages, which the expectation on `SHIFT` is about.
        shift_accepted: whether a person accepted it for these labels.
        across_splits: rows that must not be where a fixed split has them, if that is to be refused.
        empty_splits: those of a fixed split without an image.
    """
    problems, allowed = [], settings.max_quarantine_fraction
    if across_splits:
        problems.append(
            f"{across_splits} rows of the fixed split show a person, or a duplicate, of another split "
            "(data.across_splits = refuse; leave_out leaves them out of training)"
        )
    if empty_splits:
        problems.append(f"no image is in {' or '.join(empty_splits)}{FIXED_WAY_OUT.format(empty_splits[0])}")
    if len(quarantine) > Fraction(str(allowed)) * rows:  # as written: 0.29 of 100 is 29, which floats make less
        problems.append(
            f"{len(quarantine)} of {rows} rows ({100 * len(quarantine) / rows:.1f} %) are quarantined; "
            f"at most {100 * allowed:.1f} % may be (validate.max_quarantine_fraction)"
        )
    failed = [finding for finding in findings if finding.blocks and "fault" not in finding.meta]
    for finding in failed:
        if finding.column == "rows" and finding.arguments.get("min_value") == settings.min_rows:
            accepted = rows - len(quarantine)
            problems.append(f"{accepted} rows are accepted; at least {settings.min_rows} must be (validate.min_rows)")
        elif finding.column != SHIFT:
            where = f" (a rule of expectations/suites/{finding.suite}.json)" if finding.suite else ""
            problems.append(f"not met: {finding.description}{where}")
    shifted = shift is not None and any(finding.column == SHIFT for finding in failed)
    if shift and shifted and not shift_accepted:
        problems.append(f"{shift.sentence}; at most {settings.max_age_shift:g} may be (validate.max_age_shift)")
    return Verdict(not problems, tuple(problems), shifted)


def enough_hundredths(value: float) -> float:
    """The smallest number of two decimals that is not below a value of at least 0."""
    hundredths = math.floor(value * 100)
    return (hundredths if hundredths / 100 >= value else hundredths + 1) / 100


def _count_ages(table: pd.DataFrame, column: str, key: str, years: pd.Series) -> None:
    """Add `column`, the number of different ages among the rows of one `key`, and `column`_text, which lists them.

    Args:
        years: the age of each row; NaN where it does not count.
    """
    ages = years.dropna().groupby(table[key]).transform("nunique")
    table[column] = ages.reindex(table.index)
    disputed = table.loc[ages.index[ages > 1]]
    texts = disputed["real_age"].map("{:g}".format).astype("str") + " (" + disputed["file_name"] + ", line "
    texts += disputed["line"].astype("str") + ")"
    listed = texts.groupby(disputed[key]).agg(lambda rows: ", ".join(rows.head(5)))
    table[f"{column}_text"] = disputed[key].map(listed).reindex(table.index, fill_value="")


def _ks_distance(ages: pd.Series, previous: pd.Series) -> float:
    """The Kolmogorov-Smirnov distance: the largest difference between the two cumulative distributions."""
    samples = [np.sort(ages.to_numpy()), np.sort(previous.to_numpy())]
    steps = np.concatenate(samples)
    below, before = (np.searchsorted(sample, steps, side="right") / len(sample) for sample in samples)
    return float(np.abs(below - before).max())
