"""Check the snapshot against the expectations and set aside the rows that break them.

Writes `index.html` (the verdict, for people), `accepted.csv`, `quarantine.csv` with a reason for each row,
`expectations.json`, `audit/` and `data_docs/`. Stops the run when too many rows are broken, or the labels as a whole.
"""

import json

import pandas as pd

from age_tasks.config import Config
from age_tasks.data.decoding import load_rgb
from age_tasks.data.expectations import Expectations
from age_tasks.data.image_folder import ImageFolder
from age_tasks.data.validation import Verdict, distribution, judge, near_duplicates, quarantined, with_derived_columns
from age_tasks.errors import LabelsError
from age_tasks.reports import figures
from age_tasks.reports.face_sheets import sample_faces
from age_tasks.reports.label_audit import write_audit
from age_tasks.reports.safe_csv import as_csv
from age_tasks.reports.validation_page import validation_page
from age_tasks.runs.listing import previous_run
from age_tasks.runs.records import Summary
from age_tasks.runs.run import Workspace
from age_tasks.stages._inputs import images_of, read_snapshot

ACCEPTED = ["line", "file_name", "real_age", "sha256", "dhash", "width", "height", "bytes"]
QUARANTINE = ["line", "file_name", "age_text", "fault", "reason"]


def execute(run: Workspace, config: Config) -> Summary:
    snapshot = read_snapshot(run)
    table = with_derived_columns(snapshot)
    expectations = Expectations(run.scratch, run.key)
    row_findings = expectations.check("rows", table)
    quarantine = quarantined(table, row_findings)
    accepted = table[~table["line"].isin(quarantine["line"])]
    facts = distribution(accepted, _previous_ages(run))
    findings = [*row_findings, *expectations.check("distribution", pd.DataFrame([facts]))]
    bound = config.validate_.max_quarantine_fraction
    verdict = judge(len(table), quarantine, findings, bound)

    accepted[ACCEPTED].to_csv(run.output_dir / "accepted.csv", index=False)
    (run.output_dir / "quarantine.csv").write_text(as_csv(quarantine))
    (run.output_dir / "expectations.json").write_text(
        json.dumps([vars(finding) for finding in findings], indent=2) + "\n"
    )
    near = near_duplicates(accepted)
    (run.output_dir / "near_duplicates.csv").write_text(as_csv(near))
    audit = write_audit(accepted, run.output_dir / "audit")
    folder = images_of(run)
    _face_sheet(accepted, folder, run)
    expectations.write_data_docs(run.output_dir / "data_docs")
    page = validation_page(run, verdict, table, quarantine, findings, facts, audit, near, bound, folder)
    (run.output_dir / "index.html").write_text(page)
    if not verdict.accepted:
        raise LabelsError(_refusal(run, verdict, quarantine))
    return {
        "rows": len(table),
        "accepted": len(accepted),
        "quarantined": len(quarantine),
        "quarantine_fraction": round(len(quarantine) / len(table), 4),
        "near_duplicates": len(near),
        "reasons": quarantine["fault"].value_counts().to_dict(),
        "warnings": [finding.description for finding in findings if not finding.success and not finding.blocks],
    }


def _previous_ages(run: Workspace) -> pd.Series | None:
    previous = previous_run(run, "validate")
    return pd.read_csv(previous.input("validate", "accepted.csv"))["real_age"] if previous else None


def _face_sheet(accepted: pd.DataFrame, folder: ImageFolder, run: Workspace) -> None:
    chosen = sample_faces(accepted)
    faces = [(load_rgb(folder.path(row.file_name), 112), f"{row.real_age:g}") for row in chosen.itertuples()]
    sheet = figures.face_sheet(faces, title="Faces from young to old, with their labels")
    figures.save(sheet, run.output_dir / "audit" / "faces.png")


def _refusal(run: Workspace, verdict: Verdict, quarantine: pd.DataFrame) -> str:
    lines = [
        f"the labels {run.settings().labels} were refused:",
        *(f"  {problem}" for problem in verdict.problems),
    ]
    for fault, rows in quarantine.groupby("fault", sort=False):
        shown = rows.iloc[0]
        lines.append(f"  {len(rows)} x {fault}, such as line {shown.line} ({shown.file_name}): {shown.reason}")
    lines.append(f"  Correct the labels (all broken rows: {run.where('validate', 'quarantine.csv')})")
    lines.append(f"  Look: {run.where('validate', 'index.html')}")
    return "\n".join(lines)
