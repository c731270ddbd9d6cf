"""The model report and the model card, from the outputs of a run's stages."""

import contextlib
import csv
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from age_tasks.config import CardSettings
from age_tasks.evaluation.challenges import ERROR_IN_OFFICE
from age_tasks.evaluation.enough import FEW_IMAGES, enough_in_words, too_few_in_words
from age_tasks.evaluation.gate import largest_gap
from age_tasks.evaluation.results import LABELS_TO_LOOK_AT, GateResult, Metrics
from age_tasks.pipeline import changed_settings_of, settings_read
from age_tasks.registry.approval import Approval
from age_tasks.registry.promotions import champion
from age_tasks.reports.html import png_uri, render
from age_tasks.runs.run import StoredRun, Workspace, record_of
from age_tasks.stopwatch import PARTS, timed

FIGURES = ("predicted_against_real", "error_by_age", "error_histogram", "interval_held", "worst_errors")
CHAMPION_FIGURES = ("against_champion", "age_drift")
WHERE_THERE_ARE = ("labels_to_look_at", "got_worse", "got_better", "error_by_image", "weak_segments")
REPORTED = ("snapshot", "validate", "split", "baseline", "finetune", "evaluate", "gate")

# The files that the report links to: stage, name, and what it is.
LINKED = (
    ("validate", "index.html", "label validation"),
    ("split", "train.csv", "images in train"),
    ("split", "val.csv", "in validation"),
    ("split", "test.csv", "in test"),
    ("evaluate", "predictions.csv", "predicted ages of the test images"),
    ("evaluate", "labels_to_look_at.csv", "labels to look at"),
    ("evaluate", "metrics.json", "metrics"),
    ("gate", "gate.json", "the gate's result"),
    ("publish", "model_card.md", "model card"),
)


@dataclass(frozen=True)
class Outcome:
    """What becomes of the candidate, as the report says it.

    Args:
        final: whether it is decided; else the run goes on.
        version: the name of the candidate's version, such as `v3`; None if it is not published.
        champion: the name of the version in use before; None if there is none.
        approval: a person's answer to a candidate that passed; None if no approval was requested.
        export: the result of `export_checked`; None if the model is not published.
    """

    final: bool = False
    version: str | None = None
    champion: str | None = None
    approval: Approval | None = None
    export: dict[str, Any] | None = None


@timed("output")
def report_from_run(
    run: Workspace, evaluation: Path, gate: GateResult | None, outcome: Outcome | None = None, runs: str = "../../"
) -> str:
    """The self-contained HTML report.

    Args:
        evaluation: the folder with the outputs of `evaluate`.
        gate: the content of `gate.json`; None before the gate has decided.
        outcome: None: not decided.
        runs: the relative address of the folder of all runs, for links to files.
    """
    outcome = outcome or Outcome()
    facts = _facts(run, evaluation)
    in_use = facts["metrics"].in_use
    settings = {"settings": facts["config"], "versions": run.require_record("baseline").versions}
    return render(
        "report.html.j2",
        **facts,
        gate=gate,
        outcome=outcome,
        champion=facts["metrics"].champion,
        gap=largest_gap(facts["metrics"].slices),
        changed=changed_settings_of(run),
        figures=_figures(run, evaluation, facts["metrics"]),
        stages=_lineage(run),
        parts=PARTS,
        files=_files(run),
        links=_links(run, evaluation, outcome.final, runs),
        settings=_yaml(settings),
        few_images=FEW_IMAGES,
        too_few=too_few_in_words(facts["metrics"].people is not None),
        enough_in_use=enough_in_words(bool(in_use and in_use.people is not None)),
        error_in_office=ERROR_IN_OFFICE,
        label_issues=LABELS_TO_LOOK_AT,
    )


def report_so_far(run: StoredRun, runs: str) -> str:
    """The report of a run that has measured its models and not ended, also where an earlier run measured them.

    Args:
        runs: as for the report.

    Raises:
        MissingInputError: `evaluate` has not finished.
    """
    with tempfile.TemporaryDirectory(prefix="age-") as scratch:
        opened = Workspace(run.key, run.store, Path(scratch, "cache"), Path(scratch))
        for name in run.require_record("evaluate").outputs:
            opened.input("evaluate", name)
        judged = run.record("gate")
        gate = None
        if judged and "gate.json" in judged.outputs:
            gate = GateResult.parse(opened.input("gate", "gate.json").read_bytes(), run.where("gate", "gate.json"))
        now = champion(run.store)
        outcome = Outcome(champion=now.name if now else None)
        return report_from_run(opened, opened.input("evaluate", "metrics.json").parent, gate, outcome, runs)


