"""Validate the snapshot against the expectations, and quarantine the rows that fail them.

Writes `index.html` (the verdict, for people), `accepted.csv`, `quarantine.csv` with a reason for each row,
`near_duplicates.csv`, `expectations.json`, `audit/` and `data_docs/`. Stops the run if too many rows are quarantined,
or if the labels as a whole are not as expected.
"""

from dataclasses import dataclass

import pandas as pd

from age_tasks.config import Config
from age_tasks.data.decoding import load_accepted
from age_tasks.data.expectations import Expectations, Finding
from age_tasks.data.image_folder import ImageFolder
from age_tasks.data.validation import Verdict, distribution, judge, near_duplicates, quarantined, with_derived_columns
from age_tasks.errors import LabelsError
from age_tasks.reports import figures
from age_tasks.reports.data_docs import make_offline
from age_tasks.reports.face_sheets import sample_faces
from age_tasks.reports.label_audit import write_audit
from age_tasks.reports.safe_csv import as_csv
from age_tasks.reports.validation_page import validation_page
from age_tasks.runs.listing import previous_run
from age_tasks.runs.records import Summary
from age_tasks.runs.run import Workspace
from age_tasks.stages._inputs import images_of, read_snapshot
from age_tasks.store.base import to_json

ACCEPTED_COLUMNS = ["line", "file_name", "real_age", "sha256", "dhash", "width", "height", "bytes"]
FACE_PIXELS = 112  # side of a face on the sheet of sample faces


@dataclass(frozen=True)
class _Validation:
    """What was computed of the snapshot: every row with its derived columns, and what follows from them."""

    table: pd.DataFrame
    accepted: pd.DataFrame
    quarantine: pd.DataFrame
    near_duplicates: pd.DataFrame
    findings: list[Finding]
    distribution: dict[str, float | None]
    verdict: Verdict


def execute(run: Workspace, config: Config) -> Summary:
    expectations = Expectations(run.scratch, run.key)
    max_fraction = config.validate_.max_quarantine_fraction
    found = _validate(read_snapshot(run), _previous_ages(run), expectations, max_fraction)
    _write_tables(found, run)
    _write_pages(found, expectations, max_fraction, run)
    if not found.verdict.accepted:
        raise LabelsError(*_refusal(run, found.verdict, found.quarantine))
    return {
        "rows": len(found.table),
        "accepted": len(found.accepted),
        "quarantined": len(found.quarantine),
        "quarantine_fraction": round(len(found.quarantine) / len(found.table), 4),
        "near_duplicates": len(found.near_duplicates),
        "reasons": found.quarantine["fault"].value_counts().to_dict(),
        "warnings": [each.description for each in found.findings if not each.success and not each.blocks],
    }


def _previous_ages(run: Workspace) -> pd.Series | None:
    previous = previous_run(run, "validate")
    return pd.read_csv(previous.input("validate", "accepted.csv"))["real_age"] if previous else None


def _validate(
    snapshot: pd.DataFrame, previous_ages: pd.Series | None, expectations: Expectations, max_fraction: float
) -> _Validation:
    table = with_derived_columns(snapshot)
    row_findings = expectations.check("rows", table)
    quarantine = quarantined(table, row_findings)
    accepted = table[~table["line"].isin(quarantine["line"])]
    values = distribution(accepted, previous_ages)
    findings = [*row_findings, *expectations.check("distribution", pd.DataFrame([values]))]
    verdict = judge(len(table), quarantine, findings, max_fraction)
    return _Validation(table, accepted, quarantine, near_duplicates(accepted), findings, values, verdict)


def _write_tables(found: _Validation, run: Workspace) -> None:
    found.accepted[ACCEPTED_COLUMNS].to_csv(run.output_dir / "accepted.csv", index=False)
    (run.output_dir / "quarantine.csv").write_text(as_csv(found.quarantine))
    (run.output_dir / "near_duplicates.csv").write_text(as_csv(found.near_duplicates))
    (run.output_dir / "expectations.json").write_bytes(to_json([vars(finding) for finding in found.findings]))


def _write_pages(found: _Validation, expectations: Expectations, max_fraction: float, run: Workspace) -> None:
    audit, folder = write_audit(found.accepted, run.output_dir / "audit"), images_of(run)
    _write_face_sheet(found.accepted, folder, run)
    expectations.write_data_docs(run.output_dir / "data_docs")
    make_offline(run.output_dir / "data_docs")
    page = validation_page(
        run,
        found.verdict,
        found.table,
        found.quarantine,
        found.findings,
        found.distribution,
        audit,
        found.near_duplicates,
        max_fraction,
        folder,
        str(run.require_record("snapshot").summary.get("read_as", "")),
    )
    (run.output_dir / "index.html").write_text(page)


def _write_face_sheet(accepted: pd.DataFrame, folder: ImageFolder, run: Workspace) -> None:
    chosen = sample_faces(accepted)
    faces = [
        (load_accepted(folder.path(name), FACE_PIXELS), f"{age:g}")
        for name, age in zip(chosen["file_name"], chosen["real_age"], strict=True)
    ]
    sheet = figures.face_sheet(faces, title="Faces from young to old, with their labels")
    figures.save(sheet, run.output_dir / "audit" / "faces.png")


def _refusal(run: Workspace, verdict: Verdict, quarantine: pd.DataFrame) -> list[str]:
    lines = [f"the labels {run.settings().labels} were refused:", *(f"  {problem}" for problem in verdict.problems)]
    for fault, rows in quarantine.groupby("fault", sort=False):
        first = rows.iloc[0]
        lines.append(f"  {len(rows)} x {fault}, such as line {first.line} ({first.file_name}): {first.reason}")
    lines.append(f"  Correct the labels; all quarantined rows: {run.where('validate', 'quarantine.csv')}")
    lines.append(f"  Validation page: {run.where('validate', 'index.html')}")
    return lines
