"""Validate the snapshot against the expectations, and quarantine the rows that fail them.

Writes `index.html` (the verdict, for people), `accepted.csv`, `quarantine.csv` with a reason for each row, pages that
list these rows, `copies.csv`, `near_duplicates.csv`, `across_splits.csv` where the labels fix a split, `places.csv`
where the images are in tar files, `expectations.json`, `verdict.json`, `audit/` and `data_docs/`.
Stops the run if too many rows are quarantined, or if the labels as a whole are not as expected. Ages that are
distributed otherwise than those accepted last are no reason to stop once a person has accepted these labels
(`labels accept`).
"""

import csv
from dataclasses import dataclass

import pandas as pd

from age_tasks.config import Config, ValidateSettings
from age_tasks.data.decoding import load_accepted
from age_tasks.data.expectations import Expectations, Finding
from age_tasks.data.image_folder import ImageFolder
from age_tasks.data.image_places import write_places
from age_tasks.data.label_changes import LabelChanges, label_changes, named_copies
from age_tasks.data.label_columns import further_columns_of, weigh_by_spread
from age_tasks.data.near_duplicates import NEAR_GROUP
from age_tasks.data.people import FixedSplit, People, fixed_split, people
from age_tasks.data.repeated_labels import RATERS, SPREAD, one_row_an_image, repeated
from age_tasks.data.validation import (
    AgeShift,
    NearPairs,
    Verdict,
    VerdictFile,
    age_shift,
    distribution,
    enough_hundredths,
    judge,
    near_pairs,
    quarantined,
    with_derived_columns,
)
from age_tasks.errors import LabelsError, MissingInputError
from age_tasks.registry.labels_acceptance import LabelsAcceptance, acceptance_of
from age_tasks.reports import figures
from age_tasks.reports.data_docs import make_offline
from age_tasks.reports.face_sheets import sample_faces
from age_tasks.reports.label_audit import write_audit
from age_tasks.reports.safe_csv import as_csv
from age_tasks.reports.validation_page import ORDERS, SHOWN_PAIRS, quarantine_page, validation_page, verdict_in_words
from age_tasks.runs.listing import previous_run
from age_tasks.runs.records import Summary
from age_tasks.runs.run import Workspace
from age_tasks.stages._inputs import images_of, read_snapshot
from age_tasks.stopwatch import timed
from age_tasks.store.base import to_json

ACCEPTED_COLUMNS = ["line", "file_name", "real_age", "sha256", "dhash", "width", "height", "bytes", NEAR_GROUP]
QUALITY = ("brightness", "sharpness", "colour")  # further columns, which snapshots of version 0.1 lack
_PARAMETERS = ("min_rows", "max_age_shift")  # settings that the suite `distribution` refers to
FACE_PIXELS = 112  # side of a face on the sheet of sample faces


@dataclass(frozen=True)
class _Validation:
    """What was computed of the snapshot: every row with its derived columns, and what follows from them."""

    table: pd.DataFrame
    accepted: pd.DataFrame
    quarantine: pd.DataFrame
    near_duplicates: NearPairs
    copies: pd.DataFrame
    people: People | None
    fixed_split: FixedSplit | None
    changes: LabelChanges | None
    findings: list[Finding]
    distribution: dict[str, float | None]
    shift: AgeShift | None
    acceptance: LabelsAcceptance | None
    verdict: Verdict

    @property
    def accepted_by(self) -> LabelsAcceptance | None:
        """The acceptance without which the ages would have been refused."""
        return self.acceptance if self.verdict.shifted else None


