"""A numeric summary of labels: counts, duplicates and age statistics."""

import math
from typing import Any, SupportsFloat

import pandas as pd

from age_tasks.data.expectations import age_bounds

PERCENTILES = (1, 5, 50, 95, 99)


def audit(labels: pd.DataFrame) -> dict[str, Any]:
    """Count, duplicates and age statistics in years.

    Args:
        labels: `file_name`, `real_age` (NaN counts as `without_age`; what no person can be counts as `out_of_range`;
            neither is in the statistics), and `sha256` if it is known.

    Returns:
        count, without_age, out_of_range, duplicate_names, duplicate_contents (None without `sha256`), min, max, mean,
        std (of the sample), quartiles, percentiles, histogram by decade (over 10 up to 20, …).
    """
    ages = labels["real_age"].dropna()
    ages, known = ages[ages.between(*age_bounds())], len(ages)
    decades = pd.cut(ages, range(0, 130, 10), labels=False, include_lowest=True).value_counts().sort_index()
    contents = labels["sha256"].dropna() if "sha256" in labels else None
    return {
        "count": len(labels),
        "without_age": int(labels["real_age"].isna().sum()),
        "out_of_range": known - len(ages),
        "duplicate_names": int(labels["file_name"].duplicated().sum()),
        "duplicate_contents": None if contents is None else int(contents.duplicated().sum()),
        "min": _rounded(ages.min()),
        "max": _rounded(ages.max()),
        "mean": _rounded(ages.mean()),
        "std": _rounded(ages.std()),
        "quartiles": [_rounded(value) for value in ages.quantile([0.25, 0.5, 0.75])],
        "percentiles": {str(p): _rounded(ages.quantile(p / 100)) for p in PERCENTILES},
        "histogram": {f"{10 * int(at)}-{10 * int(at) + 10}": int(decades[at]) for at in decades.index},
    }


def _rounded(value: SupportsFloat) -> float | None:
    number = float(value)
    return None if math.isnan(number) else round(number, 4)
