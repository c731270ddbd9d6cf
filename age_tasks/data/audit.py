"""What a person wants to know of labels at a glance."""

import pandas as pd

PERCENTILES = (1, 5, 50, 95, 99)


def audit(labels: pd.DataFrame) -> dict:
    """Count, duplicates and age statistics in years.

    Args:
        labels: `file_name`, `real_age` (rows without a number count as `without_age`), and `sha256` where it is known.

    Returns:
        count, without_age, duplicate_names, duplicate_contents (None without `sha256`), min, max, mean, std (of the
        sample), quartiles, percentiles, histogram by decade (over 10 up to 20, …).
    """
    ages = labels["real_age"].dropna()
    decades = pd.cut(ages, range(0, 130, 10), include_lowest=True).value_counts(sort=False)
    contents = labels["sha256"].dropna() if "sha256" in labels else None
    return {
        "count": len(labels),
        "without_age": int(labels["real_age"].isna().sum()),
        "duplicate_names": int(labels["file_name"].duplicated().sum()),
        "duplicate_contents": None if contents is None else int(contents.duplicated().sum()),
        "min": _rounded(ages.min()),
        "max": _rounded(ages.max()),
        "mean": _rounded(ages.mean()),
        "std": _rounded(ages.std()),
        "quartiles": [_rounded(value) for value in ages.quantile([0.25, 0.5, 0.75])],
        "percentiles": {str(p): _rounded(ages.quantile(p / 100)) for p in PERCENTILES},
        "histogram": {f"{max(span.left, 0):g}-{span.right:g}": int(count) for span, count in decades.items() if count},
    }


def _rounded(value: float) -> float | None:
    return None if pd.isna(value) else round(float(value), 4)
