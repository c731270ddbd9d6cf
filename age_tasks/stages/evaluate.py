"""Measure both models on the test images, and the champion on the same: MAE, RMSE, bias, CS@5, by age, worst errors.

Writes `metrics.json`, `by_age.csv`, `predictions.csv`, `labels_to_look_at.csv`, the plots and `report.html`.
"""

import json
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from age_tasks.config import Config, stored_augmentation
from age_tasks.data.decoding import load_rgb
from age_tasks.data.image_folder import ImageFolder
from age_tasks.evaluation.comparison import compare, population_stability
from age_tasks.evaluation.conformal import COVERAGE, bounds, group_of, half_widths
from age_tasks.evaluation.gate import FEW_IMAGES
from age_tasks.evaluation.label_issues import by_suspicion
from age_tasks.evaluation.metrics import MODELS, by_age, summarise
from age_tasks.pipeline import champion_to_beat
from age_tasks.registry.promotions import fetch_version
from age_tasks.reports import figures
from age_tasks.reports.face_sheets import WORST_FACES, largest_errors
from age_tasks.reports.model_report import report_from_run
from age_tasks.reports.safe_csv import as_csv
from age_tasks.runs.records import Summary
from age_tasks.runs.run import Run
from age_tasks.stages._inputs import images_of, read_splits, with_ages

LABELS_TO_LOOK_AT = 200  # rows of the file; the report shows the first as faces


def execute(run: Run, config: Config) -> Summary:
    splits, folder = read_splits(run), images_of(run)
    predictions = splits["test"][["file_name", "sha256", "real_age"]].copy()
    for name in MODELS:
        predictions = with_ages(run, name, "test", predictions)
    champion = against_champion(run, predictions, splits, config)
    (run.out / "predictions.csv").write_text(as_csv(predictions))
    metrics = summarise(predictions, float(splits["train"]["real_age"].median()), config.evaluate)
    metrics |= {"champion": champion, "quarantine_fraction": run.finished("validate")["summary"]["quarantine_fraction"]}
    validation = with_ages(run, "finetune", "val", splits["val"])
    metrics["interval"] = interval(validation, predictions, config.evaluate.bin_edges)
    (run.out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    ages = by_age(predictions, config.evaluate.bin_edges, [*MODELS, *(["champion"] if champion else [])])
    ages.to_csv(run.out / "by_age.csv", index=False)
    _draw(run, predictions, ages, metrics["interval"]["groups"], folder)
    _labels_to_look_at(run, folder)
    if champion:
        figures.difference_by_age(champion, run.out / "against_champion.png")
    (run.out / "report.html").write_text(report_from_run(run, run.out, gate=None))
    return {
        "predict_the_median_mae": metrics["predict_the_median"]["mae"],
        **{f"{name}_mae": metrics[name]["mae"]["value"] for name in MODELS},
        "finetune_cs5": metrics["finetune"]["cs5"]["value"],
        "test_images": len(predictions),
        **({"champion": champion["name"], "champion_mae": champion["champion_mae"]} if champion else {}),
    }


def interval(validation: pd.DataFrame, test: pd.DataFrame, edges: Sequence[float]) -> dict:
    """The 90 % interval by groups of predicted age, made from the validation images, and its coverage on the test's."""
    groups = half_widths(validation["real_age"].to_numpy(), validation["finetune"].to_numpy(), edges)
    predicted, real = test["finetune"].to_numpy(), test["real_age"].to_numpy()
    low, high = bounds(predicted, groups)
    covered, number = (low <= real) & (real <= high), group_of(predicted, edges)
    for at, group in enumerate(groups):
        inside = covered[number == at]
        group |= {"test_images": len(inside), "test_coverage": round(float(inside.mean()), 4) if len(inside) else None}
    return {"coverage": COVERAGE, "test_coverage": round(float(covered.mean()), 4), "groups": groups}


def against_champion(
    run: Run, predictions: pd.DataFrame, splits: Mapping[str, pd.DataFrame], config: Config
) -> dict | None:
    """Score the champion on the run's test images, by the same code, and compare; None before the first promotion.

    Adds the column `champion` to `predictions`. Test images that the champion was trained on would flatter it: they
    are counted, and left out of the comparison unless next to nothing would be left of it.
    """
    entry = champion_to_beat(run)
    if entry is None:
        return None
    # Only here, since it brings TensorFlow: a first run's ages were all predicted where the models were trained.
    from age_tasks.training.inference import predict_ages
    from age_tasks.training.network import load_network

    folder = run.scratch / "versions" / entry.version
    manifest = fetch_version(run.store, entry.version, folder)
    theirs = config.model_copy(update={"augmentation": stored_augmentation(manifest)})
    network = load_network(folder / "model.keras")
    predictions["champion"] = predict_ages(network, predictions, images_of(run), run.cache, theirs).round(3)
    before, now = pd.read_csv(folder / "trained_on.csv"), pd.concat(splits.values())
    seen = predictions["sha256"].isin(before.loc[before["split"] != "test", "sha256"])
    fair = predictions[~seen] if (~seen).sum() >= FEW_IMAGES else predictions
    edges = config.evaluate.bin_edges
    drift = population_stability(before["real_age"], now["real_age"], edges)
    figures.age_drift(before["real_age"], now["real_age"], drift, run.out / "age_drift.png", champion=entry.name)
    return {
        "version": entry.version,
        "name": entry.name,
        "seen_in_training": int(seen.sum()),
        "new_images": int((~now["sha256"].isin(before["sha256"])).sum()),
        "drift": round(drift, 4),
        **compare(fair, edges, config.evaluate.comparison_samples, config.evaluate.seed),
    }


def _draw(run: Run, predictions: pd.DataFrame, ages: pd.DataFrame, groups: Sequence[dict], folder: ImageFolder) -> None:
    figures.interval_held(predictions, "finetune", groups, run.out / "interval_held.png")
    figures.predicted_against_real(predictions, "finetune", run.out / "predicted_against_real.png")
    figures.error_by_age(ages, run.out / "error_by_age.png")
    figures.error_histogram(predictions, run.out / "error_histogram.png")
    faces = _faces(largest_errors(predictions), folder, "finetune", "{real:g} → {other:.0f}")
    figures.face_sheet(faces, run.out / "worst_errors.png", title="Largest errors: real → predicted age")


def _labels_to_look_at(run: Run, folder: ImageFolder) -> None:
    """The labels most at odds with their out-of-fold age, for a labeller to work through."""
    if "out_of_fold.csv" not in run.finished("baseline")["outputs"]:
        return  # its features had no room in the cache
    table = pd.read_csv(run.input("baseline", "out_of_fold.csv"), dtype={"file_name": "str"}, keep_default_na=False)
    suspects = by_suspicion(table).head(LABELS_TO_LOOK_AT)
    (run.out / "labels_to_look_at.csv").write_text(as_csv(suspects))
    faces = _faces(suspects.head(WORST_FACES), folder, "other_age", "{real:g}, or {other:.0f}?")
    figures.face_sheet(faces, run.out / "labels_to_look_at.png", title="Labels to look at: label, or other age?")


def _faces(rows: pd.DataFrame, folder: ImageFolder, other: str, caption: str) -> Sequence[tuple[np.ndarray, str]]:
    """The pictures of the rows, each with its real age and the one in the column `other` in its caption."""
    return [
        (load_rgb(folder.path(name), 112), caption.format(real=real, other=age))
        for name, real, age in zip(rows["file_name"], rows["real_age"], rows[other], strict=True)
    ]
