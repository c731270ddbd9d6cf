"""Publish the report always, and the model with its metrics and card when the gate says so.

Writes `report.html` with the verdict on top, and `model_card.md`; the model goes to `models/<version>/` in the store.
"""

import json

from age_tasks.config import Config
from age_tasks.registry import promote, publish_version
from age_tasks.report import model_card_from_run, report_from_run
from age_tasks.runs import Run, Summary


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
        summary["model"] = publish_version(
            run.store, run.key, files, {"run": run.key, "gate": gate, "views": config.views.model_dump()}
        )
        promote(run.store, run.key)
    run.store.put(report_key, report)  # last: it says "published"
    return summary
