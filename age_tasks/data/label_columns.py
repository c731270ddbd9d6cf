"""Further columns of a labels file: who is in an image, which split a benchmark fixes, and by what to measure apart."""

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from age_tasks.config import IMAGE_SLICES, SLICE, DataSettings, SliceColumn, did_you_mean, parse_slice
from age_tasks.data.repeated_labels import SPREAD
from age_tasks.data.tables import Table
from age_tasks.errors import LabelsError

PERSON, FIXED_SPLIT, WEIGHT = "person", "fixed_split", "weight"  # the columns of `snapshot.csv` and of later tables
MOST_VALUES = 50  # of a column of texts that slices the test images
# What benchmarks call the splits, in lower case.
_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def further_columns(table: Table, settings: DataSettings, slices: Sequence[str], name: str) -> pd.DataFrame:
    """The columns that the settings name, one row for each of the table.

    Args:
        slices: the setting `evaluate.slices`.
        name: the file's name in errors.

    Returns:
        `person` (text; empty where it is not known), `fixed_split` (train, val or test), `weight` (a number above 0;
        1 where it is empty), and `slice:<column>` (text), each if it is asked for.

    Raises:
        LabelsError: there is no such column, a row has another split, or a column has too many values to slice by.
    """
    found: dict[str, Sequence[str | float]] = {}
    if settings.weight_column and not weigh_by_spread(settings, table.header):
        found[WEIGHT] = _weights(table, settings.weight_column, name)
    if settings.person_column:
        found[PERSON] = _column(table, settings.person_column, "data.person_column", name)
    if settings.split_column:
        texts = _column(table, settings.split_column, "data.split_column", name)
        found[FIXED_SPLIT] = splits = [_SPLITS.get(text.lower(), "") for text in texts]
        wrong = next((at for at, split in enumerate(splits) if not split), None)
        if wrong is not None:
            raise LabelsError(
                f"{name} line {table.lines[wrong]}: {texts[wrong]!r} in the column {settings.split_column} is no "
                "split; write train, val or test, or use no fixed split (--set data.split_column=)"
            )
    for column in dict.fromkeys(column for each in slices for column in parse_slice(each)):
        if column.name not in IMAGE_SLICES:
            found[column.key] = _sliced(table, column, name)
    return pd.DataFrame(found, index=range(len(table.rows)))


def weigh_by_spread(settings: DataSettings, header: Sequence[str]) -> bool:
    """Whether images count by how far their raters agree: the setting names that spread and no column."""
    return settings.weight_column == SPREAD and settings.repeated_labels != "quarantine" and SPREAD not in header


def further_columns_of(columns: Iterable[str]) -> list[str]:
    """Those among the columns of a table that are further columns."""
    return [column for column in columns if column in {PERSON, FIXED_SPLIT, WEIGHT} or column.startswith(SLICE)]


def as_text(file: Path, *columns: str) -> dict[str, str]:
    """The types with which pandas leaves these columns of a CSV file, and its further ones, as they are written."""
    with file.open(newline="") as lines:
        header = next(csv.reader(lines), [])
    return dict.fromkeys([*columns, *further_columns_of(header)], "str") | {WEIGHT: "float64"}


def _weights(table: Table, column: str, name: str) -> list[float]:
    """The numbers of a column; 1 where a cell is empty.

    Raises:
        LabelsError: there is no such column, or a cell is no number above 0.
    """
    texts = _column(table, column, "data.weight_column", name)
    weights = pd.to_numeric(pd.Series([text or "1" for text in texts], dtype="object"), errors="coerce")
    usable = (weights > 0) & (weights < math.inf)
    if not usable.all():
        wrong = int((~usable).to_numpy().argmax())
        raise LabelsError(
            f"{name} line {table.lines[wrong]}: {texts[wrong]!r} in the column {column} is no weight; write a number "
            "above 0, or use no weights (--set data.weight_column=)"
        )
    return [float(weight) for weight in weights]


def _sliced(table: Table, column: SliceColumn, name: str) -> list[str]:
    """The cells of a column to slice by.

    Raises:
        LabelsError: there is no such column, or it has too many values.
    """
    texts = _column(table, column.name, "evaluate.slices", name)
    numbers = pd.to_numeric(pd.Series([text for text in texts if text], dtype="object"), errors="coerce")
    if column.edges and numbers.isna().any():
        wrong = next(at for at, text in enumerate(texts) if text and pd.isna(pd.to_numeric(text, errors="coerce")))
        raise LabelsError(
            f"{name} line {table.lines[wrong]}: {texts[wrong]!r} in the column {column.name} is no number; "
            "evaluate.slices gives edges for it: correct the row, or leave out the edges"
        )
    if numbers.isna().any() and (values := len(set(texts))) > MOST_VALUES:
        raise LabelsError(
            f"{name}: the column {column.name} has {values} values, too many to measure each apart "
            f"(evaluate.slices); name a column of numbers, or of at most {MOST_VALUES} values"
        )
    return texts


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
