"""Train a new head on the frozen, ImageNet-pretrained backbone.

Writes `model.keras` (raw pixels to years), `history.csv`, `learning_curve.png`, the ages of validation and test images,
`baseline_test_metrics.json`, and `out_of_fold.csv`: an age for every image, by a regression on other images only.
"""

import keras
import numpy as np
import pandas as pd

from age_tasks.config import Config
from age_tasks.evaluation.label_issues import out_of_fold_ages
from age_tasks.runs.records import Summary
from age_tasks.runs.run import Workspace
from age_tasks.stages._inputs import images_of, read_splits
from age_tasks.stages._networks import baseline_network
from age_tasks.stages._train import train_and_save
from age_tasks.training.features import Cut, cached_features
from age_tasks.training.network import pooled
from age_tasks.training.streamed_features import StreamedFeatures


def execute(run: Workspace, config: Config) -> Summary:
    """Train and save the baseline; returns the stage's summary."""
    model, finetune_cut = baseline_network(config)
    summary = train_and_save("baseline", model, config.baseline, config, run, also_cache=(finetune_cut,))
    write_out_of_fold_ages(model, config, run)
    return summary


def write_out_of_fold_ages(model: keras.Model, config: Config, run: Workspace) -> None:
    """Write the ages by which `evaluate` finds label issues; nothing if there is no room for the features."""
    table = pd.concat(read_splits(run).values(), ignore_index=True)[["file_name", "sha256", "real_age"]]
    images, folder = table.assign(augmentation=0), images_of(run)
    (features,) = cached_features(model, [Cut(pooled(model), images)], folder, run.cache, config.compute).caches
    if features is None:
        return
    sha256s, order = table["sha256"].to_numpy(), np.arange(len(table))
    if isinstance(features, StreamedFeatures):  # it reads a shard as a whole
        order = np.array(features.reading_order(sha256s.tolist()))
    ages = out_of_fold_ages(
        lambda rows: features.rows(sha256s[order[rows]].tolist()),
        table["real_age"].to_numpy(),
        config.baseline.seed,
        order,
    )
    table.assign(other_age=ages.round(2)).to_csv(run.output_dir / "out_of_fold.csv", index=False)
