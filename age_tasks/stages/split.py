"""Split the accepted images into train, validation and test, stratified by age; earlier assignments stay.

Writes `train.csv`, `val.csv`, `test.csv` (file_name, real_age, sha256, further columns), `assignments.csv` (the
split of every image ever assigned, which the next run extends), `left_out.csv`, `split_summary.json` and
`split_ages.png`.
"""

import contextlib
import csv
import io
import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from age_tasks.config import Config, SplitSettings
from age_tasks.data.expectations import age_bounds
from age_tasks.data.label_columns import FIXED_SPLIT, WEIGHT, as_text, further_columns_of
from age_tasks.data.labels import parse_labels
from age_tasks.data.labels_file import fetch_labels
from age_tasks.data.splits import (
    ASSIGNMENT_COLUMNS,
    LEFT_OUT,
    SPLITS,
    across_pairs,
    assign,
    extend_assignments,
    no_assignments,
    require_images_in_each,
    split_labels,
    summarise,
    with_near_groups,
)
from age_tasks.data.weights import training_weights
from age_tasks.errors import LabelsError, MissingInputError, NotFoundError
from age_tasks.reports import figures
from age_tasks.reports.safe_csv import as_csv
from age_tasks.runs.keys import stage_folder
from age_tasks.runs.listing import Settings, previous_run
from age_tasks.runs.records import Summary
from age_tasks.runs.run import Workspace
from age_tasks.stopwatch import timed
from age_tasks.store.base import to_json

ASSIGNMENTS, SUMMARY = "assignments.csv", "split_summary.json"
ANEW = "the images that only this run has assigned are assigned anew"

log = logging.getLogger(__name__)


def execute(run: Workspace, config: Config) -> Summary:
    accepted = run.input("validate", "accepted.csv")
    # Without the default NA values: "NA" is a valid name.
    labels = pd.read_csv(accepted, dtype=as_text(accepted, "dhash", "file_name"), keep_default_na=False)
    labels = with_near_groups(labels)  # which 0.1.0 did not write
    previous = previous_assignments(run, config.split)
    split = assign(labels, previous, config.split)
    require_images_in_each(labels, split)
    left_out = labels[split == LEFT_OUT]
    (run.output_dir / "left_out.csv").write_text(as_csv(left_out[["line", "file_name", "real_age", "sha256"]]))
    counts = {
        "known": int(labels["sha256"].isin(previous["sha256"]).sum()),
        "left_out": len(left_out),
        "across_pairs": across_pairs(labels, split),
    }
    further = [column for column in further_columns_of(labels.columns) if column not in {FIXED_SPLIT, WEIGHT}]
    columns = ["file_name", "real_age", "sha256", *further]
    splits = {name: labels.loc[split == name, columns] for name in SPLITS}
    if (weights := training_weights(labels[split == "train"], config.data.balance_ages)) is not None:
        splits["train"] = splits["train"].assign(**{WEIGHT: weights.round(4)})
    assignments = extend_assignments(labels, split, previous)
    assignments.to_csv(run.scratch / ASSIGNMENTS, index=False, quoting=csv.QUOTE_NONNUMERIC)
    summary = write_splits(splits, config.split, run.output_dir, counts)
    # Last, and complete: what a failure has written replaces the same files in the store.
    (run.scratch / ASSIGNMENTS).rename(run.output_dir / ASSIGNMENTS)
    return summary


def previous_assignments(run: Workspace, settings: SplitSettings) -> pd.DataFrame:
    """The assignments that stay: this run's own earlier ones, and those of the newest other run, of these settings.

    An image that both have assigned stays where this run has it, so that a run that is executed again keeps its splits.
    It does not matter whether the other run went further than its split.

    Raises:
        MissingInputError: those of the other run are gone or damaged, or the own ones are, and the stage is not asked
            for `again`.
    """
    wanted = {"split": settings.model_dump(mode="json")}
    own, other = _own_assignments(run, wanted), previous_run(run, "split", wanted)
    others = None if other is None else _read_assignments(other.input("split", ASSIGNMENTS))
    found = [each for each in (own, others) if each is not None]
    if not found:
        _warn_of_other_settings(run, wanted)
        return no_assignments()
    return pd.concat(found).drop_duplicates("sha256", ignore_index=True).fillna("")


