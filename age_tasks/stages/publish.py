"""Publish the report, and the model if the gate passed and, where approval is required, a person approved.

Always writes `report.html`, `model_card.md` and `trained_on.csv`. A published model becomes a version in the registry,
with its LiteRT export if that predicts the same ages, and the champion.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from age_tasks.config import Config, SettingChange, config_from_stored
from age_tasks.environment import MLflowVariables
from age_tasks.errors import MissingInputError
from age_tasks.evaluation.results import GateResult, Metrics
from age_tasks.pipeline import FINETUNED, METRICS, changed_settings_of
from age_tasks.registry.approval import Approval, Question, read_approval, require_answer_to
from age_tasks.registry.decisions import answer_of, put_decision
from age_tasks.registry.promotions import (
    VERSIONS,
    Promotion,
    champion,
    find,
    history,
    name_of_next,
    promote,
    publish_version,
    published_before,
)
from age_tasks.reports.model_report import Outcome, model_card_from_run, report_from_run
from age_tasks.runs.records import Summary, now
from age_tasks.runs.run import StoredRun, Workspace
from age_tasks.serving.input_checks import training_floor
from age_tasks.serving.litert import COMPARED, export_checked, model_signature
from age_tasks.stages._ancestors import trained_on_of, with_ancestors
from age_tasks.stages._inputs import images_of, read_splits
from age_tasks.store.base import file_sha256

QUALITY_SAMPLE = 500  # training images behind the input checks of predict


def execute(run: Workspace, config: Config) -> Summary:
    gate = GateResult.parse(run.input("gate", "gate.json").read_bytes(), run.where("gate", "gate.json"))
    answer = read_approval() if gate.passed else None
    publish = gate.passed and (answer is None or answer.approved)
    if answer:
        put_decision(run.store, answer_of(run.key, answer, now()))  # first: whatever fails below, the answer is kept
    require_judged(run)
    if gate.passed:
        judged = {"model": _model_sha256(run), **run.require_record("gate").summary}  # 0.1.0 did not tell the model
        require_answer_to(Question.about(judged))
    files, splits, config = _files(run), read_splits(run), as_trained(run, config)
    evaluation = files["metrics.json"].parent
    export = _export(run, splits["test"], config.model.image_size) if publish else None
    current = champion(run.store)
    name = name_of_next(run.store, _model_sha256(run)) if publish else None
    outcome = Outcome(True, name, current.name if current else None, answer, export)
    files["report.html"].write_text(report_from_run(run, evaluation, gate, outcome))
    files["model_card.md"].write_text(model_card_from_run(run, evaluation, gate, export, config.card))
    trained_on(run, splits).to_csv(files["trained_on.csv"], index=False)
    report_key = f"reports/{run.key}.html"
    changed = changed_settings_of(run)
    summary: Summary = {"published": publish, "report": run.store.where(report_key)}
    if answer:
        summary["approval"] = answer.sentence
    if export:
        if export["file"]:
            files[export["file"]] = run.scratch / export["file"]
        summary |= promote_candidate(run, files, _facts(run, config, gate, export, splits["train"]), answer, changed)
        summary["export"] = export["problem"] or f"same ages within {export['largest_difference']:.4f} years"
    # Last, since it says that the model is published.
    run.store.put(report_key, report_from_run(run, evaluation, gate, outcome, "../runs/").encode())
    if publish and MLflowVariables.from_env().uri:
        _log_to_mlflow(run, config, files, evaluation)
    return summary


def as_trained(run: StoredRun, config: Config) -> Config:
    """The settings with those by which the run's model was trained, whatever `publish` was given.

    Fine-tunings of version 0.1 did not record the augmentation: it is that of the run then.
    """
    network = {"model": section} if (section := run.require_record("baseline").settings.get("model")) else {}
    return config_from_stored(config.to_dict() | network | run.require_record("finetune").settings)


def _files(run: Workspace) -> dict[str, Path]:
    """A version's files by name, some still to be written. `metrics.json` is beside all other outputs of evaluate."""
    evaluated = {name: run.input("evaluate", name) for name in run.require_record("evaluate").outputs}
    written = {name: run.output_dir / name for name in ("model_card.md", "report.html", "trained_on.csv")}
    return {"model.keras": run.input("finetune", "model.keras"), "metrics.json": evaluated["metrics.json"], **written}


def _model_sha256(run: StoredRun) -> str:
    """Of the model; its record has it, and the file was checked against that when it was fetched."""
    return run.require_output("finetune", "model.keras").sha256


def require_judged(run: StoredRun) -> None:
    """See to it that the gate has judged the model that is there now: its training may have been executed once more.

    What records of earlier versions do not say is not checked.

    Raises:
        MissingInputError: evaluate has measured another model, or the gate has judged another one or other metrics.
    """
    evaluated, judged = run.require_record("evaluate"), run.require_record("gate")
    model, metrics = _model_sha256(run), evaluated.outputs["metrics.json"].sha256
    if {evaluated.inputs.get(FINETUNED, model), judged.summary.get("model", model)} != {model}:
        what, stage = "model", "finetune"
    elif judged.inputs.get(METRICS, metrics) != metrics:
        what, stage = "evaluation", "evaluate"
    else:
        return
    raise MissingInputError(
        f"run {run.key}: the gate judged another {what} than {stage} has written since; {_judge_again(run)}"
    )


def _judge_again(run: StoredRun) -> str:
    return f"run evaluate, gate and publish again (--run {run.key}, or clear them and approve in Airflow)"