def execute(run: Workspace, config: Config) -> Summary:
    expectations, settings = Expectations(run.scratch, run.key), config.validate_
    found = _validate(run, expectations, config)
    _write_tables(found, run)
    _write_pages(found, expectations, settings, run)
    if not found.verdict.accepted:
        raise LabelsError(*_refusal(run, found))
    warnings = [each.description for each in found.findings if not each.success and not each.blocks]
    accepted_by = {}
    if found.shift and found.accepted_by:
        accepted_by = {"ages_accepted": f"{found.shift.sentence}; {found.accepted_by.sentence}"}
    return {
        "rows": len(found.table),
        "accepted": len(found.accepted),
        "quarantined": len(found.quarantine),
        "quarantine_fraction": round(len(found.quarantine) / len(found.table), 4),
        "near_duplicates": found.near_duplicates.count,
        "reasons": found.quarantine["fault"].value_counts().to_dict(),
        "warnings": warnings,
        **({"people": found.people.count} if found.people else {}),
        **({"changes": found.changes.counts} if found.changes else {}),
        **accepted_by,
    }


def _shift(run: Workspace, ages: pd.Series) -> AgeShift | None:
    """From the ages of the newest other run whose labels were accepted."""
    previous = previous_run(run, "validate")
    if previous is None:
        return None
    before = pd.read_csv(previous.input("validate", "accepted.csv"))["real_age"]
    return age_shift(ages, before, previous.key)


def _changes(run: Workspace, table: pd.DataFrame, quarantine: pd.DataFrame, header: list[str]) -> LabelChanges | None:
    """Since the newest other run whose labels were accepted; None if there is none, or its labels are gone."""
    previous = previous_run(run, "validate")
    if previous is None:
        return None
    try:
        before = read_snapshot(previous)
    except MissingInputError:  # removed by `prune`
        return None
    were = pd.read_csv(previous.input("validate", "quarantine.csv"), usecols=["line"])
    return label_changes(table, quarantine, before, were, previous.key, (_header(previous), header))


def _header(run: Workspace) -> list[str]:
    """The columns of the run's labels file, which is frozen in UTF-8 with commas."""
    with run.input("snapshot", "labels.csv").open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        return [title.strip() for title in next(csv.reader(lines), [])]


def _validate(run: Workspace, expectations: Expectations, config: Config) -> _Validation:
    settings, header = config.validate_, _header(run)
    table = with_derived_columns(read_snapshot(run), config.data.repeated_labels)
    row_findings = expectations.check("rows", table)
    quarantine = quarantined(table, row_findings)
    weigh = weigh_by_spread(config.data, header)
    accepted = one_row_an_image(table[~table["line"].isin(quarantine["line"])], config.data.repeated_labels, weigh)
    near = near_pairs(accepted)
    accepted = accepted.assign(**{NEAR_GROUP: near.group})
    shift = _shift(run, accepted["real_age"])
    values, bounds = distribution(accepted, shift), {name: getattr(settings, name) for name in _PARAMETERS}
    findings = [*row_findings, *expectations.check("distribution", pd.DataFrame([values]), bounds)]
    acceptance = acceptance_of(run.store, run.require_record("snapshot").outputs["labels.csv"].sha256)
    fixed = fixed_split(accepted)
    across = len(fixed.left_out) if fixed and config.data.across_splits == "refuse" else 0
    empty = fixed.empty if fixed else ()
    verdict = judge(len(table), quarantine, findings, settings, shift, acceptance is not None, across, empty)
    changes = _changes(run, table, quarantine, header)
    return _Validation(
        table=table,
        accepted=accepted,
        quarantine=quarantine,
        near_duplicates=near,
        copies=named_copies(accepted),
        people=people(accepted),
        fixed_split=fixed,
        changes=changes,
        findings=findings,
        distribution=values,
        shift=shift,
        acceptance=acceptance,
        verdict=verdict,
    )


@timed("output")
def _write_tables(found: _Validation, run: Workspace) -> None:
    optional = [column for column in (*QUALITY, SPREAD, RATERS) if column in found.accepted]
    columns = [*ACCEPTED_COLUMNS, *optional, *further_columns_of(found.accepted.columns)]
    found.accepted[columns].to_csv(run.output_dir / "accepted.csv", index=False, quoting=csv.QUOTE_NONNUMERIC)
    (run.output_dir / "quarantine.csv").write_text(as_csv(found.quarantine))
    (run.output_dir / "copies.csv").write_text(as_csv(found.copies))
    (run.output_dir / "near_duplicates.csv").write_text(as_csv(found.near_duplicates.nearest))
    if found.fixed_split:
        (run.output_dir / "across_splits.csv").write_text(as_csv(found.fixed_split.left_out))
    (run.output_dir / "expectations.json").write_bytes(to_json([vars(finding) for finding in found.findings]))
    verdict, others = found.verdict, list(found.verdict.problems)
    if verdict.shifted and found.acceptance is None:
        others.pop()
    file = VerdictFile(accepted=verdict.accepted, problems=others, shifted=verdict.shifted, shift=found.shift)
    (run.output_dir / "verdict.json").write_bytes(file.to_bytes())


