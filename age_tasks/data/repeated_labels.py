"""An image that several raters have labelled: one row with one age, and how far the raters differ."""

from dataclasses import dataclass

import pandas as pd

from age_tasks.config import RepeatedLabels

SPREAD, RATERS = "age_spread", "raters"
MODEL_YEARS = 5.0  # typical error of a model: raters who differ by less tell it nothing more


@dataclass(frozen=True)
class SeveralLabels:
    """Images with several labels, for the validation page.

    Args:
        images: how many there are.
        median_spread: the median standard deviation of their ages, in years.
        widest: those with the largest: columns line, file_name, real_age, age_spread, raters.
    """

    images: int
    median_spread: float
    widest: pd.DataFrame


def one_row_an_image(accepted: pd.DataFrame, how: RepeatedLabels, weigh: bool = False) -> pd.DataFrame:
    """One row for each file name, where its first one was.

    Of several rows, `real_age` becomes the median or mean, to 0.01 years, and `weight` the mean; `age_spread` is the
    standard deviation of the ages (years; 0 of one), `raters` their number. Of the other columns the first row counts.

    Args:
        accepted: columns file_name, real_age (years), and others.
        how: `median` or `mean`; with `quarantine` the table stays as it is.
        weigh: add the column `weight`: the inverse of the variance of the age's error, relative to that of one label
            without doubt. The variance is that of the raters' ages divided by their number, plus that of the model.
    """
    if how == "quarantine":
        return accepted
    by_name = accepted.groupby("file_name")
    raters = by_name["real_age"].transform("size")
    found = accepted.assign(
        real_age=accepted["real_age"].where(raters == 1, by_name["real_age"].transform(how).round(2)),
        **{SPREAD: by_name["real_age"].transform("std", ddof=0).round(2), RATERS: raters},
    )
    if "weight" in found:
        found["weight"] = by_name["weight"].transform("mean")
    elif weigh:
        found["weight"] = (1 / (1 + found[SPREAD] ** 2 / found[RATERS] / MODEL_YEARS**2)).round(4)
    return found[~found["file_name"].duplicated()]


def repeated(accepted: pd.DataFrame, most: int) -> SeveralLabels | None:
    """What to say of images with several labels; None if no row was merged.

    Args:
        accepted: as `one_row_an_image` returns it.
        most: rows of `widest`.
    """
    several = accepted[accepted[RATERS] > 1] if RATERS in accepted else accepted.head(0)
    if several.empty:
        return None
    widest = several.sort_values(SPREAD, ascending=False, kind="stable").head(most)
    columns = ["line", "file_name", "real_age", SPREAD, RATERS]
    return SeveralLabels(len(several), float(several[SPREAD].median()), widest[columns])
