"""Predictions as text, JSON and CSV."""

import json

import pandas as pd

from age_tasks.errors import one_line
from age_tasks.reports.safe_csv import as_csv
from age_tasks.store.base import Store

EXPECTED = "Expected: one face per image, cropped like the training images; another margin shifts ages by years."


def as_text(name: str, table: pd.DataFrame) -> str:
    """The result for a terminal."""
    lines = []
    for row in table.to_dict("records"):
        file = one_line(row["file"])
        if row["problem"]:
            lines.append(f"{file}: {row['problem']}")
            continue
        warning = f"   ({row['warning']})" if row["warning"] else ""
        interval = f"90 % interval {row['low']:.0f} to {row['high']:.0f}"
        lines.append(f"{file}: {row['age']:.1f} years, {interval}{warning}")
    return "\n".join([*lines, f"Model {name}. {EXPECTED}"])


def as_json(name: str, table: pd.DataFrame) -> str:
    """The result for programs: one JSON object; the age of an image with a problem is null."""
    rows = json.loads(_in_utf_8(table).to_json(orient="records"))
    return json.dumps({"version": name, "images": rows}, ensure_ascii=False)


def write_table(table: pd.DataFrame, store: Store, key: str) -> None:
    """Write the result as a CSV file, atomically.

    Args:
        store, key: where to; see `output_file`.

    Raises:
        StoreError: it can't be written.
    """
    store.put(key, as_csv(_in_utf_8(table)).encode())


def _in_utf_8(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the bytes of file names escaped that are not UTF-8 on the disk."""
    return table.assign(file=[name.encode("utf-8", "backslashreplace").decode() for name in table["file"]])
