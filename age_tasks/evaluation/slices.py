"""Errors by slices of the test images: by a column of the labels, by two, or by what is measured of images."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from age_tasks.config import IMAGE_SLICES, SLICE, SliceColumn, parse_slice
from age_tasks.evaluation.bootstrap import intervals, intervals_with_lower_bounds, people_in, people_of
from age_tasks.evaluation.enough import too_few
from age_tasks.evaluation.metrics import estimate
from age_tasks.evaluation.results import SliceDifference, SliceMetrics

NOT_GIVEN = "(not given)"
MANY_NUMBERS = 10  # a column of more different numbers is cut at its quartiles
FEWEST_DIGITS, ALL_DIGITS = 6, 17  # significant ones; so many tell any two floats apart


def slice_labels(table: pd.DataFrame, slices: Sequence[str]) -> pd.DataFrame:
    """The slice of each row, a column for each of `slices` in their order.

    Args:
        table: a column `slice:<name>` for each column that is needed, as text.
        slices: as the setting `evaluate.slices`.
    """
    found = {}
    for each in slices:
        first, *second = (_values(table[column.key], column) for column in parse_slice(each))
        found[each] = first + ", " + second[0] if second else first
    return pd.DataFrame(found, table.index)


def image_slice_labels(table: pd.DataFrame, slices: Sequence[str]) -> pd.DataFrame:
    """The slice of each row by each of `IMAGE_SLICES` that tells images apart, and is not among `slices` anyway.

    Args:
        table, slices: as for `slice_labels`; the table has the columns that are known.
    """
    others = [name for name in IMAGE_SLICES if name not in slices and SLICE + name in table]
    found = slice_labels(table, others)
    return found.loc[:, found.nunique() > 1]


def measure_slices(
    predictions: pd.DataFrame, labels: pd.DataFrame, samples: int, seed: int
) -> tuple[SliceMetrics, ...]:
    """MAE and bias of the fine-tuned model in each slice, with 95 % intervals, each for itself.

    Args:
        predictions: columns real_age, finetune (years); person if it is known.
        labels: as `slice_labels` returns it.
        samples: resamples behind each interval.
    """
    named = list(_masks(labels))
    if not named:
        return ()
    error = (predictions["finetune"] - predictions["real_age"]).to_numpy("float64")
    masks, people = [mask for _, _, mask in named], people_of(predictions)
    _, found = intervals(np.column_stack([np.abs(error), error]), masks, samples, seed, people)
    return tuple(
        SliceMetrics(
            column=column,
            value=value,
            images=int(mask.sum()),
            people=people_in(mask, people),
            mae=estimate(each[:, 0]),
            bias=estimate(each[:, 1]),
        )
        for (column, value, mask), each in zip(named, found, strict=True)
    )


def compare_slices(
    predictions: pd.DataFrame, labels: pd.DataFrame, samples: int, seed: int
) -> tuple[SliceDifference, ...]:
    """MAE of the candidate less that of the champion in each slice that is large enough to judge by.

    Args:
        predictions: columns real_age, finetune (the candidate), champion (years); person if it is known.
        labels: of these rows, as `slice_labels` returns it.
        samples: resamples behind each bound.
    """
    people = people_of(predictions)
    named = [each for each in _masks(labels) if not too_few(int(each[-1].sum()), people_in(each[-1], people))]
    if not named:
        return ()
    errors = {name: np.abs(predictions[name] - predictions["real_age"]) for name in ("finetune", "champion")}
    loss = np.asarray(errors["finetune"] - errors["champion"], "float64")
    masks = [mask for _, _, mask in named]
    each_alone, together = intervals_with_lower_bounds(loss, masks, samples, seed, people)
    return tuple(
        SliceDifference(
            **dict(estimate(found)),
            column=column,
            slice_value=value,
            images=int(mask.sum()),
            people=people_in(mask, people),
            lower_bound=round(float(bound), 4),
        )
        for (column, value, mask), found, bound in zip(named, each_alone, together, strict=True)
    )


def in_digits(numbers: Sequence[float]) -> list[str]:
    """Each number in as many digits as tell all different ones apart, at least six; a large one without exponent.

    Args:
        numbers: finite.
    """
    for digits in range(FEWEST_DIGITS, ALL_DIGITS):
        texts = [_in_digits(number, digits) for number in numbers]
        if len(set(texts)) == len(set(numbers)):
            return texts
    return [_in_digits(number, ALL_DIGITS) for number in numbers]


def _in_digits(number: float, digits: int) -> str:
    text = f"{number:.{digits}g}"
    return f"{number:.0f}" if "e+" in text and abs(number) < 1e21 else text


def _masks(labels: pd.DataFrame) -> Iterator[tuple[str, str, np.ndarray]]:
    """Each slice: its column or columns, its value, and which rows are in it."""
    for column in labels:
        for value in sorted(labels[column].unique(), key=_in_order):
            yield str(column), str(value), (labels[column] == value).to_numpy()


def _in_order(value: str) -> tuple[bool, float, str]:
    """Numbers and ranges by their first number, then texts, then what is not given."""
    number = pd.to_numeric(value.split(" to ")[0], errors="coerce")
    return (value == NOT_GIVEN, float("inf") if pd.isna(number) else float(number), value)


def _values(texts: pd.Series, column: SliceColumn) -> pd.Series:
    """The slice of each row in one column."""
    given = texts.str.strip() != ""
    numbers = pd.to_numeric(texts.where(given), errors="coerce").replace([np.inf, -np.inf], np.nan)
    if column.edges:
        return _binned(numbers, column.edges)
    if numbers[given].notna().all() and numbers.nunique() > MANY_NUMBERS:
        return _binned(numbers, np.unique(numbers.quantile([0, 0.25, 0.5, 0.75, 1])))
    return texts.str.strip().where(given, NOT_GIVEN)


def _binned(numbers: pd.Series, edges: Sequence[float] | np.ndarray) -> pd.Series:
    """The bin of each number, `low to high`; each bin includes its upper edge, the first its lower too."""
    names = [f"{low} to {high}" for low, high in pairwise(in_digits([float(edge) for edge in edges]))]
    binned = pd.cut(numbers, list(edges), labels=names, include_lowest=True)
    return binned.astype("object").where(binned.notna(), NOT_GIVEN)
