"""What a stage reads of earlier stages, as tables."""

import pandas as pd

from age_tasks.data.image_folder import ImageFolder
from age_tasks.data.splits import SPLITS
from age_tasks.runs.run import Workspace


def read_snapshot(run: Workspace) -> pd.DataFrame:
    """The run's `snapshot.csv`; text columns stay text, whatever is in them."""
    text = dict.fromkeys(("file_name", "age_text", "sha256", "dhash", "problem"), "str")
    numbers = {column: [""] for column in ("real_age", "width", "height", "bytes")}
    path = run.input("snapshot", "snapshot.csv")
    snapshot = pd.read_csv(path, dtype=text, keep_default_na=False, na_values=numbers)
    return snapshot.astype({"real_age": "float64"})


def read_splits(run: Workspace) -> dict[str, pd.DataFrame]:
    """The run's `train`, `val` and `test` tables with columns file_name, real_age (years), sha256."""
    files = {name: run.input("split", f"{name}.csv") for name in SPLITS}
    return {name: pd.read_csv(file, dtype={"file_name": "str"}, keep_default_na=False) for name, file in files.items()}


def with_ages(run: Workspace, model: str, split: str, table: pd.DataFrame) -> pd.DataFrame:
    """`table` (file_name, sha256, …) with the ages that a model gave where it was trained, as a column of its name."""
    file = run.input(model, f"{split}_predictions.csv")
    ages = pd.read_csv(file, dtype={"file_name": "str"}, keep_default_na=False)
    return table.merge(ages.rename(columns={"age": model}), validate="one_to_one")


def images_of(run: Workspace) -> ImageFolder:
    """The images that the run works on."""
    return ImageFolder(run.settings().images, run.cache)
