"""Which rows are quarantined, and whether the labels as a whole may be trained on."""

from dataclasses import dataclass

import pandas as pd

from age_tasks.data.expectations import Finding
from age_tasks.data.image_folder import name_problem
from age_tasks.data.near_duplicates import near_pairs

MISSING = "no such file in the images folder"


@dataclass(frozen=True)
class Verdict:
    """Whether the labels may be trained on, and the sentences that say why not."""

    accepted: bool
    problems: tuple[str, ...]


def with_derived_columns(snapshot: pd.DataFrame) -> pd.DataFrame:
    """The snapshot with one column for each thing that the suite `rows` asks; nulls where a question makes no sense."""
    table = snapshot.reset_index(drop=True)
    plain = table["file_name"].map(name_problem) == ""
    there = plain & (table["problem"] != MISSING)
    decodes = there & (table["problem"] == "")
    repeated = table.groupby(["file_name", "age_text"])["line"]
    table["listed"] = repeated.cumcount() + 1
    table["first_line"] = repeated.transform("min")
    table["name_is_plain"] = plain
    table["image_is_there"] = there.where(plain).astype("object")
    table["image_decodes"] = decodes.where(there).astype("object")
    table["smaller_side"] = table[["width", "height"]].min(axis=1).where(decodes)
    for column, key, usable in (("ages_of_name", "file_name", plain), ("ages_of_content", "sha256", decodes)):
        _count_ages(table, column, key, usable & table["real_age"].notna())
    table["file_name"] = table["file_name"].where(table["file_name"] != "", None)
    return table


def quarantined(table: pd.DataFrame, findings: list[Finding]) -> pd.DataFrame:
    """The rows that break a critical expectation: line, file_name, age_text, fault (the first), reason (all)."""
    faults: dict[int, list[tuple[str, str]]] = {}
    for finding in findings:
        if finding.blocks:
            for row in table.loc[list(finding.failing_rows)].itertuples():
                reason = finding.meta["reason"].format(**finding.arguments | row._asdict())
                faults.setdefault(row.Index, []).append((finding.meta["fault"], reason))
    found = [faults[position] for position in sorted(faults)]
    return table.loc[sorted(faults), ["line", "file_name", "age_text"]].assign(
        fault=[each[0][0] for each in found], reason=["; ".join(reason for _, reason in each) for each in found]
    )


def distribution(accepted: pd.DataFrame, previous: pd.Series | None) -> dict[str, float | None]:
    """What the suite `distribution` asks of all accepted rows together; ages in years."""
    ages = accepted["real_age"]
    quartiles = [None] * 3 if ages.empty else [float(value) for value in ages.quantile([0.25, 0.5, 0.75])]
    return {
        "rows": len(ages),
        "mean_age": None if ages.empty else float(ages.mean()),
        "first_quartile": quartiles[0],
        "median_age": quartiles[1],
        "third_quartile": quartiles[2],
        "distance_to_previous": None if previous is None or ages.empty else _distance(ages, previous),
    }


def near_duplicates(accepted: pd.DataFrame) -> pd.DataFrame:
    """Pairs of different files that show the same picture: file_name, line and real_age (years) of both, and bits."""
    pictures = accepted.drop_duplicates("sha256").reset_index(drop=True)
    rows = []
    for first, second, bits in near_pairs(pictures["dhash"].tolist()):
        one, other = (pictures.loc[at, ["file_name", "line", "real_age"]] for at in (first, second))
        rows.append({**one.add_prefix("first_"), **other.add_prefix("second_"), "bits": bits})
    columns = [f"{which}_{name}" for which in ("first", "second") for name in ("file_name", "line", "real_age")]
    return pd.DataFrame(rows, columns=[*columns, "bits"]).sort_values("bits", kind="stable", ignore_index=True)


def judge(rows: int, quarantine: pd.DataFrame, findings: list[Finding], bound: float) -> Verdict:
    """Row faults are borne up to the share `bound` of all rows; a fault of the labels as a whole never is."""
    problems = []
    if len(quarantine) > bound * rows:
        problems.append(
            f"{len(quarantine)} of {rows} rows ({len(quarantine) / rows:.1%}) are broken; "
            f"at most {bound:.1%} may be set aside (validate.max_quarantine_fraction)"
        )
    problems += [
        f"not met: {finding.description}" for finding in findings if finding.blocks and "fault" not in finding.meta
    ]
    return Verdict(not problems, tuple(problems))


def _count_ages(table: pd.DataFrame, column: str, key: str, usable: pd.Series) -> None:
    ages = table[usable].groupby(key)["real_age"].transform("nunique")
    table[column] = ages.reindex(table.index)
    disputed = table.loc[ages.index[ages > 1]]
    said = disputed["real_age"].map("{:g}".format).astype("str") + " (" + disputed["file_name"] + ", line "
    said += disputed["line"].astype("str") + ")"
    listed = said.groupby(disputed[key]).agg(lambda rows: ", ".join(rows.head(5)))
    table[f"{column}_say"] = disputed[key].map(listed).reindex(table.index, fill_value="")


def _distance(ages: pd.Series, previous: pd.Series) -> float:
    """The Kolmogorov-Smirnov distance: the largest gap between the two cumulative shares by age."""
    from scipy.stats import ks_2samp

    return float(ks_2samp(ages, previous, method="asymp").statistic)  # the exact p-value, unused, may overflow
