"""Which faces are shown on a sheet."""

import pandas as pd

SHEET_FACES = 32


def on_the_sheet(accepted: pd.DataFrame) -> pd.DataFrame:
    """The rows whose faces are shown, evenly from young to old."""
    by_age = accepted.sort_values(["real_age", "sha256"])
    step = max(len(by_age) / SHEET_FACES, 1)
    return by_age.iloc[[int(step * number) for number in range(min(SHEET_FACES, len(by_age)))]]


WORST_FACES = 24


def largest_errors(predictions: pd.DataFrame) -> pd.DataFrame:
    """The rows that the fine-tuned model is farthest off on, the worst first."""
    errors = (predictions["finetune"] - predictions["real_age"]).abs()
    return predictions.loc[errors.sort_values(ascending=False, kind="stable").index[:WORST_FACES]]
