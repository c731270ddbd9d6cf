"""One training: from cached features of the frozen prefix, the layers after it learn.

`fit` reads from top to bottom: features, learner, batches, epochs.
"""

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from age_tasks.config import AugmentationSettings, Config, TrainingSettings
from age_tasks.data.image_folder import ImageFolder
from age_tasks.data.shares import WHOLE, Share
from age_tasks.errors import AgeTasksError
from age_tasks.store.disk import require_room
from age_tasks.training.batches import Source
from age_tasks.training.callbacks import BestWeights, History, TrainingState
from age_tasks.training.crops import resident_pixels, with_crops
from age_tasks.training.features import Cut, Features, cached_features, keys_of
from age_tasks.training.folding import give_back
from age_tasks.training.hardware import KeepFreedMemory, bfloat16, use_bfloat16
from age_tasks.training.learner import compile_for, learner_of, targets_of
from age_tasks.training.network import AGE_DISTRIBUTION, EXPECTED_AGE, cut_point, learning_model, pooled
from age_tasks.training.rows import RandomCrops
from age_tasks.training.streams import StartEpoch, Stream

# The image and its mirror: from eight, a head alone is 0.05 years better, but each has to go through the whole network.
HEAD_AUGMENTATIONS = 2
CHECKPOINT_COPIES = 8  # of the parameters: two files of best weights, and of two epochs weights and Adam's two moments


@dataclass(frozen=True)
class Trained:
    """The result of a training.

    Args:
        model: pixels to years, with the weights of the best epoch.
        history: a row per epoch: epoch, loss, mae, val_loss, val_mae (years), learning_rate, seconds, input_seconds
            (of them, those in which the training waited for input).
        train_images: number of images in the training split.
    """

    model: keras.Model
    history: pd.DataFrame
    train_images: int

    @property
    def best_epoch(self) -> int:
        """The epoch with the lowest validation MAE, counted from 1."""
        return int(self.history["epoch"].iloc[self._best])

    @property
    def val_mae(self) -> float:
        """The lowest validation MAE, in years."""
        return float(self.history["val_mae"].iloc[self._best])

    @property
    def images_per_second(self) -> float:
        """Training images per second, by the median epoch."""
        return float(self.train_images / self.history["seconds"].median())

    @property
    def _best(self) -> int:
        return int(np.nanargmin(self.history["val_mae"]))


