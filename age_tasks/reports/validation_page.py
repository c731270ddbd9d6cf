"""The page that tells a person what is wrong with the labels, verdict first."""

import base64
import io
from typing import Any

import pandas as pd
from PIL import Image

from age_tasks.data.decoding import load_rgb
from age_tasks.data.expectations import Finding
from age_tasks.data.image_folder import ImageFolder
from age_tasks.errors import LabelsError
from age_tasks.reports.html import png_uri, render
from age_tasks.runs.run import Workspace

SHOWN_ROWS = 200
SHOWN_PAIRS = 60
THUMBNAIL = 64


def validation_page(
    run: Workspace,
    verdict: Any,
    table: pd.DataFrame,
    quarantine: pd.DataFrame,
    findings: list[Finding],
    facts: dict,
    audit: dict,
    near: pd.DataFrame,
    bound: float,
    folder: ImageFolder,
) -> str:
    """The HTML of `validate/index.html`; its pictures are inside."""
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
        verdict=verdict,
        total=len(table),
        accepted=len(table) - len(quarantine),
        quarantined=len(quarantine),
        bound=bound,
        rows=rows,
        faults=quarantine["fault"].value_counts().to_dict(),
        findings=[{**vars(finding), "asked": _asked(finding), "found": _found(finding, facts)} for finding in findings],
        audit=audit,
        pairs=pairs,
        pair_count=len(near),
        ages=png_uri(histogram) if histogram.exists() else None,
        faces=png_uri(run.output_dir / "audit" / "faces.png"),
    )


def _asked(finding: Finding) -> str:
    low, high = finding.arguments.get("min_value"), finding.arguments.get("max_value")
    if low is None and high is None:
        return ""
    if low == high:
        return f"{low:g}"
    return f"{low:g} or more" if high is None else f"{low:g} to {high:g}"


def _found(finding: Finding, facts: dict) -> str:
    if finding.column in facts:
        value = facts[finding.column]
        return "nothing to compare with" if value is None else f"{value:.4g}"
    if "fault" in finding.meta:
        count = len(finding.failing_rows)
        return f"{count} row{'s' if count > 1 else ''} broken" if count else "all rows hold"
    return finding.observed


def _thumbnail(name: str, folder: ImageFolder) -> str | None:
    try:
        pixels = load_rgb(folder.path(name), THUMBNAIL)
    except (LabelsError, OSError):
        return None
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
