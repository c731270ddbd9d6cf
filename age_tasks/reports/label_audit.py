"""The audit of a labels file, written as files."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from age_tasks.data.audit import audit
from age_tasks.data.labels import read_labels
from age_tasks.data.labels_file import fetch_labels
from age_tasks.reports import figures


def write_audit(labels: pd.DataFrame, out: Path) -> dict[str, Any]:
    """Write `audit.json` and `ages.png` into `out`; returns the audit."""
    out.mkdir(parents=True, exist_ok=True)
    found = audit(labels)
    (out / "audit.json").write_text(json.dumps(found, indent=2) + "\n")
    if labels["real_age"].notna().any():
        ages = figures.age_histogram(labels["real_age"].dropna(), title=f"{found['count']:,} labels by age")
        figures.save(ages, out / "ages.png")
    return found


def audit_file(labels: str, out: Path) -> dict[str, Any]:
    """Audit a labels file, given as a path or an `s3://` address, without its images."""
    return write_audit(read_labels(fetch_labels(labels), labels), out)