def _own_assignments(run: Workspace, settings: Settings) -> pd.DataFrame | None:
    """What this run has assigned before; None if it was not split, or with other settings."""
    before = run.replaced
    if before is None or not before.done:
        return _left_assignments(run, settings)
    if before.settings != settings:
        return None
    try:
        return _read_assignments(run.output_of(before, ASSIGNMENTS))
    except MissingInputError as error:
        if not run.again:
            raise
        log.warning("%s: %s", str(error).partition("; run ")[0], ANEW)
        return None


def _left_assignments(run: Workspace, settings: Settings) -> pd.DataFrame | None:
    """What is left of an execution before one that failed or was interrupted, and so replaced the record only.

    Raises:
        MissingInputError: its summary is there, and its assignments are not, or can't be read.
    """
    folder = stage_folder(run.key, "split")
    try:
        if json.loads(run.store.get(folder + SUMMARY))["settings"] != settings["split"]:
            return None
    except (NotFoundError, ValueError, TypeError, KeyError):
        return None
    with contextlib.suppress(NotFoundError, ValueError):
        left = _read_assignments(io.BytesIO(run.store.get(folder + ASSIGNMENTS)))
        if {*ASSIGNMENT_COLUMNS} <= {*left.columns} and left["split"].isin(SPLITS).all():
            return left
    if not run.again:
        raise MissingInputError(
            f"{run.store.where(folder + ASSIGNMENTS)}, which says where run {run.key} had its images, is gone or "
            f"damaged; bring it back, or assign them again: `python -m age_tasks split --run {run.key} --again`"
        )
    log.warning("%s is gone or damaged: %s", run.store.where(folder + ASSIGNMENTS), ANEW)
    return None


def _warn_of_other_settings(run: Workspace, settings: Settings) -> None:
    before, other = run.replaced, previous_run(run, "split")
    own = before is not None and before.done and before.settings != settings
    if own or other:
        log.warning(
            "the split settings differ from those of run %s: all images are assigned again from the start",
            run.key if own or other is None else other.key,
        )


def _read_assignments(file: Path | io.BytesIO) -> pd.DataFrame:
    return pd.read_csv(file, dtype="str", keep_default_na=False)


def split_file(labels: str, settings: SplitSettings, out: Path) -> Summary:
    """Split a labels file alone, without its images. Writes the tables, the summary and the plot into `out`.

    Args:
        labels: a path or an `s3://` address.

    Returns:
        The number of images in each split.

    Raises:
        LabelsError: a row without a usable age (nothing is quarantined here), or too few images.
    """
    parsed = parse_labels(fetch_labels(labels), labels)
    log.info("%s read as: %s", labels, parsed.read_as)
    table, (low, high) = parsed.rows, age_bounds()
    unusable = table[~table["real_age"].between(low, high)]
    if len(unusable):
        row = unusable.iloc[0]
        what = "a number" if math.isnan(row.real_age) else f"between {low:g} and {high:g} years"
        raise LabelsError(
            f"{labels} line {row.line}: real_age {row.age_text!r} is not {what} "
            f"({len(unusable)} rows have no usable age); correct or remove them first"
        )
    out.mkdir(parents=True, exist_ok=True)
    return write_splits(split_labels(table[["file_name", "real_age"]], settings), settings, out, {})


@timed("output")
def write_splits(
    splits: Mapping[str, pd.DataFrame], settings: SplitSettings, out: Path, counts: Mapping[str, int]
) -> Summary:
    """Write the tables, the plot and, last, the summary into `out`; `counts` are added to the summary."""
    summary = summarise(splits, settings) | dict(counts)
    for name in SPLITS:
        splits[name].to_csv(out / f"{name}.csv", index=False, quoting=csv.QUOTE_NONNUMERIC)
    figures.save(figures.split_ages(splits["train"], splits["val"], splits["test"]), out / "split_ages.png")
    (out / SUMMARY).write_bytes(to_json(summary))
    return {name: len(splits[name]) for name in SPLITS} | dict(counts)
