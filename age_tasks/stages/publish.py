"""Publish the report always, and the model with its metrics and card when the gate and, if asked, a person say so.

Writes `report.html` with the verdict on top, `model_card.md` and `trained_on.csv`; the model becomes a version of the
registry, and the champion.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from age_tasks.approval import Approval, approval
from age_tasks.config import Config
from age_tasks.errors import MissingInputError
from age_tasks.quality import usual
from age_tasks.registry import VERSIONS, champion, promote, publish_version, published_before
from age_tasks.report import model_card_from_run, report_from_run
from age_tasks.runs import Run, Summary
from age_tasks.splits import read_splits
from age_tasks.store import file_sha256

SAMPLE = 500  # training pictures behind what is said of a new one


def run(run: Run, config: Config) -> Summary:
    gate = json.loads(run.input("gate", "gate.json").read_text())
    evaluation = run.input("evaluate", "metrics.json").parent
    for name in run.finished("evaluate")["outputs"]:
        run.input("evaluate", name)
    files = {
        "model.keras": run.input("finetune", "model.keras"),
        "metrics.json": evaluation / "metrics.json",
        "model_card.md": run.out / "model_card.md",
        "report.html": run.out / "report.html",
        "trained_on.csv": run.out / "trained_on.csv",
    }
    said = approval() if gate["passed"] else None
    files["report.html"].write_text(report_from_run(run, evaluation, gate, said))
    files["model_card.md"].write_text(model_card_from_run(run, evaluation, gate))
    trained_on(read_splits(run)).to_csv(files["trained_on.csv"], index=False)
    report_key = f"reports/{run.key}.html"
    published = gate["passed"] and (said is None or said.approved)
    summary = {"published": published, "report": run.store.where(report_key)}
    if said:
        summary["approval"] = said.sentence
    if published:
        facts = {"gate": gate, "views": config.views.model_dump(), "usual": _usual(run, config.model.image_size)}
        summary |= promote_candidate(run, files, facts, said)
    run.store.put(report_key, files["report.html"])  # last: it says "published"
    return summary


def trained_on(splits: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The images behind a version with their ages and splits, by which a later candidate is compared."""
    return pd.concat([table[["sha256", "real_age"]].assign(split=name) for name, table in splits.items()])


def _usual(run: Run, size: int) -> dict[str, float]:
    """What nearly all training pictures reach, by a sample of them."""
    train, folder = read_splits(run)["train"], run.images()
    sample = train["file_name"].sample(min(SAMPLE, len(train)), random_state=0)
    return usual((folder.path(name) for name in sample), size)


def promote_candidate(run: Run, files: Mapping[str, Path], facts: dict, said: Approval | None = None) -> Summary:
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
    if compared != (now.version if now else None):
        raise MissingInputError(
            f"run {run.key}: the champion is {now.name if now else 'none'} now, not what this model was compared with "
            f"({compared or 'none'}); run evaluate, gate and publish again (--run {run.key}, or clear them in Airflow)"
        )
    version = f"{run.key}-{sha256[:8]}"
    facts = {"run": run.key, "test_mae": mae, "interval": metrics["interval"]["groups"], **facts}
    where = publish_version(run.store, version, files, facts)
    why = "; ".join([f"gate {facts['gate']['verdict']}", *([said.sentence] if said else [])])
    entry = promote(run.store, version, why, run.key, said.who if said else None)
    return {"version": entry.name, "model": where, "test_mae": mae, "promoted": True}
