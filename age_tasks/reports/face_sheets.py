"""Which rows of a table have their faces on its sheet; `forget` finds the faces of a sheet by the same functions."""

from collections.abc import Callable

import pandas as pd

SAMPLE_FACES, SAMPLE_BAND = 32, 3  # faces, and years of each band; the last is open
LARGEST_ERRORS = 24
LABEL_ISSUES = 24
SEGMENT_FACES = 8  # of each weak segment
WEAK_SEGMENT = "weak_segment"  # column of predictions: the number of the segment that an image is in, from 1 on, or 0
CHANGED_FACES = 8  # that got worse, and as many that got better, side by side
CHANGED_ON_A_SHEET = 16


def sample_faces(accepted: pd.DataFrame) -> pd.DataFrame:
    """A row for each band of ages, from young to old.

    The choice is by sha256 within fixed bands: it stays the same when other rows are erased, so that a face that is on
    a sheet is found there later.

    Args:
        accepted: columns real_age (years) and sha256, among others.
    """
    band = (accepted["real_age"] // SAMPLE_BAND).clip(0, SAMPLE_FACES - 1)
    chosen = accepted.assign(band=band).sort_values(["band", "sha256"]).drop_duplicates("band")
    return chosen.drop(columns="band").sort_values(["real_age", "sha256"])


def _sample_faces_of_any_version(accepted: pd.DataFrame) -> pd.DataFrame:
    """The sample, and the one that version 0.1.0 drew: rows at equal steps from young to old."""
    by_age = accepted.sort_values(["real_age", "sha256"])
    step = max(len(by_age) / SAMPLE_FACES, 1)
    former = by_age.iloc[[int(step * number) for number in range(min(SAMPLE_FACES, len(by_age)))]]
    return accepted.loc[sample_faces(accepted).index.union(former.index)]


def largest_errors(predictions: pd.DataFrame) -> pd.DataFrame:
    """The rows with the fine-tuned model's largest absolute errors, largest first.

    Args:
        predictions: columns real_age and finetune (years), among others.
    """
    errors = (predictions["finetune"] - predictions["real_age"]).abs()
    return predictions.loc[errors.sort_values(ascending=False, kind="stable").index[:LARGEST_ERRORS]]


def changed_most(predictions: pd.DataFrame) -> pd.DataFrame:
    """The images whose absolute error grew most from the champion to the candidate, then those where it shrank most.

    Args:
        predictions: columns real_age, finetune and champion (years), among others.
    """
    worse, better = got_worse(predictions), got_better(predictions)
    return predictions.loc[[*worse.index[:CHANGED_FACES], *better.index[:CHANGED_FACES]]]


def got_worse(predictions: pd.DataFrame) -> pd.DataFrame:
    """The images whose absolute error grew most from the champion to the candidate; see `changed_most`."""
    change = _growth_of_errors(predictions).sort_values(ascending=False, kind="stable")
    return predictions.loc[change[change > 0].index[:CHANGED_ON_A_SHEET]]


def got_better(predictions: pd.DataFrame) -> pd.DataFrame:
    """The images whose absolute error shrank most from the champion to the candidate; see `changed_most`."""
    change = _growth_of_errors(predictions).sort_values(kind="stable")
    return predictions.loc[change[change < 0].index[:CHANGED_ON_A_SHEET]]


def in_weak_segments(predictions: pd.DataFrame) -> pd.DataFrame:
    """Images of each weak segment; none where no segment was found.

    They are the first by sha256: a random choice that stays as it is when others are erased.

    Args:
        predictions: columns sha256 and, where there are weak segments, weak_segment, among others.
    """
    if WEAK_SEGMENT not in predictions:
        return predictions.head(0)
    numbers = pd.to_numeric(predictions[WEAK_SEGMENT])
    weak = predictions.assign(**{WEAK_SEGMENT: numbers})[numbers > 0].sort_values([WEAK_SEGMENT, "sha256"])
    return weak.groupby(WEAK_SEGMENT).head(SEGMENT_FACES)


def first_label_issues(issues: pd.DataFrame) -> pd.DataFrame:
    """The first rows of `labels_to_look_at.csv`, which is sorted."""
    return issues.head(LABEL_ISSUES)


def _growth_of_errors(predictions: pd.DataFrame) -> pd.Series:
    after, before = ((predictions[name] - predictions["real_age"]).abs() for name in ("finetune", "champion"))
    return after - before


# A sheet of faces → the table that it is drawn from, and the rows of the table whose faces it shows.
SHEETS: dict[str, tuple[str, Callable[[pd.DataFrame], pd.DataFrame]]] = {
    "validate/audit/faces.png": ("validate/accepted.csv", _sample_faces_of_any_version),
    "evaluate/worst_errors.png": ("evaluate/predictions.csv", largest_errors),
    "evaluate/weak_segments.png": ("evaluate/predictions.csv", in_weak_segments),
    "evaluate/got_worse.png": ("evaluate/predictions.csv", got_worse),
    "evaluate/got_better.png": ("evaluate/predictions.csv", got_better),
    "evaluate/changed_faces.png": ("evaluate/predictions.csv", changed_most),  # of earlier versions
    "evaluate/labels_to_look_at.png": ("evaluate/labels_to_look_at.csv", first_label_issues),
}
