"""A store after years of use: many finished runs, decisions and promotions, written directly as small files."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from age_tasks.config import Config
from age_tasks.pipeline import STAGES, gate_decision
from age_tasks.registry.decisions import DECISIONS
from age_tasks.registry.promotions import PROMOTIONS, Manifest, PromotionEntry, manifest_file
from age_tasks.runs.keys import record_file, run_file, stage_folder
from age_tasks.runs.records import RunSettings
from age_tasks.store.documents import FileDigest
from tests.support.metrics import CHAMPION, METRICS, metrics_of
from tests.support.records import stage_record

BEGAN = datetime(2021, 1, 4, 3, tzinfo=UTC)
QUARANTINE = b'"line","file_name","age_text","fault","reason"\n"9","c.jpg","999","age out of range","too old"\n'
IMAGES = f"sha256\n{64 * '0'}\n".encode()
ISSUES = b'{"issues": [], "previous_run": ""}'

TEST_IMAGES = 1139

FILES: dict[str, dict[str, bytes]] = {
    "validate": {"quarantine.csv": QUARANTINE, "accepted.csv": IMAGES},
    "split": {"assignments.csv": IMAGES},
    "evaluate": {"labels_to_look_at.json": ISSUES},
}


def put_runs(folder: Path, runs: int, promoted_every: int = 0) -> None:
    """Write finished runs into a store in a folder, one a day: `run00000` is the oldest.

    Args:
        promoted_every: the interval of the runs that promote their model, counted from the newest; 0: none does.
    """
    config, before, number = Config().to_dict(), None, 0
    for at in range(runs):
        key, began = f"run{at:05d}", BEGAN + timedelta(days=at)
        settings = RunSettings(
            id=key,
            config=config,
            who="ann",
            labels="/faces/labels.csv",
            images="/faces/images",
            created=began.isoformat(),
        )
        _put(folder, run_file(key), settings.to_bytes())
        promotes = bool(promoted_every) and (runs - 1 - at) % promoted_every == 0
        number += promotes
        for hour, stage in enumerate(STAGES, start=1):
            _put_stage(
                folder, key, stage, (began + timedelta(hours=hour)).isoformat(), f"v{number}" if promotes else ""
            )
        if promotes:
            before = _promote(folder, key, number, (began + timedelta(hours=9)), before)


def put_trained(folder: Path, run: str, seed: int) -> None:
    """Write what the page Compare reads of a run: its trainings, and the ages of 1,139 test images, drawn at random."""
    real = np.random.default_rng(0).integers(1, 90, TEST_IMAGES)
    ages = pd.DataFrame({"real_age": real, "finetune": real + np.random.default_rng(seed).normal(0, 7, TEST_IMAGES)})
    names = pd.DataFrame({"sha256": [f"{at:064x}" for at in range(TEST_IMAGES)]}).assign(
        file_name=lambda all: all.sha256
    )
    curve = pd.DataFrame({"epoch": range(1, 13), "val_mae": np.linspace(9, 7, 12)}).to_csv(index=False).encode()
    files = {
        "baseline": {"history.csv": curve},
        "finetune": {"history.csv": curve},
        "evaluate": FILES["evaluate"]
        | {
            "metrics.json": metrics_of(images=TEST_IMAGES).to_bytes(),
            "predictions.csv": names.join(ages).to_csv(index=False).encode(),
        },
    }
    for stage, outputs in files.items():
        settings = {"evaluate": Config().section("evaluate")} if stage == "evaluate" else {}
        record = stage_record(stage, run, outputs=_put_outputs(folder, run, stage, outputs), settings=settings)
        _put(folder, record_file(run, stage), record.to_bytes())


def _put_outputs(folder: Path, run: str, stage: str, files: Mapping[str, bytes]) -> dict[str, FileDigest]:
    for name, content in files.items():
        _put(folder, stage_folder(run, stage) + name, content)
    return {
        name: FileDigest(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
        for name, content in files.items()
    }


def _put_stage(folder: Path, run: str, stage: str, finished: str, version: str) -> None:
    verdict = "passed: all 7 rules hold" if version else "refused: not significantly better than v1"
    summary: dict[str, object] = {
        "validate": {"rows": 7591, "accepted": 7588, "quarantined": 3},
        "gate": {
            "passed": bool(version),
            "verdict": verdict,
            "candidate": {"value": 6.5, "low": 6.1, "high": 6.9},
            "champion": {"name": "v1", "bins": []},
        },
        "publish": {"published": bool(version), "version": version} if version else {"published": False},
    }.get(stage, {})
    outputs = _put_outputs(folder, run, stage, FILES.get(stage, {}))
    record = stage_record(stage, run, finished=finished, summary=summary, outputs=outputs)
    _put(folder, record_file(run, stage), record.to_bytes())
    if stage == "gate":
        content = gate_decision(run, record).to_bytes()
        time = f"{datetime.fromisoformat(finished):%Y%m%dT%H%M%S%fZ}"
        _put(folder, f"{DECISIONS}{time}-{hashlib.sha256(content).hexdigest()[:8]}.json", content)


def _promote(folder: Path, run: str, number: int, at: datetime, before: str | None) -> str:
    """Write a version and its entry in the promotion log; returns the key of the entry."""
    version, champion = f"{run}-0a1b2c3d", CHAMPION | {"name": f"v{number - 1}"} if before else None
    model = FileDigest(sha256=hashlib.sha256(run.encode()).hexdigest(), bytes=1)
    manifest = Manifest(
        version=version, run=run, test_mae=METRICS["finetune"]["mae"]["value"], files={"model.keras": model}
    )
    _put(folder, manifest_file(version), manifest.to_bytes())
    _put(folder, manifest_file(version).replace("manifest", "metrics"), metrics_of(champion=champion).to_bytes())
    entry = PromotionEntry(
        version=version, at=at.isoformat(), who="ann", why="gate passed: all 7 rules hold", run=run, replaces=before
    )
    key = f"{PROMOTIONS}{number:06d}-{at:%Y%m%dT%H%M%S%fZ}-{number:08x}.json"
    _put(folder, key, entry.to_bytes())
    return key


def _put(folder: Path, key: str, content: bytes) -> None:
    path = folder / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
