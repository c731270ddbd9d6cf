"""What baseline and finetune share: train, save, predict, summarise."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from age_tasks.config import AugmentationSettings, Config, TrainingSettings
from age_tasks.data.splits import SPLITS
from age_tasks.reports import figures
from age_tasks.runs.records import Summary
from age_tasks.runs.run import Workspace
from age_tasks.stages._inputs import images_of, read_splits
from age_tasks.training.batches import FeatureBatches, streamed_batches
from age_tasks.training.features import cached_features
from age_tasks.training.fit import fit
from age_tasks.training.hardware import bfloat16, use_bfloat16
from age_tasks.training.inference import predict_ages
from age_tasks.training.learner import compile_for, learner_of, targets_of
from age_tasks.training.network import (
    cut_point,
    learning_model,
    with_mirror,
)

Splits = Mapping[str, pd.DataFrame]


def train_and_save(
    name: str,
    model: keras.Model,
    settings: TrainingSettings,
    config: Config,
    run: Workspace,
    also_cache: tuple[keras.KerasTensor, ...] = (),
) -> Summary:
    """Train the layers of `model` that are not frozen and keep the epoch with the lowest validation MAE.

    Writes `model.keras` (pixels to years), `history.csv`, `learning_curve.png`, `val_predictions.csv` and
    `test_predictions.csv` (file_name, sha256, age in years) and `<name>_test_metrics.json`. What is cut off goes on
    from its last finished epoch.

    Args:
        also_cache: further cuts to keep features of, when images are read anyway.
    """
    splits, folder, cut = read_splits(run), images_of(run), cut_point(model)
    wanted = pictures(splits, config.augmentation)
    features, *_ = cached_features(model, [cut, *also_cache], wanted, folder, run.cache, config.compute)
    network = learning_model(model, at=model.inputs[0] if features is None else cut)
    learner, strategy = learner_of(network, config.compute.mixed_precision)
    targets = targets_of(learner, settings)

    def batches(split: str, seed: int | None = None, views: int = 1) -> Any:
        table, size = splits[split], settings.batch_size
        if features is None:
            return streamed_batches(table, folder, model.inputs[0].shape[1], size, targets, seed, views)
        return FeatureBatches(features, table, size, targets, seed, views)

    with strategy.scope():
        compile_for(learner, settings, steps=-(-len(splits["train"]) // settings.batch_size), config=config)
    train = batches("train", settings.seed, config.augmentation.train_augmentations)
    with bfloat16(use_bfloat16(config.compute.mixed_precision)):
        history = fit(learner, train, batches("val"), settings, run.checkpoint_dir)
    if learner is not network:
        network.set_weights(learner.get_weights())
    history.to_csv(run.output_dir / "history.csv", index=False)
    figures.save(
        figures.learning_curve(history, title=f"Learning curve: {name}"), run.output_dir / "learning_curve.png"
    )
    (with_mirror(model) if config.augmentation.test_time_augmentation else model).save(run.output_dir / "model.keras")
    for split in ("val", "test"):
        ages = predict_ages(model, splits[split], folder, run.cache, config).round(3)
        splits[split][["file_name", "sha256"]].assign(age=ages).to_csv(
            run.output_dir / f"{split}_predictions.csv", index=False
        )
    summary = _summarise(name, ages, splits["test"], history, run.output_dir)
    return summary | {"images_a_second": round(len(splits["train"]) / history["seconds"].median(), 1)}


def pictures(splits: Splits, settings: AugmentationSettings) -> pd.DataFrame:
    """Every image that a training and its test will ask features of: columns file_name, sha256, view."""
    at_test = 2 if settings.test_time_augmentation else 1
    views = {"train": settings.train_augmentations, "val": at_test, "test": at_test}
    tables = [splits[name][["file_name", "sha256"]].assign(view=view) for name in SPLITS for view in range(views[name])]
    return pd.concat(tables, ignore_index=True)


def _summarise(name: str, ages: np.ndarray, test: pd.DataFrame, history: pd.DataFrame, out: Path) -> Summary:
    best = history.loc[history["val_mae"].idxmin()]
    summary = {
        "test_mae": round(float(np.abs(ages - test["real_age"].to_numpy()).mean()), 3),
        "test_images": len(test),
        "val_mae": round(float(best["val_mae"]), 3),
        "best_epoch": int(best["epoch"]),
        "epochs": len(history),
    }
    (out / f"{name}_test_metrics.json").write_text(json.dumps(summary, indent=2) + "\n")
    return summary
