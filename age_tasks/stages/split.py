"""Deal the accepted images to train, validation and test, stratified by age.

Writes `train.csv`, `val.csv`, `test.csv` (file_name, real_age, sha256), `split_summary.json` and `split_ages.png`.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from age_tasks import figures
from age_tasks.config import Config, SplitSettings
from age_tasks.errors import LabelsError
from age_tasks.labels import fetch_labels, read_labels
from age_tasks.runs import Run, Summary
from age_tasks.splits import SPLITS, split_labels, summarise

INPUTS = ("validate",)
SETTINGS = ("split",)


def run(run: Run, config: Config) -> Summary:
    accepted = pd.read_csv(run.input("validate", "accepted.csv"))
    labels = accepted[["file_name", "real_age", "sha256"]]
    return write_splits(labels, config.split, run.out)


def split_file(labels: str, settings: SplitSettings, out: Path) -> Summary:
    """Split a labels file alone, without its images.

    Raises:
        LabelsError: a row without a usable age; nothing is set aside here.
    """
    table = read_labels(fetch_labels(labels), labels)
    unusable = table[table["real_age"].isna()]
    if len(unusable):
        row = unusable.iloc[0]
        raise LabelsError(
            f"{labels} line {row.line}: real_age {row.age_text!r} is not a number "
            f"({len(unusable)} such rows); correct or remove them first"
        )
    out.mkdir(parents=True, exist_ok=True)
    return write_splits(table[["file_name", "real_age"]], settings, out)


def write_splits(labels: pd.DataFrame, settings: SplitSettings, out: Path) -> Summary:
    """Split, and write the CSVs, the summary and the plot into `out`."""
    splits = split_labels(labels, settings)
    summary = summarise(splits, settings)
    _check_apart(splits)
    for name in SPLITS:
        splits[name].to_csv(out / f"{name}.csv", index=False)
    (out / "split_summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    figures.split_ages(splits["train"], splits["val"], splits["test"], out / "split_ages.png")
    return {name: summary[name]["images"] for name in SPLITS}


def _check_apart(splits: Mapping[str, pd.DataFrame]) -> None:
    column = "sha256" if "sha256" in splits["train"] else "file_name"
    seen = pd.concat([part[column].drop_duplicates() for part in splits.values()])
    if seen.duplicated().any():
        raise LabelsError(f"{column} {seen[seen.duplicated()].iloc[0]} would stand in two splits; this must not happen")
