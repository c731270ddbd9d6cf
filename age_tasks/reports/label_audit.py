"""The audit of a labels file, written as files."""

import json
import logging
from pathlib import Path
from typing import Any

import pandas as pd

from age_tasks.data.audit import audit
from age_tasks.data.expectations import age_bounds
from age_tasks.data.labels import parse_labels
from age_tasks.data.labels_file import fetch_labels
from age_tasks.reports import figures

log = logging.getLogger(__name__)


def write_audit(labels: pd.DataFrame, out: Path) -> dict[str, Any]:
    """Write `audit.json` and `ages.png` into `out`; returns the audit."""
    out.mkdir(parents=True, exist_ok=True)
    found = audit(labels)
    (out / "audit.json").write_text(json.dumps(found, indent=2) + "\n")
    if (usable := labels["real_age"].between(*age_bounds())).any():
        ages = figures.age_histogram(labels.loc[usable, "real_age"], title=f"{found['count']:,} labels by age")
        figures.save(ages, out / "ages.png")
    return found


def audit_file(labels: str, out: Path) -> dict[str, Any]:
    """Audit a labels file, given as a path or an `s3://` address, without its images."""
    parsed = parse_labels(fetch_labels(labels), labels)
    log.info("%s read as: %s", labels, parsed.read_as)
    low, high = age_bounds()
    unusable = parsed.rows[~parsed.rows["real_age"].between(low, high)]
    if len(unusable):
        row = unusable.iloc[0]
        log.warning(
            "%d rows have no age from %g to %g years and are left out of the statistics, such as line %d: %r",
            *(len(unusable), low, high, row.line, row.age_text),
        )
    return write_audit(parsed.rows, out)
