"""One training of the part of a network that learns, from cached features of the part that doesn't."""

import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from age_tasks.config import TrainingSettings
from age_tasks.errors import AgeTasksError
from age_tasks.store.disk import require_room
from age_tasks.training.batches import FeatureBatches
from age_tasks.training.callbacks import EpochLog, KeepBest, Resume
from age_tasks.training.hardware import KeepFreedMemory
from age_tasks.training.network import (
    EXPECTED_AGE,
    SHARES,
)

log = logging.getLogger(__name__)

KEPT = 8  # times the parameters: two best weights, and of two epochs the weights and Adam's two moments


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
