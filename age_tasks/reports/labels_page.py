"""The page for people who label: the newest validation, what changed, quarantine, labels to look at, what is next."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from age_tasks.errors import NotFoundError
from age_tasks.registry.label_confirmations import confirmed_labels
from age_tasks.registry.label_ranking import TABLE, TASKS, newest_ranking
from age_tasks.reports.html import render
from age_tasks.reports.label_issues_page import LabelIssue, LabelIssues
from age_tasks.reports.safe_csv import as_written
from age_tasks.reports.thumbnails import faces_of
from age_tasks.runs.index import RunFacts, run_facts
from age_tasks.runs.listing import started_last
from age_tasks.runs.records import StageRecord
from age_tasks.runs.run import StoredRun
from age_tasks.store.base import Store
from age_tasks.store.remembering import RememberingStore

SHOWN_ROWS = 100
SHOWN_FACES = 30  # of quarantined rows: each is read from its file
SHOWN_ISSUES = 12
FACE_PIXELS = 64

# How the quarantine can be sorted: what the link says, and the key of a row.
ORDERS: dict[str, Callable[[dict[str, str]], Any]] = {
    "line": lambda row: int(row["line"]),
    "file name": lambda row: row["file_name"],
    "age as written": lambda row: row["age_text"],
    "reason": lambda row: row["reason"],
}
# What can be downloaded: stage, file, and what it is.
DOWNLOADS = (
    ("validate", "quarantine.csv", "quarantined rows"),
    ("validate", "copies.csv", "copies under another name"),
    ("validate", "near_duplicates.csv", "near duplicates"),
    ("validate", "across_splits.csv", "rows across a fixed split"),
    ("evaluate", "labels_to_look_at.csv", "labels to look at"),
    ("evaluate", "labels_to_look_at_tasks.json", "labels to look at, for Label Studio"),
)
# Of what to label next: the name in the page's address, and what it is.
DOWNLOADS_OF_NEXT = ((TABLE, "what to label next"), (TASKS, "what to label next, for Label Studio"))


@dataclass(frozen=True)
class _Validated:
    """A run with its record of `validate`, and the rows it put into quarantine."""

    run: StoredRun
    record: StageRecord
    quarantine: list[dict[str, str]]


def labels_page(store: Store, fault: str = "", order: str = "line") -> str:
    """The page's HTML; links are relative to its address in Airflow.

    Args:
        fault: only quarantined rows with this fault are listed; empty: all.
        order: a name of `ORDERS`.
    """
    store = RememberingStore(store)
    facts = run_facts(store)
    validated = _newest_validation(store, started_last(facts, "validate"))
    looked, issues = _open_issues(store, started_last(facts, "evaluate"))
    rows, ranking = validated.quarantine if validated else [], newest_ranking(store)
    chosen = sorted((row for row in rows if fault in {"", row["fault"]}), key=ORDERS[order])[:SHOWN_ROWS]
    return render(
        "labels.html.j2",
        validated=validated,
        changes=validated.record.summary.get("changes") if validated else None,
        faults=_counts(rows),
        fault=fault,
        order=order,
        orders=list(ORDERS),
        rows=_with_faces(validated.run, chosen) if validated else [],
        looked=looked,
        issues=issues[:SHOWN_ISSUES],
        open_issues=len(issues),
        ranking=ranking,
        next_images=[image for image in ranking.ranked if image.image] if ranking else [],
        downloads=[
            *_downloads([each for each in (validated.run if validated else None, looked) if each], facts),
            *((what, f"labels/next/{name}") for name, what in (DOWNLOADS_OF_NEXT if ranking else ())),
        ],
    )


def _newest_validation(store: Store, keys: Sequence[str]) -> _Validated | None:
    """Of the run started last that validated its labels, accepted or refused."""
    for key in keys:
        run = StoredRun(key, store)
        if record := run.record("validate"):
            return _Validated(run, record, _rows(run))
    return None


def _rows(run: StoredRun) -> list[dict[str, str]]:
    try:
        content = run.read("validate", "quarantine.csv")
    except NotFoundError:
        return []
    rows = csv.DictReader(io.StringIO(content.decode(), newline=""), restval="")
    return [{name: as_written(cell) for name, cell in row.items() if name} for row in rows]


def _open_issues(store: Store, keys: Sequence[str]) -> tuple[StoredRun | None, list[LabelIssue]]:
    """The run started last that has a list of labels to look at, and those that nobody has confirmed."""
    for key in keys:
        run = StoredRun(key, store)
        record = run.record("evaluate")
        if record and record.done and "labels_to_look_at.json" in record.outputs:
            name = "labels_to_look_at.json"
            found = LabelIssues.parse(run.read("evaluate", name), run.where("evaluate", name))
            confirmed = confirmed_labels(store)
            return run, [issue for issue in found.issues if issue.label not in confirmed]
    return None, []


def _counts(rows: Sequence[dict[str, str]]) -> list[tuple[str, int]]:
    """Each fault with its number of rows, the most frequent first."""
    faults = [row["fault"] for row in rows]
    return sorted(((fault, faults.count(fault)) for fault in set(faults)), key=lambda each: (-each[1], each[0]))


def _with_faces(run: StoredRun, rows: Sequence[dict[str, str]]) -> list[dict[str, Any]]:
    """The rows, the first with the images that can be read from here."""
    faces = faces_of(run, "validate") if rows else None
    return [
        row | {"image": faces.uri(row["file_name"], FACE_PIXELS) if faces and at < SHOWN_FACES else None}
        for at, row in enumerate(rows)
    ]


def _downloads(runs: Sequence[StoredRun], facts: Mapping[str, RunFacts]) -> list[tuple[str, str]]:
    """What each file is, and its address."""
    found = {}
    for run in runs:
        for stage, name, what in DOWNLOADS:
            record = run.record(stage) if stage in facts[run.key].stages else None
            if what not in found and record and name in record.outputs:
                found[what] = f"age_retraining/{run.key}/{stage}/{name}"
    return list(found.items())
