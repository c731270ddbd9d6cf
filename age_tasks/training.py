"""One training of the part of a network that learns, from cached features of the part that doesn't."""

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path

import keras
import pandas as pd

from age_tasks import figures
from age_tasks.backbones import cut_point
from age_tasks.config import TrainingSettings
from age_tasks.errors import AgeTasksError
from age_tasks.features import FeatureBatches, cached_features, suffix_model
from age_tasks.metrics import mae
from age_tasks.runs import Run, Summary
from age_tasks.splits import SPLITS

log = logging.getLogger(__name__)


def read_splits(run: Run) -> dict[str, pd.DataFrame]:
    """The run's `train`, `val` and `test` tables with columns file_name, real_age (years), sha256."""
    return {name: pd.read_csv(run.input("split", f"{name}.csv")) for name in SPLITS}


def train_and_save(
    name: str,
    model: keras.Model,
    splits: Mapping[str, pd.DataFrame],
    settings: TrainingSettings,
    run: Run,
    also_cache: tuple[keras.KerasTensor, ...] = (),
) -> Summary:
    """Train the layers of `model` that are not frozen and keep the epoch with the lowest validation MAE.

    Adam, MAE loss, early stopping and a lower rate at plateaus. Writes `model.keras` (pixels to years), `history.csv`,
    `learning_curve.png` and `<name>_test_metrics.json`.

    Args:
        also_cache: further cuts to keep features of, when images are read anyway.
    """
    folder = run.images()
    images = pd.concat([splits[split] for split in SPLITS])
    cut = cut_point(model)
    features, *_ = cached_features(model, [cut, *also_cache], images, folder, run.cache)

    def batches(split: str, seed: int | None = None) -> FeatureBatches:
        table = splits[split]
        return FeatureBatches(
            features, table["sha256"].tolist(), table["real_age"].to_numpy(), settings.batch_size, seed
        )

    suffix = suffix_model(model, at=cut)
    history = _fit(suffix, batches("train", settings.seed), batches("val"), settings, run.scratch / "best.weights.h5")
    history.to_csv(run.out / "history.csv", index=False)
    figures.learning_curve(history, run.out / "learning_curve.png", title=f"Learning curve: {name}")
    model.save(run.out / "model.keras")
    return _measure(name, suffix, batches("test"), splits["test"], history, run.out)


def _fit(
    suffix: keras.Model, train: FeatureBatches, val: FeatureBatches, settings: TrainingSettings, best: Path
) -> pd.DataFrame:
    keras.utils.set_random_seed(settings.seed)
    # XLA, Keras' default, makes networks of depthwise convolutions several times slower on a CPU.
    suffix.compile(keras.optimizers.Adam(settings.learning_rate), loss="mae", metrics=["mae"], jit_compile=False)
    history = _History(settings.epochs)
    suffix.fit(
        train,
        validation_data=val,
        epochs=settings.epochs,
        shuffle=False,  # FeatureBatches shuffles, by seed
        verbose=0,
        callbacks=[
            keras.callbacks.ModelCheckpoint(str(best), "val_mae", save_best_only=True, save_weights_only=True),
            keras.callbacks.EarlyStopping("val_mae", patience=settings.early_stopping_patience),
            history,
            keras.callbacks.ReduceLROnPlateau(
                "val_mae", factor=settings.reduce_lr_factor, patience=settings.reduce_lr_patience
            ),
        ],
    )
    table = pd.DataFrame(history.rows)
    if table["val_mae"].isna().all():
        raise AgeTasksError(
            f"training diverged: val_mae is not a number; lower learning_rate {settings.learning_rate:g}"
        )
    suffix.load_weights(str(best))
    return table


def _measure(
    name: str,
    suffix: keras.Model,
    test: FeatureBatches,
    table: pd.DataFrame,
    history: pd.DataFrame,
    out: Path,
) -> Summary:
    ages = suffix.predict(test, verbose=0).ravel()
    best = history.loc[history["val_mae"].idxmin()]
    summary = {
        "test_mae": round(mae(table["real_age"].to_numpy(), ages), 3),
        "test_images": len(table),
        "val_mae": round(float(best["val_mae"]), 3),
        "best_epoch": int(best["epoch"]),
        "epochs": len(history),
    }
    (out / f"{name}_test_metrics.json").write_text(json.dumps(summary, indent=2) + "\n")
    return summary


class _History(keras.callbacks.Callback):
    """A row an epoch, and a line of progress."""

    def __init__(self, epochs: int):
        super().__init__()
        self.rows: list[dict[str, float]] = []
        self._epochs = epochs

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        seconds = time.perf_counter() - self._start
        rate = float(self.model.optimizer.learning_rate.numpy())
        row = {key: logs[key] for key in ("loss", "mae", "val_loss", "val_mae")}
        self.rows.append({"epoch": epoch + 1, **row, "learning_rate": rate, "seconds": round(seconds, 2)})
        log.info(
            "epoch %d of at most %d: train MAE %.2f, validation MAE %.2f years, %.0f s",
            epoch + 1,
            self._epochs,
            row["mae"],
            row["val_mae"],
            seconds,
        )
