"""The label validation page: the verdict, quarantined rows with reasons, expectations, and the accepted labels."""

import base64
import io
from typing import Any

import pandas as pd
from PIL import Image

from age_tasks.config import ValidateSettings
from age_tasks.data.decoding import load_rgb
from age_tasks.data.expectations import Finding
from age_tasks.data.image_folder import ImageFolder
from age_tasks.data.validation import AgeShift, Verdict
from age_tasks.errors import LabelsError
from age_tasks.registry.labels_acceptance import LabelsAcceptance
from age_tasks.reports.html import png_uri, render
from age_tasks.runs.run import Workspace

SHOWN_ROWS = 200
SHOWN_PAIRS = 60
THUMBNAIL = 64  # pixels, square


def validation_page(
    run: Workspace,
    verdict: Verdict,
    table: pd.DataFrame,
    quarantine: pd.DataFrame,
    findings: list[Finding],
    facts: dict[str, float | None],
    audit: dict[str, Any],
    near: pd.DataFrame,
    settings: ValidateSettings,
    folder: ImageFolder,
    read_as: str = "",
    shift: AgeShift | None = None,
    acceptance: LabelsAcceptance | None = None,
) -> str:
    """The HTML of `validate/index.html`, with its images embedded.

    Args:
        table: all rows of the labels: columns line, file_name, problem.
        quarantine: the quarantined rows: columns line, file_name, age_text, fault, reason.
        facts: values of the suite `distribution`, by column.
        audit: of the accepted rows; see `age_tasks.data.audit.audit`.
        near: pairs of near duplicates: columns first_file_name, first_real_age, second_file_name, second_real_age.
        settings: the bounds that the labels must keep.
        read_as: encoding, separator and decimal sign of the labels file, in words; empty if it is not known.
        shift: of the ages from those accepted last; None for the first labels.
        acceptance: by a person, of ages that would have been refused otherwise.
    """
    readable = set(table.loc[table["problem"] == "", "line"])
    rows = [
        {**row, "thumbnail": _thumbnail(row["file_name"], folder) if row["line"] in readable else None}
        for row in quarantine.head(SHOWN_ROWS).to_dict("records")
    ]
    pairs = [
        {**pair, **{side: _thumbnail(pair[f"{side}_file_name"], folder) for side in ("first", "second")}}
        for pair in near.head(SHOWN_PAIRS).to_dict("records")
    ]
    histogram = run.output_dir / "audit" / "ages.png"
    return render(
        "validation.html.j2",
        run_key=run.key,
        labels=run.settings().labels,
        read_as=read_as,
        verdict=verdict,
        total=len(table),
        accepted=len(table) - len(quarantine),
        quarantined=len(quarantine),
        bound=settings.max_quarantine_fraction,
        shift=shift,
        max_shift=settings.max_age_shift,
        acceptance=acceptance,
        rows=rows,
        faults=quarantine["fault"].value_counts().to_dict(),
        findings=[
            {**vars(finding), "expected": _expected(finding), "found": _found(finding, facts)} for finding in findings
        ],
        audit=audit,
        pairs=pairs,
        pair_count=len(near),
        ages=png_uri(histogram) if histogram.exists() else None,
        faces=png_uri(run.output_dir / "audit" / "faces.png"),
    )


def _expected(finding: Finding) -> str:
    """The bounds of an expectation in words; empty if it has none."""
    low, high = finding.arguments.get("min_value"), finding.arguments.get("max_value")
    if low is None and high is None:
        return ""
    if low == high:
        return f"{low:g}"
    return f"{low:g} or more" if high is None else f"{low:g} to {high:g}"


def _found(finding: Finding, facts: dict[str, float | None]) -> str:
    """The observed value of an expectation in words."""
    if finding.column in facts:
        value = facts[finding.column]
        return "no previous labels" if value is None else f"{value:.4g}"
    if "fault" in finding.meta:
        count = len(finding.failing_rows)
        return f"{count} row{'s' if count > 1 else ''} failed" if count else "all rows passed"
    return finding.observed


def _thumbnail(name: str, folder: ImageFolder) -> str | None:
    """An image as a data URI; None if it can't be read."""
    try:
        pixels = load_rgb(folder.path(name), THUMBNAIL)
    except (LabelsError, OSError):
        return None
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