def fit(
    model: keras.Model,
    splits: Mapping[str, pd.DataFrame],
    folder: ImageFolder,
    settings: TrainingSettings,
    config: Config,
    cache: Path,
    checkpoint_dir: Path,
    also_cache: Sequence[keras.KerasTensor] = (),
) -> Trained:
    """Train the layers of `model` that are not frozen; it ends with the weights of the epoch of lowest validation MAE.

    An interrupted training continues after its last finished epoch.

    Args:
        splits: tables `train`, `val`, `test` with columns file_name, sha256, real_age (years). Of the test images
            features are cached, and nothing else is done with them.
        settings: of this training, a section of `config`.
        cache: the root of the local cache.
        checkpoint_dir: for the state after each epoch; a state found there is continued from.
        also_cache: further tensors of `model` to cache features of, while the images are read anyway.

    Raises:
        AgeTasksError: no epoch has a finite validation MAE.
        DiskFullError: there is no room for the state after an epoch.
        LabelsError: an image that has to be read is not what it was in the snapshot.
    """
    features, *_ = features_to_train(model, splits, folder, cache, config, also_cache).caches

    network = learning_model(model, at=model.inputs[0] if features is None else cut_point(model))
    learner, strategy = learner_of(network, config.compute.mixed_precision)
    targets = targets_of(learner, settings)
    source, size = Source(features, folder, model.inputs[0].shape[1]), settings.batch_size
    if crops := RandomCrops.of(settings):
        learner, source = _with_crops(learner, source, crops, splits, config)
    with strategy.scope():
        compile_for(learner, settings, steps=-(-len(splits["train"]) // settings.batch_size), config=config)

    train = source.batches(splits["train"], size, targets, settings.seed, _drawn(model, config.augmentation))
    val = source.batches(splits["val"], size, targets)
    with bfloat16(use_bfloat16(config.compute.mixed_precision)):
        history = fit_learner(learner, train, val, settings, len(splits["train"]), checkpoint_dir)
    if learner is not network:
        give_back(learner, network)
    return Trained(model, history, len(splits["train"]))


def _with_crops(
    learner: keras.Model, source: Source, crops: RandomCrops, splits: Mapping[str, pd.DataFrame], config: Config
) -> tuple[keras.Model, Source]:
    """The learner that cuts its images out of pixels, and where these come from: the GPU's memory if it can be."""
    seen, augmentations = {name: splits[name] for name in ("train", "val")}, config.augmentation
    keys = keys_of(images_to_cache(seen, augmentations, augmentations.train_augmentations))
    resident = resident_pixels(source.features, keys, source.size, config.compute)
    with learner.distribute_strategy.scope():
        return with_crops(learner, resident), replace(source, features=resident or source.features, crops=crops)


def features_to_train(
    model: keras.Model,
    splits: Mapping[str, pd.DataFrame],
    folder: ImageFolder,
    cache: Path,
    config: Config,
    also_cache: Sequence[keras.KerasTensor] = (),
    share: Share = WHOLE,
) -> Features:
    """The features that `fit` begins with, those at the cut of the training first; see `cached_features`.

    Args:
        splits: tables `train`, `val`, `test` with columns file_name, sha256.
        cache: the root of the local cache.
        also_cache: further tensors of `model` to cache features of, while the images are read anyway.
        share: of which images they are computed.
    """
    own, every = _drawn(model, config.augmentation), config.augmentation.train_augmentations
    wanted = [(cut_point(model), own), *((tensor, every) for tensor in also_cache)]
    cuts = [Cut(tensor, images_to_cache(splits, config.augmentation, count)) for tensor, count in wanted]
    return cached_features(model, cuts, folder, cache, config.compute, share)


def _drawn(model: keras.Model, settings: AugmentationSettings) -> int:
    """How many augmentations of an image the layers of `model` that are not frozen learn from."""
    head_alone = cut_point(model) is pooled(model)
    return min(settings.train_augmentations, HEAD_AUGMENTATIONS) if head_alone else settings.train_augmentations


def images_to_cache(
    splits: Mapping[str, pd.DataFrame], settings: AugmentationSettings, of_training: int
) -> pd.DataFrame:
    """The augmentations of every image of these splits: columns file_name, sha256, augmentation, split.

    Args:
        of_training: number of augmentations of a training image.
    """
    tables = [
        table[["file_name", "sha256"]].assign(augmentation=number, split=name)
        for name, table in splits.items()
        for number in range(of_training if name == "train" else settings.of_prediction)
    ]
    return pd.concat(tables, ignore_index=True)


def fit_learner(
    learner: keras.Model, train: Stream, val: Stream, settings: TrainingSettings, images: int, checkpoint_dir: Path
) -> pd.DataFrame:
    """Fit a compiled model; it ends with the weights of the epoch of lowest validation MAE.

    Args:
        train, val: batches of inputs and targets.
        images: in an epoch, to say how far it is.
        checkpoint_dir: for the state after each epoch; a state found there is continued from.

    Returns:
        A row per epoch, as in `Trained.history`.

    Raises:
        AgeTasksError: no epoch has a finite validation MAE.
        DiskFullError: there is no room for the state after an epoch.
        LabelsError, StoreError: a row that is streamed can't be read.
    """
    require_room(checkpoint_dir, "AGE_CACHE", CHECKPOINT_COPIES * 4 * learner.count_params())
    keras.utils.set_random_seed(settings.seed)
    metric = f"{EXPECTED_AGE}_mae" if AGE_DISTRIBUTION in learner.output_names else "mae"
    history = History(settings.epochs, metric, images, settings.batch_size, lambda: train.waited + val.waited)
    monitor = f"val_{metric}"
    callbacks, best = [*_schedule(settings, monitor), history], BestWeights(checkpoint_dir / "best.weights.h5", monitor)
    state = TrainingState(checkpoint_dir, best, callbacks)
    with _state_read(checkpoint_dir):
        done = state.load(learner)
    if done < settings.epochs and not state.stopped:
        with train.own_errors(), val.own_errors():
            learner.fit(
                train.dataset,
                validation_data=val.dataset,
                initial_epoch=done,
                epochs=settings.epochs,
                shuffle=False,  # the batches shuffle, by seed
                verbose=0,
                callbacks=[KeepFreedMemory(), StartEpoch(train), *callbacks, best, state],
            )
    if not any(np.isfinite(row["val_mae"]) for row in history.rows):
        raise AgeTasksError(
            "training diverged, no epoch has a finite validation MAE; lower learning_rate "
            f"({settings.learning_rate:g}): --set baseline.learning_rate or --set finetune.learning_rate"
        )
    with _state_read(checkpoint_dir):
        learner.load_weights(str(best.path))
    return pd.DataFrame(history.rows)


@contextlib.contextmanager
def _state_read(folder: Path) -> Iterator[None]:
    """Remove the state of a training that can't be read, as after a power cut: every later try would trip over it.

    Raises:
        AgeTasksError: there is such a state.
    """
    try:
        yield
    except (ValueError, OSError, KeyError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise AgeTasksError(
            f"the state of an interrupted training in {folder} is damaged ({type(error).__name__}); it was removed: "
            "run the stage again, which trains from the beginning"
        ) from None


def _schedule(settings: TrainingSettings, monitor: str) -> list[keras.callbacks.Callback]:
    """Weight averaging, early stopping and the learning rate, as the settings say."""
    callbacks = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if settings.ema_momentum else []
    callbacks.append(keras.callbacks.EarlyStopping(monitor, patience=settings.early_stopping_patience, mode="min"))
    if settings.schedule == "plateau":
        patience = settings.reduce_lr_patience
        callbacks.append(
            keras.callbacks.ReduceLROnPlateau(monitor, settings.reduce_lr_factor, patience=patience, mode="min")
        )
    return callbacks
