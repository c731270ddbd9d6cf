"""One training of the part of a network that learns, from cached features of the part that doesn't."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from age_tasks.config import Config, TrainingSettings
from age_tasks.data.image_folder import ImageFolder
from age_tasks.data.splits import SPLITS
from age_tasks.errors import AgeTasksError
from age_tasks.evaluation.metrics import mae
from age_tasks.reports import figures
from age_tasks.runs.run import Run, Summary
from age_tasks.stages._inputs import read_splits
from age_tasks.store.disk import require_room
from age_tasks.training.batches import FeatureBatches, Targets, streamed_batches
from age_tasks.training.callbacks import EpochLog, KeepBest, Resume
from age_tasks.training.features import cached_features
from age_tasks.training.hardware import KeepFreedMemory, bfloat16, learner_of, use_bfloat16, use_xla
from age_tasks.training.network import (
    AGES,
    EXPECTED_AGE,
    SHARES,
    cut_point,
    learning_model,
    suffix_model,
    with_mirror,
)

log = logging.getLogger(__name__)

Splits = Mapping[str, pd.DataFrame]
KEPT = 8  # times the parameters: two best weights, and of two epochs the weights and Adam's two moments


def train_and_save(
    name: str,
    model: keras.Model,
    settings: TrainingSettings,
    config: Config,
    run: Run,
    also_cache: tuple[keras.KerasTensor, ...] = (),
) -> Summary:
    """Train the layers of `model` that are not frozen and keep the epoch with the lowest validation MAE.

    Writes `model.keras` (pixels to years), `history.csv`, `learning_curve.png`, `val_predictions.csv` and
    `test_predictions.csv` (file_name, sha256, age in years) and `<name>_test_metrics.json`. What is cut off goes on
    from its last finished epoch.

    Args:
        also_cache: further cuts to keep features of, when images are read anyway.
    """
    splits, folder, cut = read_splits(run), run.images(), cut_point(model)
    wanted = pictures(splits, config.views.training, config.views.prediction)
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
    train = batches("train", settings.seed, config.views.training)
    with bfloat16(use_bfloat16(config.compute.mixed_precision)):
        history = fit(learner, train, batches("val"), settings, run.resume)
    if learner is not network:
        network.set_weights(learner.get_weights())
    history.to_csv(run.out / "history.csv", index=False)
    figures.learning_curve(history, run.out / "learning_curve.png", title=f"Learning curve: {name}")
    (with_mirror(model) if config.views.prediction == 2 else model).save(run.out / "model.keras")
    for split in ("val", "test"):
        ages = predict_ages(model, splits[split], folder, run.cache, config).round(3)
        splits[split][["file_name", "sha256"]].assign(age=ages).to_csv(
            run.out / f"{split}_predictions.csv", index=False
        )
    summary = _summarise(name, ages, splits["test"], history, run.out)
    return summary | {"images_a_second": round(len(splits["train"]) / history["seconds"].median(), 1)}


def pictures(splits: Splits, training_views: int, prediction_views: int) -> pd.DataFrame:
    """Every picture that a training and its test will ask features of: columns file_name, sha256, view."""
    views = {"train": training_views, "val": prediction_views, "test": prediction_views}
    tables = [splits[name][["file_name", "sha256"]].assign(view=view) for name in SPLITS for view in range(views[name])]
    return pd.concat(tables, ignore_index=True)


def predict_ages(
    model: keras.Model, table: pd.DataFrame, folder: ImageFolder, cache: Path, config: Config
) -> np.ndarray:
    """The model's ages for the rows of `table` (file_name, sha256), in years, shape (rows,).

    Through the feature cache where it has room; with `views.prediction` 2 the mean of the picture and its mirror.
    """
    cut, views = cut_point(model), config.views.prediction
    wanted = pd.concat([table[["file_name", "sha256"]].assign(view=view) for view in range(views)])
    (features,) = cached_features(model, [cut], wanted, folder, cache, config.compute)
    network = suffix_model(model, at=model.inputs[0] if features is None else cut)
    network.jit_compile = use_xla(config.compute.xla)
    ages = []
    for view in range(views):
        rows = table.assign(view=view, real_age=0.0)
        if features is None:
            batches: Any = streamed_batches(rows, folder, model.inputs[0].shape[1], 32, np.asarray)
        else:
            batches = FeatureBatches(features, rows, 32, np.asarray)
        ages.append(network.predict(batches, verbose=0).ravel())
    return np.mean(ages, axis=0)


def targets_of(learner: keras.Model, settings: TrainingSettings) -> Targets:
    """A function from ages in years, shape (batch,), to what the learner's outputs are compared with.

    A head of age shares learns a normal distribution around the age (label distribution learning, Geng 2013) and, by
    its expected value (DEX, Rothe et al. 2015), the age itself.
    """
    if SHARES not in learner.output_names:
        return np.asarray

    def targets(ages: np.ndarray) -> dict[str, np.ndarray]:
        shares = np.exp(-0.5 * ((AGES[None, :] - ages[:, None]) / settings.label_sigma) ** 2)
        return {SHARES: (shares / shares.sum(axis=1, keepdims=True)).astype("float32"), EXPECTED_AGE: ages}

    return targets


def compile_for(learner: keras.Model, settings: TrainingSettings, steps: int, config: Config) -> None:
    """Adam, with weight decay and weight averaging where asked for; MAE loss, or that of age shares beside it."""
    rate: Any = settings.learning_rate
    if settings.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(
            rate / 10, steps * settings.epochs, alpha=0.1, warmup_target=rate, warmup_steps=max(steps // 4, 1)
        )
    average = {"use_ema": True, "ema_momentum": settings.ema_momentum} if settings.ema_momentum else {}
    optimizer = keras.optimizers.Adam(rate, weight_decay=settings.weight_decay or None, **average)
    losses: dict[str, Any] = {"loss": "mae", "metrics": ["mae"]}
    if SHARES in learner.output_names:
        losses = {
            "loss": {SHARES: "categorical_crossentropy", EXPECTED_AGE: "mae"},
            "loss_weights": {SHARES: 1.0, EXPECTED_AGE: settings.mae_weight},
            "metrics": {EXPECTED_AGE: ["mae"]},
        }
    learner.compile(optimizer, **losses, jit_compile=use_xla(config.compute.xla))


def fit(learner: keras.Model, train: Any, val: Any, settings: TrainingSettings, folder: Path) -> pd.DataFrame:
    """Fit a compiled model and leave it with the weights of the epoch with the lowest validation MAE.

    Args:
        train, val: batches, as `FeatureBatches` or `streamed_batches` give them.
        folder: where the state after each epoch is kept; what is found there is gone on from.

    Returns:
        A row an epoch: epoch, loss, mae, val_loss, val_mae (years), learning_rate, seconds.

    Raises:
        AgeTasksError: no epoch has a validation MAE.
        DiskFullError: there is no room for the state after an epoch.
    """
    require_room(folder, "AGE_CACHE", KEPT * 4 * learner.count_params())
    keras.utils.set_random_seed(settings.seed)
    monitor = f"val_{EXPECTED_AGE}_mae" if SHARES in learner.output_names else "val_mae"
    epochs, best = EpochLog(settings.epochs), folder / "best.weights.h5"
    going = [
        *([keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if settings.ema_momentum else []),
        KeepBest(best, monitor),
        keras.callbacks.EarlyStopping(monitor, patience=settings.early_stopping_patience, mode="min"),
        epochs,
    ]
    if settings.schedule == "plateau":
        patience = settings.reduce_lr_patience
        going.append(
            keras.callbacks.ReduceLROnPlateau(monitor, settings.reduce_lr_factor, patience=patience, mode="min")
        )
    resume = Resume(folder, going)
    done = resume.load(learner)
    if done < settings.epochs and not resume.stopped:
        if isinstance(train, FeatureBatches):
            train.start_at(done)
        learner.fit(
            train,
            validation_data=val,
            initial_epoch=done,
            epochs=settings.epochs,
            shuffle=False,  # the batches shuffle, by seed
            verbose=0,
            callbacks=[KeepFreedMemory(), *going, resume],
        )
    if all(np.isnan(row["val_mae"]) for row in epochs.rows):
        raise AgeTasksError(
            f"training diverged, no epoch has a validation MAE; lower learning_rate ({settings.learning_rate:g})"
        )
    learner.load_weights(str(best))
    return pd.DataFrame(epochs.rows)


def _summarise(name: str, ages: np.ndarray, test: pd.DataFrame, history: pd.DataFrame, out: Path) -> Summary:
    best = history.loc[history["val_mae"].idxmin()]
    summary = {
        "test_mae": round(mae(test["real_age"].to_numpy(), ages), 3),
        "test_images": len(test),
        "val_mae": round(float(best["val_mae"]), 3),
        "best_epoch": int(best["epoch"]),
        "epochs": len(history),
    }
    (out / f"{name}_test_metrics.json").write_text(json.dumps(summary, indent=2) + "\n")
    return summary
