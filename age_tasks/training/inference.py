"""Ages of images by a network, through the feature cache."""

from pathlib import Path

import keras
import numpy as np
import pandas as pd

from age_tasks.config import ComputeSettings, Config
from age_tasks.data.image_folder import ImageFolder
from age_tasks.data.shares import WHOLE, Share
from age_tasks.training.batches import Source
from age_tasks.training.features import Cut, Features, cached_features
from age_tasks.training.network import cut_point, pooled, suffix_model
from age_tasks.training.prefix_engine import ROWS, FrozenNetwork


def predict_ages(
    model: keras.Model, table: pd.DataFrame, folder: ImageFolder, cache: Path, config: Config
) -> np.ndarray:
    """The model's ages for the rows of `table`, in years, float32 of shape (rows,).

    Uses features that are stored, or can be. With test-time augmentation an age is the mean of the predictions for
    the image and its mirror.

    Args:
        table: columns `file_name`, `sha256`.
        cache: the root of the local cache.

    Raises:
        LabelsError: an image that has to be read is not what it was in the snapshot.
    """
    (features,) = features_to_predict(model, table, folder, cache, config).caches
    network = suffix_model(model, at=model.inputs[0] if features is None else cut_point(model))
    source = Source(features, folder, model.inputs[0].shape[1])
    images, augmentations = table[["file_name", "sha256"]], config.augmentation.of_prediction
    forward = FrozenNetwork(network, config.compute, len(images) * augmentations)
    ages = np.zeros(len(images), "float32")
    for number in range(augmentations):
        (years,) = source.predict(forward, images.assign(augmentation=number), ROWS)
        ages += years.ravel() / augmentations
    return ages


def features_to_predict(
    model: keras.Model, table: pd.DataFrame, folder: ImageFolder, cache: Path, config: Config, share: Share = WHOLE
) -> Features:
    """The features that `predict_ages` begins with; see `cached_features`.

    Args:
        table: columns `file_name`, `sha256`.
        cache: the root of the local cache.
        share: of which images they are computed.
    """
    images = table[["file_name", "sha256"]]
    wanted = pd.concat([images.assign(augmentation=number) for number in range(config.augmentation.of_prediction)])
    return cached_features(model, [Cut(cut_point(model), wanted)], folder, cache, config.compute, share)


def ages_and_features(
    model: keras.Model, table: pd.DataFrame, folder: ImageFolder, cache: Path, settings: ComputeSettings
) -> tuple[np.ndarray, np.ndarray]:
    """The model's ages for the rows of `table`, and the pooled features from which its head computes them.

    Args:
        table: columns `file_name`, `sha256`.
        cache: the root of the local cache.

    Returns:
        Years, float32 of shape (rows,), and features, float32 of shape (rows, width).

    Raises:
        LabelsError: an image is not what it was when it was read before.
    """
    cut, images = cut_point(model), table[["file_name", "sha256"]].assign(augmentation=0)
    (features,) = cached_features(model, [Cut(cut, images)], folder, cache, settings).caches
    start = model.inputs[0] if features is None else cut
    network = keras.Model(start, [model.outputs[0], pooled(model)])
    forward = FrozenNetwork(network, settings, len(images))
    ages, pooled_features = Source(features, folder, model.inputs[0].shape[1]).predict(forward, images, ROWS)
    return ages.ravel(), pooled_features
