"""Predictions as text, JSON and CSV."""

import json

import pandas as pd

from age_tasks.reports.safe_csv import as_csv
from age_tasks.store import open_store

EXPECTED = (
    "Expected: one face a picture, cropped as in the training pictures; another margin makes ages wrong by years."
)


def as_text(name: str, table: pd.DataFrame) -> str:
    """The result for a terminal."""
    lines = []
    for row in table.itertuples():
        if row.problem:
            lines.append(f"{row.file}: {row.problem}")
            continue
        warning = f"   ({row.warning})" if row.warning else ""
        lines.append(
            f"{row.file}: {row.age:.1f} years, 90 % of such lie within {row.low:.0f} to {row.high:.0f}{warning}"
        )
    return "\n".join([*lines, f"Model {name}. {EXPECTED}"])


def as_json(name: str, table: pd.DataFrame) -> str:
    """The result for programs: one object; ages that could not be had are null."""
    rows = json.loads(table.to_json(orient="records"))
    return json.dumps({"version": name, "pictures": rows}, ensure_ascii=False)


def write_table(table: pd.DataFrame, out: str) -> None:
    """Write the result as a CSV file that appears whole, at a path or an s3:// address.

    Raises:
        SettingsError: no address of a file.
        StoreError: it can't be written.
    """
    folder, slash, name = out.rpartition("/")
    open_store(folder or slash or ".").put(name, as_csv(table).encode())
