"""What a stage reads of earlier stages, as tables."""

import pandas as pd

from age_tasks.runs.run import Run


def read_snapshot(run: Run) -> pd.DataFrame:
    """The run's `snapshot.csv`; text columns stay text, whatever is in them."""
    text = dict.fromkeys(("file_name", "age_text", "sha256", "dhash", "problem"), "str")
    numbers = {column: [""] for column in ("real_age", "width", "height", "bytes")}
    path = run.input("snapshot", "snapshot.csv")
    snapshot = pd.read_csv(path, dtype=text, keep_default_na=False, na_values=numbers)
    return snapshot.astype({"real_age": "float64"})
