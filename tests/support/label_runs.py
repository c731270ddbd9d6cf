"""Runs whose labels were frozen, or refused for their age distribution, without validating anything."""

from pathlib import Path

from age_tasks.data.labels_file import content_sha256, record_snapshot
from age_tasks.data.validation import AgeShift, VerdictFile
from age_tasks.runs.keys import run_file, stage_folder
from age_tasks.runs.records import RunSettings
from age_tasks.store.base import Store
from age_tasks.store.documents import FileDigest
from tests.support.records import put_record

LABELS = b"file_name,real_age\na.jpg,30\n"
SHIFT = AgeShift(distance=0.4, rows=300, previous_rows=500, previous_run="monday")


def frozen_labels(store: Store, run: str, location: Path, content: bytes = LABELS) -> str:
    """A run with a snapshot of these labels; returns their sha256."""
    location.write_bytes(content)
    settings = RunSettings(config={}, labels=str(location), images="images", created="2026-11-26T10:00:00.000+00:00")
    store.put(run_file(run), settings.to_bytes())
    digest = content_sha256(content)
    put_record(store, "snapshot", run, outputs={"labels.csv": FileDigest(sha256=digest, bytes=len(content))})
    record_snapshot(store, str(location), content, run)
    return digest


def refused_labels(store: Store, run: str, location: Path, *problems: str, shifted: bool = True) -> str:
    """A run whose labels were refused; returns their sha256."""
    digest = frozen_labels(store, run, location)
    verdict = VerdictFile(accepted=False, problems=list(problems), shifted=shifted, shift=SHIFT).to_bytes()
    store.put(f"{stage_folder(run, 'validate')}verdict.json", verdict)
    outputs = {"verdict.json": FileDigest(sha256=content_sha256(verdict), bytes=len(verdict))}
    failed = {"status": "failed", "error": "the labels were refused:\n  …"}
    put_record(store, "validate", run, outputs=outputs, inputs={"snapshot": "0" * 64}, **failed)
    return digest
