"""What baseline and finetune share: train, save, predict, summarise."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from age_tasks.config import Config, TrainingSettings
from age_tasks.reports import figures
from age_tasks.runs.records import Summary
from age_tasks.runs.run import Workspace
from age_tasks.stages._inputs import images_of, read_splits
from age_tasks.stopwatch import timed
from age_tasks.training.fit import fit
from age_tasks.training.inference import predict_ages
from age_tasks.training.network import with_mirror


def train_and_save(
    name: str,
    model: keras.Model,
    settings: TrainingSettings,
    config: Config,
    run: Workspace,
    also_cache: Sequence[keras.KerasTensor] = (),
) -> Summary:
    """Train the layers of `model` that are not frozen and write the result into the stage's folder.

    Writes `model.keras` (pixels to years), `history.csv`, `learning_curve.png`, `val_predictions.csv` and
    `test_predictions.csv` (file_name, sha256, age in years) and `<name>_test_metrics.json`.

    Args:
        also_cache: further tensors of `model` to cache features of, while the images are read anyway.
    """
    splits, folder = read_splits(run), images_of(run)
    trained = fit(model, splits, folder, settings, config, run.cache, run.checkpoint_dir, also_cache)
    save_history(name, trained.history, run.output_dir)
    metrics = {
        **save_network(model, splits, config, run),
        "val_mae": round(trained.val_mae, 3),
        "best_epoch": trained.best_epoch,
        "epochs": len(trained.history),
    }
    save_metrics(name, metrics, run.output_dir)
    return metrics | {"images_per_second": round(trained.images_per_second, 1)}


def save_history(name: str, history: pd.DataFrame, out: Path) -> None:
    """Write the epochs of a training as `history.csv` and `learning_curve.png`."""
    with timed("output"):
        history.to_csv(out / "history.csv", index=False)
        figures.save(figures.learning_curve(history, title=f"Learning curve: {name}"), out / "learning_curve.png")


def save_network(
    model: keras.Model, splits: Mapping[str, pd.DataFrame], config: Config, run: Workspace
) -> dict[str, float]:
    """Write `model.keras` and the ages that it predicts; returns test_mae (years), test_images and val_mae."""
    folder, out, errors = images_of(run), run.output_dir, dict[str, float]()
    with timed("output"):
        (with_mirror(model) if config.augmentation.test_time_augmentation else model).save(out / "model.keras")
    both = pd.concat([splits["val"], splits["test"]])  # at once: each start of a network takes a while
    ages = predict_ages(model, both, folder, run.cache, config).round(3)
    for split, found in zip(("val", "test"), np.split(ages, [len(splits["val"])]), strict=True):
        predictions = splits[split][["file_name", "sha256"]].assign(age=found)
        predictions.to_csv(out / f"{split}_predictions.csv", index=False)
        errors[split] = float(np.abs(predictions["age"].to_numpy() - splits[split]["real_age"].to_numpy()).mean())
    return {
        "test_mae": round(errors["test"], 3),
        "test_images": len(splits["test"]),
        "val_mae": round(errors["val"], 3),
    }


def save_metrics(name: str, metrics: Mapping[str, Any], out: Path) -> None:
    """Write `<name>_test_metrics.json`."""
    (out / f"{name}_test_metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