def _export(run: Workspace, test: pd.DataFrame, size: int) -> dict[str, Any]:
    """Export the model to LiteRT, and compare both on the first test images."""
    folder = images_of(run)  # once: on S3 it lists the bucket
    images = [folder.path(name) for name in test["file_name"].head(COMPARED)]
    return export_checked(run.input("finetune", "model.keras"), images, size, run.scratch / "model.tflite")


def _facts(
    run: Workspace, config: Config, gate: GateResult, export: dict[str, Any], train: pd.DataFrame
) -> dict[str, Any]:
    """What the version's manifest says beside its files."""
    size = config.model.image_size
    return {
        "gate": gate.model_dump(mode="json"),
        "augmentation": config.augmentation.model_dump(),
        "usual": _input_floor(run, train, size),
        **model_signature(size),
        "export": export,
    }


def _input_floor(run: Workspace, train: pd.DataFrame, size: int) -> dict[str, float]:
    """The image quality that nearly all training images reach, estimated on a sample."""
    folder = images_of(run)
    sample = train["file_name"].sample(min(QUALITY_SAMPLE, len(train)), random_state=0)
    return training_floor((folder.path(name) for name in sample), size)


def _log_to_mlflow(run: Workspace, config: Config, files: Mapping[str, Path], evaluation: Path) -> None:
    """Log the version, its metrics, curves and files to MLflow, and move the champion alias."""
    from age_tasks.registry.mlflow_mirror import log_champion, log_version

    published, current = published_before(run.store, _model_sha256(run)), champion(run.store)
    if published is None or current is None:
        return  # removed meanwhile: MLflow mirrors the promotion log
    histories = {stage: pd.read_csv(run.input(stage, "history.csv")) for stage in ("baseline", "finetune")}
    artifacts = {f"figures/{path.name}": path for path in sorted(evaluation.glob("*.png"))}
    artifacts |= {f"figures/{stage}.png": run.input(stage, "learning_curve.png") for stage in histories}
    artifacts |= {name if name == "report.html" else f"model/{name}": path for name, path in files.items()}
    metrics = _metrics(files).model_dump(mode="json", exclude={"schema_version"})
    log_version(published.version, config.to_dict(), metrics, histories, artifacts)
    log_champion(current.version)


def trained_on(run: Workspace, splits: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The images that the candidate was made from, as `with_ancestors` returns them.

    Args:
        splits: of the run.
    """
    started_from = run.require_record("finetune").summary.get("started_from", "baseline")
    if started_from == "baseline":
        return with_ancestors(splits)
    start = find(history(run.store), started_from)
    return with_ancestors(splits, trained_on_of(run.store, start.version))


def promote_candidate(
    run: Workspace,
    files: Mapping[str, Path],
    facts: Mapping[str, Any],
    approval: Approval | None = None,
    changed: Sequence[SettingChange] = (),
) -> Summary:
    """Publish the files as a version and make it the champion; a model that was promoted before is not promoted again.

    Args:
        files: name in the version → local file; with `model.keras` and `metrics.json`.
        facts: further entries of the manifest; with `gate`.
        approval: a person's approval, which the promotion log then names.
        changed: the settings of the run that differ from its recipe's, for the promotion log.

    Returns:
        `version`, `model` (its address), `test_mae` (years), and `promoted`: whether this run made it the champion.

    Raises:
        MissingInputError: the champion is not the one that the candidate was compared with.
    """
    sha256 = file_sha256(files["model.keras"])
    metrics = _metrics(files)
    mae, compared_with = metrics.finetune.mae.value, metrics.champion.version if metrics.champion else None
    if earlier := published_before(run.store, sha256):
        promoted = earlier == champion(run.store) and earlier.run == run.key
        return _promotion_summary(run, earlier, mae, promoted)
    # The champion is part of the key: compared with another champion, the same model becomes another version.
    digest = hashlib.sha256(f"{sha256} {compared_with}".encode()).hexdigest()[:8]
    version = f"{run.key}-{digest}"
    facts = {
        "run": run.key,
        "test_mae": mae,
        "interval": [group.model_dump(mode="json") for group in metrics.interval.groups],
        **facts,
    }
    publish_version(run.store, version, files, facts)
    log = history(run.store)  # read after the upload, during which a person may have rolled back
    _require_same_champion(run, log, compared_with)
    why = "; ".join([f"gate {facts['gate']['verdict']}", *([approval.sentence] if approval else [])])
    entry = promote(run.store, version, why, run.key, approval.who if approval else None, log, changed)
    return _promotion_summary(run, entry, mae, promoted=True)


def _metrics(files: Mapping[str, Path]) -> Metrics:
    return Metrics.parse(files["metrics.json"].read_bytes(), "metrics.json")


def _require_same_champion(run: Workspace, log: Sequence[Promotion], compared_with: str | None) -> None:
    current = log[-1] if log else None
    if compared_with != (current.version if current else None):
        name = current.name if current else "none"
        raise MissingInputError(
            f"run {run.key}: the champion is {name} now, not what this model was compared with "
            f"({compared_with or 'none'}); {_judge_again(run)}"
        )


def _promotion_summary(run: Workspace, entry: Promotion, mae: float, promoted: bool) -> Summary:
    address = run.store.where(VERSIONS + entry.version)
    return {"version": entry.name, "model": address, "test_mae": mae, "promoted": promoted}
