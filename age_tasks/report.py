"""The model report and the model card, from what the stages of a run left behind."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from age_tasks.approval import Approval
from age_tasks.pages import png_uri, render
from age_tasks.runs import Run

FIGURES = ("predicted_against_real", "error_by_age", "error_histogram", "worst_errors")
REPORTED = ("snapshot", "validate", "split", "baseline", "finetune", "evaluate", "gate")


def report_from_run(run: Run, evaluation: Path, gate: dict | None, said: Approval | None = None) -> str:
    """The self-contained HTML report.

    Args:
        evaluation: the folder that holds what `evaluate` wrote.
        gate: the content of `gate.json`; None while the gate hasn't judged.
        said: a person's answer to a candidate that passed; None if nobody was asked.
    """
    facts = _facts(run, evaluation)
    figures = {name: png_uri(evaluation / f"{name}.png") for name in FIGURES}
    for stage in ("baseline", "finetune"):
        figures[f"{stage}_curve"] = png_uri(run.input(stage, "learning_curve.png"))
    if (evaluation / "labels_to_look_at.png").exists():
        figures["labels_to_look_at"] = png_uri(evaluation / "labels_to_look_at.png")
    if champion := facts["metrics"]["champion"]:
        figures["against_champion"] = png_uri(evaluation / "against_champion.png")
    figures["split_ages"] = png_uri(run.input("split", "split_ages.png"))
    records = [record for stage in REPORTED if (record := run.record(stage))]
    settings = {"settings": facts["config"], "versions": run.finished("baseline")["versions"]}
    return render(
        "report.html.j2",
        **facts,
        gate=gate,
        said=said,
        champion=champion,
        figures=figures,
        stages=records,
        settings=yaml.safe_dump(settings, sort_keys=False),
    )


def model_card_from_run(run: Run, evaluation: Path, gate: dict) -> str:
    """The model card, Markdown."""
    facts = _facts(run, evaluation)
    settings = {name: section for name, section in facts["config"].items() if name in {"model", "baseline", "finetune"}}
    versions = run.finished("finetune")["versions"]
    settings = yaml.safe_dump(settings, sort_keys=False)
    return render("model_card.md.j2", **facts, gate=gate, versions=versions, settings=settings)


def _facts(run: Run, evaluation: Path) -> dict[str, Any]:
    settings = run.settings()
    validated, split = (run.record(stage) or {"summary": {}} for stage in ("validate", "split"))
    counts = {"rows": "", "quarantined": "", **validated["summary"], **split["summary"]}
    return {
        "run_key": run.key,
        "created": settings["created"][:16].replace("T", " "),
        "labels": settings["labels"],
        "config": settings["config"],
        "data": counts,
        "metrics": json.loads((evaluation / "metrics.json").read_text()),
        "by_age": pd.read_csv(evaluation / "by_age.csv").to_dict("records"),
    }
