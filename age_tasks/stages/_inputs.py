"""What a stage reads beside its settings: outputs of earlier stages as tables, and published versions."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from age_tasks.data.image_folder import ImageFolder
from age_tasks.data.label_columns import as_text
from age_tasks.data.splits import SPLITS
from age_tasks.registry.promotions import Manifest, Promotion, fetch_version
from age_tasks.runs.run import Workspace
from age_tasks.stopwatch import timed

_STATE_OF_PROBLEM = {"": "ok", "no such file in the images folder": "missing"}


@timed("input")
def read_snapshot(run: Workspace) -> pd.DataFrame:
    """The run's `snapshot.csv`; text columns are read as text, whatever they contain.

    Returns:
        Columns line, file_name, real_age (years; NaN if not a number), age_text, state (see `ImageState`), sha256,
        width and height (pixels; NaN if unknown), bytes, problem, dhash, and further columns if it has them. Snapshots
        of version 0.1 have not brightness, sharpness, colour (see `ImageQuality`; NaN and empty if unknown).
    """
    path = run.input("snapshot", "snapshot.csv")
    text = as_text(path, "file_name", "age_text", "state", "sha256", "dhash", "problem", "colour")
    numbers = {column: [""] for column in ("real_age", "width", "height", "bytes", "brightness", "sharpness")}
    snapshot = pd.read_csv(path, dtype=text, keep_default_na=False, na_values=numbers)
    if "state" not in snapshot:  # written by version 0.1, which told a missing file by its problem
        snapshot["state"] = snapshot["problem"].map(_STATE_OF_PROBLEM).fillna("unreadable")
    return snapshot.astype({"real_age": "float64"})


@timed("input")
def read_accepted(run: Workspace) -> pd.DataFrame:
    """The run's `accepted.csv`."""
    return pd.read_csv(run.input("validate", "accepted.csv"), dtype={"file_name": "str"}, keep_default_na=False)


@timed("input")
def read_splits(run: Workspace) -> dict[str, pd.DataFrame]:
    """The run's `train`, `val` and `test` tables: columns file_name, real_age (years), sha256, and further ones."""
    files = {name: run.input("split", f"{name}.csv") for name in SPLITS}
    return {
        name: pd.read_csv(file, dtype=as_text(file, "file_name"), keep_default_na=False) for name, file in files.items()
    }


def fetched_version(entry: Promotion, run: Workspace) -> tuple[Path, Manifest]:
    """A local folder with the files of a published version, and its manifest.

    Raises:
        NotFoundError, DamagedError: as `fetch_version`.
    """
    folder = run.scratch / "versions" / entry.version
    return folder, fetch_version(run.store, entry.version, folder)


def scored_by_champion(splits: Mapping[str, pd.DataFrame], trained_on: pd.DataFrame) -> pd.DataFrame:
    """The images that `evaluate` scores the champion on: the test images, and those of all splits that are new to it.

    Args:
        splits: as `read_splits` returns them.
        trained_on: the champion's images, of all its splits: column sha256.

    Returns:
        Their rows, with the further columns in_split (`train`, `val` or `test`) and new_to_champion.
    """
    images = pd.concat([table.assign(in_split=name) for name, table in splits.items()], ignore_index=True)
    images["new_to_champion"] = ~images["sha256"].isin(trained_on["sha256"])
    return images[images["new_to_champion"] | (images["in_split"] == "test")]


@timed("input")
def with_ages(run: Workspace, model: str, split: str, table: pd.DataFrame) -> pd.DataFrame:
    """`table` with a column named `model`: the ages that the model predicted in the stage that trained it, in years.

    Args:
        model: `baseline` or `finetune`.
        split: `val` or `test`.
        table: columns file_name, sha256 and others.

    Raises:
        MergeError: a row of the table occurs twice.
    """
    file = run.input(model, f"{split}_predictions.csv")
    ages = pd.read_csv(file, dtype={"file_name": "str"}, keep_default_na=False)
    return table.merge(ages.rename(columns={"age": model}), validate="one_to_one")


def names_in_folder(rows: pd.DataFrame, folder: ImageFolder) -> "pd.Series[str]":
    """The file name of each row as the images folder writes it.

    Args:
        rows: of the labels: column file_name.
    """
    names = rows["file_name"]
    return names.map(folder.real_names(names.unique()))


def images_of(run: Workspace) -> ImageFolder:
    """The images that the run works on."""
    return ImageFolder(run.settings().images, run.cache)
