"""Ages of images by a network, through the feature cache."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from age_tasks.config import Config
from age_tasks.data.image_folder import ImageFolder
from age_tasks.training.batches import FeatureBatches, streamed_batches
from age_tasks.training.features import cached_features
from age_tasks.training.hardware import use_xla
from age_tasks.training.network import (
    cut_point,
    suffix_model,
)


def predict_ages(
    model: keras.Model, table: pd.DataFrame, folder: ImageFolder, cache: Path, config: Config
) -> np.ndarray:
    """The model's ages for the rows of `table` (file_name, sha256), in years, shape (rows,).

    Through the feature cache where it has room; with test-time augmentation the mean of the image's and its mirror's.
    """
    cut, views = cut_point(model), 2 if config.augmentation.test_time_augmentation else 1
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
