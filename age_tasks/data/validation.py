"""Row-level and dataset-level validation: which rows are quarantined, and whether the labels are accepted."""

import math
from dataclasses import dataclass

import pandas as pd

from age_tasks.data.expectations import Finding
from age_tasks.data.image_folder import name_problem
from age_tasks.data.near_duplicates import near_pairs


@dataclass(frozen=True)
class Verdict:
    """Whether the labels may be trained on.

    Args:
        accepted: no problem was found.
        problems: for people, one sentence each.
    """

    accepted: bool
    problems: tuple[str, ...]


def with_derived_columns(snapshot: pd.DataFrame) -> pd.DataFrame:
    """The snapshot with the columns that the suite `rows` refers to; null where a column does not apply to a row."""
    table = snapshot.reset_index(drop=True)
    valid_name = table["file_name"].map(name_problem) == ""
    exists = valid_name & (table["state"] != "missing")
    decodes = exists & (table["state"] == "ok")
    age_text = table["age_text"].where(table["real_age"].isna(), "")  # 38 and 38.00 are the same age
    repeated = table.groupby(["file_name", table["real_age"].fillna(-math.inf), age_text])["line"]
    table["listed"] = repeated.cumcount() + 1
    table["first_line"] = repeated.transform("min")
    table["name_is_valid"] = valid_name
    table["image_exists"] = exists.where(valid_name).astype("object")
    table["image_decodes"] = decodes.where(exists).astype("object")
    table["smaller_side"] = table[["width", "height"]].min(axis=1).where(decodes)
    for column, key, usable in (("ages_of_name", "file_name", valid_name), ("ages_of_content", "sha256", decodes)):
        _count_ages(table, column, key, usable & table["real_age"].notna())
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


def distribution(accepted: pd.DataFrame, previous: pd.Series | None) -> dict[str, float | None]:
    """The values that the suite `distribution` checks, of all accepted rows together; ages in years.

    Args:
        accepted: column `real_age`.
        previous: ages of the previously accepted labels, if any.
    """
    ages = accepted["real_age"]
    quartiles = [None] * 3 if ages.empty else [float(value) for value in ages.quantile([0.25, 0.5, 0.75])]
    return {
        "rows": len(ages),
        "mean_age": None if ages.empty else float(ages.mean()),
        "first_quartile": quartiles[0],
        "median_age": quartiles[1],
        "third_quartile": quartiles[2],
        "distance_to_previous": None if previous is None or ages.empty else _ks_distance(ages, previous),
    }


def near_duplicates(accepted: pd.DataFrame) -> pd.DataFrame:
    """Pairs of files with different content that show nearly the same image, the nearest first.

    Returns:
        Columns file_name, line and real_age (years) of both, prefixed `first_` and `second_`, and bits (the distance).
    """
    images = accepted.drop_duplicates("sha256").reset_index(drop=True)
    described = ["file_name", "line", "real_age"]
    pairs = near_pairs(images["dhash"].tolist())
    sides = [
        images.loc[[pair[at] for pair in pairs], described].add_prefix(prefix).reset_index(drop=True)
        for at, prefix in enumerate(("first_", "second_"))
    ]
    table = pd.concat([*sides, pd.Series([bits for _, _, bits in pairs], name="bits", dtype="int64")], axis=1)
    return table.sort_values("bits", kind="stable", ignore_index=True)


def judge(rows: int, quarantine: pd.DataFrame, findings: list[Finding], max_fraction: float) -> Verdict:
    """Accept the labels unless too many rows are quarantined, or a critical dataset-level expectation fails.

    Args:
        rows: number of all rows.
        max_fraction: of the rows that may be quarantined.
    """
    problems = []
    if len(quarantine) > max_fraction * rows:
        problems.append(
            f"{len(quarantine)} of {rows} rows ({len(quarantine) / rows:.1%}) are quarantined; "
            f"at most {max_fraction:.1%} may be (validate.max_quarantine_fraction)"
        )
    problems += [
        f"not met: {finding.description}" for finding in findings if finding.blocks and "fault" not in finding.meta
    ]
    return Verdict(not problems, tuple(problems))


def _count_ages(table: pd.DataFrame, column: str, key: str, usable: pd.Series) -> None:
    """Add `column`, the number of different ages among the rows of one `key`, and `column`_text, which lists them."""
    ages = table[usable].groupby(key)["real_age"].transform("nunique")
    table[column] = ages.reindex(table.index)
    disputed = table.loc[ages.index[ages > 1]]
    texts = disputed["real_age"].map("{:g}".format).astype("str") + " (" + disputed["file_name"] + ", line "
    texts += disputed["line"].astype("str") + ")"
    listed = texts.groupby(disputed[key]).agg(lambda rows: ", ".join(rows.head(5)))
    table[f"{column}_text"] = disputed[key].map(listed).reindex(table.index, fill_value="")


def _ks_distance(ages: pd.Series, previous: pd.Series) -> float:
    """The Kolmogorov-Smirnov distance: the largest difference between the two cumulative distributions."""
    from scipy.stats import ks_2samp  # slow to import

    return float(ks_2samp(ages, previous, method="asymp").statistic)  # the exact p-value, unused, may overflow
