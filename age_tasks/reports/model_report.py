"""The model report and the model card, from what the stages of a run left behind."""

from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from age_tasks.evaluation.results import GateResult, Metrics
from age_tasks.registry.approval import Approval
from age_tasks.reports.html import png_uri, render
from age_tasks.runs.run import Workspace, record_of

FIGURES = ("predicted_against_real", "error_by_age", "error_histogram", "interval_held", "worst_errors")
WITH_A_CHAMPION = ("against_champion", "age_drift")
REPORTED = ("snapshot", "validate", "split", "baseline", "finetune", "evaluate", "gate")


def report_from_run(
    run: Workspace, evaluation: Path, gate: GateResult | None, said: Approval | None = None, export: dict | None = None
) -> str:
    """The self-contained HTML report.

    Args:
        evaluation: the folder that holds what `evaluate` wrote.
        gate: the content of `gate.json`; None while the gate hasn't judged.
        said: a person's answer to a candidate that passed; None if nobody was asked.
        export: what `export_checked` found; None where nothing was to be exported.
    """
    facts = _facts(run, evaluation)
    figures = {name: png_uri(evaluation / f"{name}.png") for name in FIGURES}
    for stage in ("baseline", "finetune"):
        figures[f"{stage}_curve"] = png_uri(run.input(stage, "learning_curve.png"))
    if (evaluation / "labels_to_look_at.png").exists():
        figures["labels_to_look_at"] = png_uri(evaluation / "labels_to_look_at.png")
    if champion := facts["metrics"].champion:
        figures |= {name: png_uri(evaluation / f"{name}.png") for name in WITH_A_CHAMPION}
    figures["split_ages"] = png_uri(run.input("split", "split_ages.png"))
    settings = {"settings": facts["config"], "versions": run.require_record("baseline").versions}
    return render(
        "report.html.j2",
        **facts,
        gate=gate,
        said=said,
        champion=champion,
        export=export,
        figures=figures,
        stages=_lineage(run),
        files=_files(run),
        settings=yaml.safe_dump(settings, sort_keys=False),
    )


def model_card_from_run(run: Workspace, evaluation: Path, gate: GateResult, export: dict | None = None) -> str:
    """The model card, Markdown, in the sections that Mitchell et al. (2019) propose.

    Args:
        evaluation, gate, export: as for the report.
    """
    facts = _facts(run, evaluation)
    settings = {name: section for name, section in facts["config"].items() if name in {"model", "baseline", "finetune"}}
    versions = run.require_record("finetune").versions
    settings = yaml.safe_dump(settings, sort_keys=False)
    return render(
        "model_card.md.j2",
        **facts,
        gate=gate,
        export=export,
        versions=versions,
        files=_files(run),
        settings=settings,
    )


def _facts(run: Workspace, evaluation: Path) -> dict[str, Any]:
    settings = run.settings()
    counts: dict[str, Any] = {}
    for stage in ("snapshot", "validate", "split"):
        counts |= record.summary if (record := run.record(stage)) else {}
    return {
        "run_key": run.key,
        "created": settings.created[:16].replace("T", " "),
        "labels": settings.labels,
        "config": settings.config,
        "data": counts,
        "metrics": Metrics.parse((evaluation / "metrics.json").read_bytes(), run.where("evaluate", "metrics.json")),
        "by_age": pd.read_csv(evaluation / "by_age.csv").to_dict("records"),
    }


def _lineage(run: Workspace) -> list[dict[str, Any]]:
    """For each stage, what it took in this run, and the run whose result it is."""
    stages = []
    for stage in REPORTED:
        if record := run.record(stage):
            executed = record_of(run.store, record.executed_by, stage) or record
            first = record.reused_from
            saved = executed.seconds if first else None
            stages.append(record.model_dump() | {"first": first, "spent": record.seconds, "saved": saved})
    return stages


def _files(run: Workspace) -> dict[str, str]:
    """The sha256 of what the data and the model are known by: the frozen labels, the snapshot, the weights."""
    wanted = {"labels": ("snapshot", "labels.csv"), "snapshot": ("snapshot", "snapshot.csv")}
    wanted["model"] = ("finetune", "model.keras")
    records = {name: (run.record(stage), file) for name, (stage, file) in wanted.items()}
    return {
        name: record.outputs[file].sha256
        for name, (record, file) in records.items()
        if record and file in record.outputs
    }
