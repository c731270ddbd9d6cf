"""Publish the report always, and the model with its metrics and card when the gate says so.

Writes `report.html` with the verdict on top, and `model_card.md`; the model becomes a version of the registry, and the
champion.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from age_tasks.config import Config
from age_tasks.registry import history, promote, publish_version
from age_tasks.report import model_card_from_run, report_from_run
from age_tasks.runs import Run, Summary
from age_tasks.store import file_sha256


def run(run: Run, config: Config) -> Summary:
    gate = json.loads(run.input("gate", "gate.json").read_text())
    evaluation = run.input("evaluate", "metrics.json").parent
    for name in run.finished("evaluate")["outputs"]:
        run.input("evaluate", name)
    report, card = run.out / "report.html", run.out / "model_card.md"
    report.write_text(report_from_run(run, evaluation, gate))
    card.write_text(model_card_from_run(run, evaluation, gate))
    report_key = f"reports/{run.key}.html"
    summary = {"published": gate["passed"], "report": run.store.where(report_key)}
    if gate["passed"]:
        files = {
            "model.keras": run.input("finetune", "model.keras"),
            "metrics.json": evaluation / "metrics.json",
            "model_card.md": card,
            "report.html": report,
        }
        summary |= _publish(run, files, {"gate": gate, "views": config.views.model_dump()})
    run.store.put(report_key, report)  # last: it says "published"
    return summary


def _publish(run: Run, files: Mapping[str, Path], facts: dict) -> Summary:
    """Make the files a version and the champion, unless this run did so before it was cut off."""
    version = f"{run.key}-{file_sha256(files['model.keras'])[:8]}"
    mae = json.loads(files["metrics.json"].read_text())["finetune"]["mae"]["value"]
    where = publish_version(run.store, version, files, {"run": run.key, "test_mae": mae, **facts})
    done = (entry for entry in history(run.store) if (entry.run, entry.version) == (run.key, version))
    entry = next(done, None) or promote(
        run.store, version, f"gate {run.finished('gate')['summary']['verdict']}", run.key
    )
    return {"version": entry.name, "model": where}
