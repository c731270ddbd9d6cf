"""Check the snapshot against the expectations and set aside the rows that break them.

Writes `index.html` (the verdict, for people), `accepted.csv`, `quarantine.csv` with a reason for each row,
`expectations.json`, `audit/` and `data_docs/`. Stops the run when too many rows are broken, or the labels as a whole.
"""

import json
from dataclasses import dataclass

import pandas as pd

from age_tasks.config import Config
from age_tasks.data.audit import write_audit
from age_tasks.data.decoding import load_rgb
from age_tasks.data.expectations import Expectations, Finding
from age_tasks.data.image_folder import ImageFolder, name_problem
from age_tasks.data.near_duplicates import near_pairs
from age_tasks.errors import LabelsError
from age_tasks.reports import figures
from age_tasks.reports.safe_csv import as_csv
from age_tasks.reports.validation_page import validation_page
from age_tasks.runs.run import Run, Summary

ACCEPTED = ["line", "file_name", "real_age", "sha256", "dhash", "width", "height", "bytes"]
QUARANTINE = ["line", "file_name", "age_text", "fault", "reason"]
SHEET_FACES = 32
MISSING = "no such file in the images folder"


@dataclass(frozen=True)
class Verdict:
    """Whether the labels may be trained on, and the sentences that say why not."""

    accepted: bool
    problems: tuple[str, ...]


def run(run: Run, config: Config) -> Summary:
    snapshot = read_snapshot(run)
    table = with_derived_columns(snapshot)
    expectations = Expectations(run.scratch, run.key)
    row_findings = expectations.check("rows", table)
    quarantine = quarantined(table, row_findings)
    accepted = table[~table["line"].isin(quarantine["line"])]
    facts = distribution(accepted, _previous_ages(run))
    findings = [*row_findings, *expectations.check("distribution", pd.DataFrame([facts]))]
    bound = config.validate_.max_quarantine_fraction
    verdict = judge(len(table), quarantine, findings, bound)

    accepted[ACCEPTED].to_csv(run.out / "accepted.csv", index=False)
    (run.out / "quarantine.csv").write_text(as_csv(quarantine))
    (run.out / "expectations.json").write_text(json.dumps([vars(finding) for finding in findings], indent=2) + "\n")
    near = near_duplicates(accepted)
    (run.out / "near_duplicates.csv").write_text(as_csv(near))
    audit = write_audit(accepted, run.out / "audit")
    folder = run.images()
    _face_sheet(accepted, folder, run)
    expectations.write_data_docs(run.out / "data_docs")
    page = validation_page(run, verdict, table, quarantine, findings, facts, audit, near, bound, folder)
    (run.out / "index.html").write_text(page)
    if not verdict.accepted:
        raise LabelsError(_refusal(run, verdict, quarantine))
    return {
        "rows": len(table),
        "accepted": len(accepted),
        "quarantined": len(quarantine),
        "quarantine_fraction": round(len(quarantine) / len(table), 4),
        "near_duplicates": len(near),
        "reasons": quarantine["fault"].value_counts().to_dict(),
        "warnings": [finding.description for finding in findings if not finding.success and not finding.blocks],
    }


def read_snapshot(run: Run) -> pd.DataFrame:
    """The run's `snapshot.csv`; text columns stay text, whatever is in them."""
    text = dict.fromkeys(("file_name", "age_text", "sha256", "dhash", "problem"), "str")
    numbers = {column: [""] for column in ("real_age", "width", "height", "bytes")}
    path = run.input("snapshot", "snapshot.csv")
    snapshot = pd.read_csv(path, dtype=text, keep_default_na=False, na_values=numbers)
    return snapshot.astype({"real_age": "float64"})


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


def _previous_ages(run: Run) -> pd.Series | None:
    previous = run.previous("validate")
    return pd.read_csv(previous.input("validate", "accepted.csv"))["real_age"] if previous else None


def _distance(ages: pd.Series, previous: pd.Series) -> float:
    """The Kolmogorov-Smirnov distance: the largest gap between the two cumulative shares by age."""
    from scipy.stats import ks_2samp

    return float(ks_2samp(ages, previous, method="asymp").statistic)  # the exact p-value, unused, may overflow


def on_the_sheet(accepted: pd.DataFrame) -> pd.DataFrame:
    """The rows whose faces are shown, evenly from young to old."""
    by_age = accepted.sort_values(["real_age", "sha256"])
    step = max(len(by_age) / SHEET_FACES, 1)
    return by_age.iloc[[int(step * number) for number in range(min(SHEET_FACES, len(by_age)))]]


def _face_sheet(accepted: pd.DataFrame, folder: ImageFolder, run: Run) -> None:
    chosen = on_the_sheet(accepted)
    faces = [(load_rgb(folder.path(row.file_name), 112), f"{row.real_age:g}") for row in chosen.itertuples()]
    figures.face_sheet(faces, run.out / "audit" / "faces.png", title="Faces from young to old, with their labels")


def _refusal(run: Run, verdict: Verdict, quarantine: pd.DataFrame) -> str:
    lines = [
        f"the labels {run.settings()['labels']} were refused:",
        *(f"  {problem}" for problem in verdict.problems),
    ]
    for fault, rows in quarantine.groupby("fault", sort=False):
        shown = rows.iloc[0]
        lines.append(f"  {len(rows)} x {fault}, such as line {shown.line} ({shown.file_name}): {shown.reason}")
    lines.append(f"  Correct the labels (all broken rows: {run.where('validate', 'quarantine.csv')})")
    lines.append(f"  Look: {run.where('validate', 'index.html')}")
    return "\n".join(lines)
