"""Deal the accepted images to train, validation and test, stratified by age; an image known from before stays.

Writes `train.csv`, `val.csv`, `test.csv` (file_name, real_age, sha256), `assignments.csv` (the split of every image
ever dealt, which the next deal starts from), `left_out.csv`, `split_summary.json` and `split_ages.png`.
"""

import json
import logging
from pathlib import Path

import pandas as pd

from age_tasks.config import Config, SplitSettings
from age_tasks.data.labels import read_labels
from age_tasks.data.labels_file import fetch_labels
from age_tasks.data.splits import (
    LEFT_OUT,
    SPLITS,
    across_pairs,
    assign,
    no_known,
    remember,
    split_labels,
    summarise,
)
from age_tasks.errors import LabelsError
from age_tasks.reports import figures
from age_tasks.reports.safe_csv import as_csv
from age_tasks.runs.listing import previous_run
from age_tasks.runs.records import Summary
from age_tasks.runs.run import Workspace

log = logging.getLogger(__name__)


def execute(run: Workspace, config: Config) -> Summary:
    text = {"dhash": "str", "file_name": "str"}
    labels = pd.read_csv(run.input("validate", "accepted.csv"), dtype=text, keep_default_na=False)  # "NA" is a name
    known = known_images(run, config.split)
    split = assign(labels, known, config.split)
    remember(labels, split, known).to_csv(run.output_dir / "assignments.csv", index=False)
    left_out = labels[split == LEFT_OUT]
    (run.output_dir / "left_out.csv").write_text(as_csv(left_out[["line", "file_name", "real_age", "sha256"]]))
    counts = {
        "known": int(labels["sha256"].isin(known["sha256"]).sum()),
        "left_out": len(left_out),
        "across_pairs": across_pairs(labels, split),
    }
    columns = ["file_name", "real_age", "sha256"]
    splits = {name: labels.loc[split == name, columns] for name in SPLITS}
    return write_splits(splits, config.split, run.output_dir, counts)


def known_images(run: Workspace, settings: SplitSettings) -> pd.DataFrame:
    """The assignments of the last deal with these settings, from the newest run that dealt so, finished or not."""
    previous = previous_run(run, "split", {"split": settings.model_dump(mode="json")})
    if previous is None:
        if other := previous_run(run, "split"):
            log.warning("other split settings than in run %s: all images are dealt anew", other.key)
        return no_known()
    return pd.read_csv(previous.input("split", "assignments.csv"), dtype="str", keep_default_na=False)


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
    return write_splits(split_labels(table[["file_name", "real_age"]], settings), settings, out, {})


def write_splits(splits: dict[str, pd.DataFrame], settings: SplitSettings, out: Path, counts: dict) -> Summary:
    """Write the CSVs, the summary and the plot into `out`; `counts` join the summary."""
    summary = summarise(splits, settings) | counts
    for name in SPLITS:
        splits[name].to_csv(out / f"{name}.csv", index=False)
    (out / "split_summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    figures.save(figures.split_ages(splits["train"], splits["val"], splits["test"]), out / "split_ages.png")
    return {name: summary[name]["images"] for name in SPLITS} | counts
