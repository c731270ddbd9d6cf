"""What baseline and finetune share: train, save, predict, summarise."""

import json
from collections.abc import Sequence

import keras
import numpy as np

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
    splits, folder, out = read_splits(run), images_of(run), run.output_dir
    trained = fit(model, splits, folder, settings, config, run.cache, run.checkpoint_dir, also_cache)
    with timed("output"):
        trained.history.to_csv(out / "history.csv", index=False)
        curve = figures.learning_curve(trained.history, title=f"Learning curve: {name}")
        figures.save(curve, out / "learning_curve.png")
        (with_mirror(model) if config.augmentation.test_time_augmentation else model).save(out / "model.keras")

    predictions = {}
    for split in ("val", "test"):
        ages = predict_ages(model, splits[split], folder, run.cache, config).round(3)
        predictions[split] = splits[split][["file_name", "sha256"]].assign(age=ages)
        predictions[split].to_csv(out / f"{split}_predictions.csv", index=False)

    errors = predictions["test"]["age"].to_numpy() - splits["test"]["real_age"].to_numpy()
    metrics = {
        "test_mae": round(float(np.abs(errors).mean()), 3),
        "test_images": len(splits["test"]),
        "val_mae": round(trained.val_mae, 3),
        "best_epoch": trained.best_epoch,
        "epochs": len(trained.history),
    }
    (out / f"{name}_test_metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    return metrics | {"images_per_second": round(trained.images_per_second, 1)}