@timed("output")
def _write_pages(found: _Validation, expectations: Expectations, settings: ValidateSettings, run: Workspace) -> None:
    audit, folder = write_audit(found.accepted, run.output_dir / "audit"), images_of(run)
    write_places(folder, found.quarantine["file_name"], run.output_dir)
    _write_face_sheet(found.accepted, folder, run)
    expectations.write_data_docs(run.output_dir / "data_docs")
    verdict = verdict_in_words(found.verdict, len(found.table), len(found.quarantine))
    make_offline(run.output_dir / "data_docs", verdict)
    page = validation_page(
        run,
        found.verdict,
        found.table,
        found.quarantine,
        found.findings,
        found.distribution,
        audit,
        found.near_duplicates,
        settings,
        folder,
        str(run.require_record("snapshot").summary.get("read_as", "")),
        found.shift,
        found.accepted_by,
        found.changes,
        found.copies,
        found.people,
        found.fixed_split,
        repeated(found.accepted, SHOWN_PAIRS),
    )
    (run.output_dir / "index.html").write_text(page)
    for order in ORDERS if len(found.quarantine) else ():
        (run.output_dir / f"quarantine_by_{order}.html").write_text(quarantine_page(run.key, found.quarantine, order))


def _write_face_sheet(accepted: pd.DataFrame, folder: ImageFolder, run: Workspace) -> None:
    chosen = sample_faces(accepted)
    faces = [
        (load_accepted(folder.path(name), FACE_PIXELS), f"{age:g}")
        for name, age in zip(chosen["file_name"], chosen["real_age"], strict=True)
    ]
    sheet = figures.face_sheet(faces, title="Faces from young to old, with their labels")
    figures.save(sheet, run.output_dir / "audit" / "faces.png")


def _refusal(run: Workspace, found: _Validation) -> list[str]:
    """Why the labels are refused, and the ways out that exist."""
    verdict, quarantine = found.verdict, found.quarantine
    lines = [f"the labels {run.settings().labels} were refused:", *(f"  {problem}" for problem in verdict.problems)]
    for fault, rows in quarantine.groupby("fault", sort=False):
        first = rows.iloc[0]
        lines.append(f"  {len(rows)} x {fault}, such as line {first.line} ({first.file_name}): {first.reason}")
    if len(quarantine):
        lines.append(f"  All quarantined rows: {run.where('validate', 'quarantine.csv')}")
    lines.append(f"  Correct the labels{_other_ways(run, found)}")
    lines.append(f"  Validation page: {run.where('validate', 'index.html')}")
    return lines


def _other_ways(run: Workspace, found: _Validation) -> str:
    """The settings with which the labels pass, and the command to accept them; begins with a comma or semicolon."""
    ways: list[str] = []
    sufficient = {
        "max_quarantine_fraction": enough_hundredths(len(found.quarantine) / len(found.table)),
        "min_rows": len(found.accepted),
        "max_age_shift": enough_hundredths(found.shift.beyond_chance) if found.shift else 0,
    }
    for setting, value in sufficient.items():
        possible = value > 0 and not (setting == "max_quarantine_fraction" and value >= 1)
        if possible and any(f"(validate.{setting})" in problem for problem in found.verdict.problems):
            ways.append(f"--set validate.{setting}={value}")
    text = f", or if they are right change the setting: {' '.join(ways)}" if ways else ""
    if found.verdict.shifted and len(found.verdict.problems) == 1:
        text += f"; or accept exactly these labels: age-tasks labels accept {run.key} --why '…'"
    return text
