"""Publish the report always, and the model with its metrics and card when the gate and, if asked, a person say so.

Writes `report.html` with the verdict on top, `model_card.md` and `trained_on.csv`; the model becomes a version of the
registry, also as LiteRT where that gives the same ages, and the champion.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from age_tasks.config import Config
from age_tasks.environment import MLflowVariables
from age_tasks.errors import MissingInputError
from age_tasks.registry.approval import Approval, approval
from age_tasks.registry.promotions import (
    VERSIONS,
    champion,
    history,
    promote,
    publish_version,
    published_before,
)
from age_tasks.reports.model_report import model_card_from_run, report_from_run
from age_tasks.runs.records import Summary
from age_tasks.runs.run import Workspace
from age_tasks.serving.input_checks import usual
from age_tasks.serving.litert import COMPARED, contract, export_checked
from age_tasks.stages._inputs import images_of, read_splits
from age_tasks.store.base import file_sha256

SAMPLE = 500  # training pictures behind what is said of a new one


def execute(run: Workspace, config: Config) -> Summary:
    gate = json.loads(run.input("gate", "gate.json").read_text())
    files, splits, size = _files(run), read_splits(run), config.model.image_size
    evaluation = files["metrics.json"].parent
    said = approval() if gate["passed"] else None
    published = gate["passed"] and (said is None or said.approved)
    export = _export(run, splits["test"], size) if published else None
    files["report.html"].write_text(report_from_run(run, evaluation, gate, said, export))
    files["model_card.md"].write_text(model_card_from_run(run, evaluation, gate, export))
    trained_on(splits).to_csv(files["trained_on.csv"], index=False)
    report_key = f"reports/{run.key}.html"
    summary = {"published": published, "report": run.store.where(report_key)}
    if said:
        summary["approval"] = said.sentence
    if export:
        if export["file"]:
            files[export["file"]] = run.scratch / export["file"]
        facts = {"gate": gate, "augmentation": config.augmentation.model_dump(), "usual": _usual(run, size)}
        summary |= promote_candidate(run, files, facts | contract(size) | {"export": export}, said)
        summary["export"] = export["problem"] or f"same ages within {export['largest_difference']:.4f} years"
    run.store.put(report_key, files["report.html"])  # last: it says "published"
    if published and MLflowVariables.from_env().uri:
        _track(run, config, files, evaluation)
    return summary


def _files(run: Workspace) -> dict[str, Path]:
    """A version's files by name, some yet to be written; the metrics lie beside all that evaluate wrote."""
    evaluated = {name: run.input("evaluate", name) for name in run.require_record("evaluate").outputs}
    written = {name: run.output_dir / name for name in ("model_card.md", "report.html", "trained_on.csv")}
    return {"model.keras": run.input("finetune", "model.keras"), "metrics.json": evaluated["metrics.json"], **written}


def _track(run: Workspace, config: Config, files: Mapping[str, Path], evaluation: Path) -> None:
    """Log the version and its figures to MLflow, and who is the champion."""
    from age_tasks.registry.mlflow_mirror import log_champion, log_version

    version = published_before(run.store, file_sha256(files["model.keras"])).version
    histories = {stage: pd.read_csv(run.input(stage, "history.csv")) for stage in ("baseline", "finetune")}
    artifacts = {f"figures/{path.name}": path for path in sorted(evaluation.glob("*.png"))}
    artifacts |= {f"figures/{stage}.png": run.input(stage, "learning_curve.png") for stage in histories}
    artifacts |= {name if name == "report.html" else f"model/{name}": path for name, path in files.items()}
    metrics = json.loads(files["metrics.json"].read_text())
    log_version(version, config.to_dict(), metrics, histories, artifacts)
    log_champion(champion(run.store).version)


def trained_on(splits: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The images behind a version with their ages and splits, by which a later candidate is compared."""
    return pd.concat([table[["sha256", "real_age"]].assign(split=name) for name, table in splits.items()])


def _export(run: Workspace, test: pd.DataFrame, size: int) -> dict:
    """The model as LiteRT beside the run's other files, compared on its first test pictures."""
    pictures = [images_of(run).path(name) for name in test["file_name"].head(COMPARED)]
    return export_checked(run.input("finetune", "model.keras"), pictures, size, run.scratch / "model.tflite")


def _usual(run: Workspace, size: int) -> dict[str, float]:
    """What nearly all training pictures reach, by a sample of them."""
    train, folder = read_splits(run)["train"], images_of(run)
    sample = train["file_name"].sample(min(SAMPLE, len(train)), random_state=0)
    return usual((folder.path(name) for name in sample), size)


def promote_candidate(run: Workspace, files: Mapping[str, Path], facts: dict, said: Approval | None = None) -> Summary:
    """Make the files a version and the champion; a model that was promoted before stays what it is now.

    Args:
        said: a person's approval, which the promotion log then names.

    Returns:
        `version`, `model` (its address), `test_mae` (years), and `promoted`: whether this run made it the champion.

    Raises:
        MissingInputError: the champion is not the one that the candidate was compared with.
    """
    sha256 = file_sha256(files["model.keras"])
    metrics, now = json.loads(files["metrics.json"].read_text()), champion(run.store)
    mae = metrics["finetune"]["mae"]["value"]
    if known := published_before(run.store, sha256):
        where, promoted = run.store.where(VERSIONS + known.version), known == now and known.run == run.key
        return {"version": known.name, "model": where, "test_mae": mae, "promoted": promoted}
    compared = (metrics["champion"] or {}).get("version")
    lot = hashlib.sha256(f"{sha256} {compared}".encode()).hexdigest()[:8]  # compared anew, it is published anew
    version = f"{run.key}-{lot}"
    facts = {"run": run.key, "test_mae": mae, "interval": metrics["interval"]["groups"], **facts}
    where = publish_version(run.store, version, files, facts)
    log = history(run.store)  # again: people may have rolled back during the upload
    now = log[-1] if log else None
    if compared != (now.version if now else None):
        raise MissingInputError(
            f"run {run.key}: the champion is {now.name if now else 'none'} now, not what this model was compared with "
            f"({compared or 'none'}); run evaluate, gate and publish again (--run {run.key}, or clear them in Airflow)"
        )
    why = "; ".join([f"gate {facts['gate']['verdict']}", *([said.sentence] if said else [])])
    entry = promote(run.store, version, why, run.key, said.who if said else None, seen=log)
    return {"version": entry.name, "model": where, "test_mae": mae, "promoted": True}
