"""The label validation page: the verdict, quarantined rows with reasons, expectations, and the accepted labels."""

from collections.abc import Hashable
from typing import Any

import pandas as pd

from age_tasks.config import ValidateSettings
from age_tasks.data.expectations import Finding
from age_tasks.data.image_folder import ImageFolder
from age_tasks.data.label_changes import LabelChanges
from age_tasks.data.people import FixedSplit, People
from age_tasks.data.repeated_labels import SeveralLabels
from age_tasks.data.validation import AgeShift, NearPairs, Verdict
from age_tasks.registry.labels_acceptance import LabelsAcceptance
from age_tasks.reports.face_sheets import sample_faces
from age_tasks.reports.html import png_uri, render
from age_tasks.reports.thumbnails import thumbnail
from age_tasks.runs.run import Workspace

SHOWN_ROWS = 250  # of one fault on the validation page; all are in the lists and in quarantine.csv
SHOWN_IMAGES = 20  # of one fault
LISTED_ROWS = 2000  # on a page that lists rows
SHOWN_PAIRS = 60
SHOWN_CHANGES = 50  # of one kind
THUMBNAIL, FACE = 64, 96  # pixels, square
ORDERS = {"line": ["line"], "name": ["file_name", "line"], "age": ["age_text", "line"], "reason": ["reason", "line"]}


def verdict_in_words(verdict: Verdict, total: int, quarantined: int) -> str:
    """What becomes of the labels, in one line."""
    if not verdict.accepted:
        return f"The labels were refused: {'; '.join(verdict.problems)}."
    return (
        f"The labels were accepted: {total - quarantined} of {total} rows are used for training, "
        f"{quarantined} are quarantined."
    )


def validation_page(
    run: Workspace,
    verdict: Verdict,
    table: pd.DataFrame,
    quarantine: pd.DataFrame,
    findings: list[Finding],
    facts: dict[str, float | None],
    audit: dict[str, Any],
    near: NearPairs,
    settings: ValidateSettings,
    folder: ImageFolder,
    read_as: str = "",
    shift: AgeShift | None = None,
    acceptance: LabelsAcceptance | None = None,
    changes: LabelChanges | None = None,
    copies: pd.DataFrame | None = None,
    people: People | None = None,
    fixed_split: FixedSplit | None = None,
    repeated: SeveralLabels | None = None,
) -> str:
    """The HTML of `validate/index.html`, with its images embedded.

    Args:
        table: all rows of the labels: columns line, file_name, problem.
        quarantine: the quarantined rows: columns line, file_name, age_text, fault, reason.
        facts: values of the suite `distribution`, by column.
        audit: of the accepted rows; see `age_tasks.data.audit.audit`.
        near: the near duplicates among the accepted rows.
        settings: the bounds that the labels must keep.
        read_as: encoding, separator and decimal sign of the labels file, in words; empty if it is not known.
        shift: of the ages from those accepted last; None for the first labels.
        acceptance: by a person, of ages that would have been refused otherwise.
        changes: since the labels that were accepted last; None for the first labels.
        copies: accepted rows with the content of another: columns line, file_name, first_line, first_file_name.
        people: in the accepted images; None if the labels name none.
        fixed_split: None if the labels fix none.
        repeated: images with several labels; None if there are none.
    """
    readable = set(table.loc[table["problem"] == "", "line"])
    sample = sample_faces(table[table["line"].isin(readable) & ~table["line"].isin(quarantine["line"])])
    pairs = [
        {**pair, **{side: thumbnail(pair[f"{side}_file_name"], folder, THUMBNAIL) for side in ("first", "second")}}
        for pair in near.nearest.head(SHOWN_PAIRS).to_dict("records")
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
        groups=_groups(quarantine, readable, folder),
        orders=ORDERS,
        changes=_changes(changes, readable, folder),
        copies=[] if copies is None else copies.head(SHOWN_PAIRS).to_dict("records"),
        copy_count=0 if copies is None else len(copies),
        people=people,
        conflicts=people.conflicts.head(SHOWN_PAIRS).to_dict("records") if people else [],
        fixed_split=fixed_split,
        repeated=repeated,
        widest=_with_thumbnails(repeated.widest, folder) if repeated else [],
        left_out=fixed_split.left_out.head(SHOWN_PAIRS).to_dict("records") if fixed_split else [],
        findings=[
            {**vars(finding), "expected": _expected(finding), "found": _found(finding, facts)} for finding in findings
        ],
        audit=audit,
        pairs=pairs,
        pair_count=near.count,
        listed_pairs=len(near.nearest),
        ages=png_uri(histogram) if histogram.exists() else None,
        faces=[
            {**row, "image": thumbnail(row["file_name"], folder, FACE)}
            for row in sample[["file_name", "real_age"]].to_dict("records")
        ],
    )


def _with_thumbnails(rows: pd.DataFrame, folder: ImageFolder) -> list[dict[Hashable, Any]]:
    return [row | {"image": thumbnail(row["file_name"], folder, THUMBNAIL)} for row in rows.to_dict("records")]


def quarantine_page(run_key: str, quarantine: pd.DataFrame, order: str) -> str:
    """The HTML of `validate/quarantine_by_<order>.html`: all quarantined rows in one table, without images.

    Links on it show the rows of one fault only.

    Args:
        quarantine: as for `validation_page`.
        order: a name of `ORDERS`.
    """
    faults = list(quarantine["fault"].value_counts().items())
    numbers = {fault: number for number, (fault, _) in enumerate(faults, start=1)}
    rows = quarantine.sort_values(ORDERS[order], kind="stable", na_position="first").head(LISTED_ROWS)
    return render(
        "quarantine.html.j2",
        run_key=run_key,
        rows=rows.assign(number=rows["fault"].map(numbers)).to_dict("records"),
        total=len(quarantine),
        faults=faults,
        order=order,
        orders=ORDERS,
    )


def _groups(quarantine: pd.DataFrame, readable: set[int], folder: ImageFolder) -> list[dict[str, Any]]:
    """The quarantined rows by fault, the most frequent first; the first of each with images."""
    groups = []
    for fault, count in quarantine["fault"].value_counts().items():
        rows = quarantine[quarantine["fault"] == fault].head(SHOWN_ROWS).to_dict("records")
        for at, row in enumerate(rows):
            pictured = at < SHOWN_IMAGES and row["line"] in readable
            row["image"] = thumbnail(row["file_name"], folder, THUMBNAIL) if pictured else None
        groups.append({"fault": fault, "count": count, "rows": rows})
    return groups


def _changes(changes: LabelChanges | None, readable: set[int], folder: ImageFolder) -> dict[str, Any] | None:
    """The changes for the page: each table with its number of rows and its first rows, with faces."""
    if changes is None:
        return None
    first = {}
    for name in ("corrected", "replaced", "quarantined", "resolved"):
        table = getattr(changes, name)
        rows = table.head(SHOWN_CHANGES).to_dict("records")
        for row in rows:
            pictured = name in {"corrected", "replaced"} and row["line"] in readable
            row["image"] = thumbnail(row["file_name"], folder, THUMBNAIL) if pictured else None
        first[name] = (len(table), rows)
    plain = {"previous_run": changes.previous_run, "added": changes.added, "removed": changes.removed}
    return plain | {"columns": changes.columns, "new_values": changes.values} | first


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
