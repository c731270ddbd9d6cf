"""Measure both models by their ages of the test images: MAE, RMSE, bias, CS@5, by age, with plots and worst errors.

Writes `metrics.json`, `by_age.csv`, `predictions.csv`, the plots and `report.html`.
"""

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd

from age_tasks import figures
from age_tasks.config import Config, EvaluateSettings
from age_tasks.images import ImageFolder, load_rgb
from age_tasks.metrics import by_age, mae, mae_difference, measure
from age_tasks.report import report_from_run
from age_tasks.runs import Run, Summary
from age_tasks.splits import read_splits

MODELS = ("baseline", "finetune")
WORST_FACES = 24


def run(run: Run, config: Config) -> Summary:
    splits, folder = read_splits(run), run.images()
    predictions = splits["test"][["file_name", "sha256", "real_age"]].copy()
    for name in MODELS:
        ages = pd.read_csv(run.input(name, "test_predictions.csv"), dtype={"file_name": "str"}, keep_default_na=False)
        predictions = predictions.merge(ages.rename(columns={"age": name}), validate="one_to_one")
    predictions.to_csv(run.out / "predictions.csv", index=False)
    metrics = summarise(predictions, float(splits["train"]["real_age"].median()), config.evaluate)
    (run.out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    ages = by_age(predictions, config.evaluate.bin_edges, MODELS)
    ages.to_csv(run.out / "by_age.csv", index=False)
    _draw(run, predictions, ages, folder)
    (run.out / "report.html").write_text(report_from_run(run, run.out, gate=None))
    return {
        "predict_the_median_mae": metrics["predict_the_median"]["mae"],
        **{f"{name}_mae": metrics[name]["mae"]["value"] for name in MODELS},
        "finetune_cs5": metrics["finetune"]["cs5"]["value"],
        "test_images": len(predictions),
    }


def summarise(predictions: pd.DataFrame, median_age: float, settings: EvaluateSettings) -> dict:
    """The content of `metrics.json`: each model's metrics with intervals, beside predicting the training median."""
    real = predictions["real_age"].to_numpy()
    baseline, finetune = (predictions[name].to_numpy() for name in MODELS)
    samples, seed = settings.bootstrap_samples, settings.seed
    return {
        "images": len(real),
        "median_age": median_age,
        "predict_the_median": {"mae": round(mae(real, np.full_like(real, median_age)), 4)},
        "baseline": measure(real, baseline, samples, seed),
        "finetune": measure(real, finetune, samples, seed),
        "difference": mae_difference(real, finetune, baseline, samples, seed),
    }


def _draw(run: Run, predictions: pd.DataFrame, ages: pd.DataFrame, folder: ImageFolder) -> None:
    figures.predicted_against_real(predictions, "finetune", run.out / "predicted_against_real.png")
    figures.error_by_age(ages, run.out / "error_by_age.png")
    figures.error_histogram(predictions, run.out / "error_histogram.png")
    errors = (predictions["finetune"] - predictions["real_age"]).abs()
    worst = predictions.loc[errors.sort_values(ascending=False, kind="stable").index[:WORST_FACES]]
    figures.face_sheet(
        _faces(worst, folder), run.out / "worst_errors.png", title="Largest errors: real → predicted age"
    )


def _faces(rows: pd.DataFrame, folder: ImageFolder) -> Sequence[tuple[np.ndarray, str]]:
    return [
        (load_rgb(folder.path(row.file_name), 112), f"{row.real_age:g} → {row.finetune:.0f}")
        for row in rows.itertuples()
    ]
