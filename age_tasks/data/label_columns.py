"""Further columns of a labels file: who is in an image, and which split a benchmark fixes."""

import pandas as pd

from age_tasks.config import DataSettings, did_you_mean
from age_tasks.data.tables import Table
from age_tasks.errors import LabelsError

PERSON, FIXED_SPLIT = "person", "fixed_split"  # the columns of `snapshot.csv` and of later tables
FURTHER = (PERSON, FIXED_SPLIT)
# What benchmarks call the splits, in lower case.
_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def further_columns(table: Table, settings: DataSettings, name: str) -> pd.DataFrame:
    """The columns that the settings name, one row for each of the table.

    Args:
        name: the file's name in errors.

    Returns:
        `person` (text; empty where it is not known) and `fixed_split` (train, val or test), each if it is asked for.

    Raises:
        LabelsError: there is no such column, or a row has another split.
    """
    found = {}
    if settings.person_column:
        found[PERSON] = _column(table, settings.person_column, "data.person_column", name)
    if settings.split_column:
        texts = _column(table, settings.split_column, "data.split_column", name)
        found[FIXED_SPLIT] = [_SPLITS.get(text.lower(), "") for text in texts]
        wrong = next((at for at, split in enumerate(found[FIXED_SPLIT]) if not split), None)
        if wrong is not None:
            raise LabelsError(
                f"{name} line {table.lines[wrong]}: {texts[wrong]!r} in the column {settings.split_column} is no "
                "split; write train, val or test, or use no fixed split (--set data.split_column=)"
            )
    return pd.DataFrame(found, index=range(len(table.rows)))


def further_columns_of(table: pd.DataFrame) -> list[str]:
    """The names of the further columns that a table has."""
    return [column for column in FURTHER if column in table]


def _column(table: Table, column: str, setting: str, name: str) -> list[str]:
    """The cells of a column, without blanks around them.

    Raises:
        LabelsError: there is none of this name, or several.
    """
    wanted = column.strip()
    if (count := table.header.count(wanted)) != 1:
        has = f"{count} columns" if count else "no column"
        near, known = did_you_mean(wanted, table.header), ", ".join(table.header)
        raise LabelsError(f"{name} has {has} {wanted!r} ({setting}). Its columns: {known}.{near}")
    return [text.strip() for text in table.column(wanted)]