def model_card_from_run(
    run: Workspace,
    evaluation: Path,
    gate: GateResult,
    export: dict[str, Any] | None = None,
    card: CardSettings | None = None,
) -> str:
    """The model card, Markdown, in the sections that Mitchell et al. (2019) propose.

    Args:
        evaluation, gate, export: as for the report.
        card: what only the owner can write; None: as the run has it.
    """
    facts = _facts(run, evaluation)
    if card:
        facts["config"] |= {"card": card.model_dump()}
    return render(
        "model_card.md.j2",
        **facts,
        gate=gate,
        export=export,
        versions=run.require_record("finetune").versions,
        files=_files(run),
        settings=_yaml({name: facts["config"][name] for name in ("model", "baseline", "finetune")}),
    )


def _figures(run: Workspace, evaluation: Path, metrics: Metrics) -> dict[str, str]:
    """The report's figures by name, as data URIs."""
    names = [*FIGURES, *(CHAMPION_FIGURES if metrics.champion else ())]
    names += [name for name in WHERE_THERE_ARE if (evaluation / f"{name}.png").exists()]
    figures = {name: png_uri(evaluation / f"{name}.png") for name in names}
    for stage in ("baseline", "finetune"):
        figures[f"{stage}_curve"] = png_uri(run.input(stage, "learning_curve.png"))
    return figures | {"split_ages": png_uri(run.input("split", "split_ages.png"))}


def _by_age(table: Path) -> list[dict[str, Any]]:
    """The rows of `by_age.csv`; numbers are None where a bin is empty."""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        {name: _number(text) for name, text in row.items()} | {"bin": row["bin"], "images": int(row["images"])}
        for row in rows
    ]


def _number(text: str) -> float | None:
    with contextlib.suppress(ValueError):
        return float(text)
    return None


def _links(run: StoredRun, evaluation: Path, final: bool, runs: str) -> list[tuple[str, str]]:
    """The files beside the report: what each is, and its address."""
    links = []
    for stage, name, label in LINKED:
        record = run.record(stage)
        if record and name in record.outputs:
            links.append((label, f"{runs}{record.executed_by}/{stage}/{name}"))
        elif (stage == "evaluate" and (evaluation / name).exists()) or (stage == "publish" and final):
            links.append((label, f"{runs}{run.key}/{stage}/{name}"))
    return links


def _yaml(settings: dict[str, Any]) -> str:
    return str(yaml.safe_dump(settings, sort_keys=False))


def _facts(run: Workspace, evaluation: Path) -> dict[str, Any]:
    settings = run.settings()
    counts: dict[str, Any] = {}
    for stage in ("snapshot", "validate", "split"):
        counts |= record.summary if (record := run.record(stage)) else {}
    return {
        "run_key": run.key,
        "created": settings.created[:16].replace("T", " "),
        "labels": settings.labels,
        "config": settings_read(run),
        "data": counts,
        "metrics": Metrics.parse((evaluation / "metrics.json").read_bytes(), run.where("evaluate", "metrics.json")),
        "by_age": _by_age(evaluation / "by_age.csv"),
    }


def _lineage(run: Workspace) -> list[dict[str, Any]]:
    """For each stage, its record, its seconds in this run, and the run that executed it with its seconds there."""
    stages = []
    for stage in REPORTED:
        if record := run.record(stage):
            executed = record_of(run.store, record.executed_by, stage) or record
            first = record.reused_from
            saved = executed.seconds if first else None
            stages.append(record.model_dump() | {"first": first, "spent": record.seconds, "saved": saved})
    return stages


def _files(run: Workspace) -> dict[str, str]:
    """The sha256 of the files that identify data and model: the labels, the snapshot, the model."""
    wanted = {"labels": ("snapshot", "labels.csv"), "snapshot": ("snapshot", "snapshot.csv")}
    wanted["model"] = ("finetune", "model.keras")
    records = {name: (run.record(stage), file) for name, (stage, file) in wanted.items()}
    return {
        name: record.outputs[file].sha256
        for name, (record, file) in records.items()
        if record and file in record.outputs
    }
