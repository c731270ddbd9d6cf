"""Train a new head on the frozen, ImageNet-pretrained backbone.

Writes `model.keras` (raw pixels to years), `history.csv`, `learning_curve.png`, the ages of validation and test images,
`baseline_test_metrics.json`, and `out_of_fold.csv`: an age for every image by what all others say of such a face.
"""

import keras
import pandas as pd

from age_tasks.config import Config
from age_tasks.evaluation.label_issues import out_of_fold_ages
from age_tasks.runs.records import Summary
from age_tasks.runs.run import Workspace
from age_tasks.stages._inputs import images_of, read_splits
from age_tasks.stages._train import train_and_save
from age_tasks.training.features import cached_features
from age_tasks.training.network import build_model, cut_point, freeze, pooled


def execute(run: Workspace, config: Config) -> Summary:
    model = build_model(config.model, config.baseline.seed)
    freeze(model, config.finetune.last_layers)
    finetune_cut = cut_point(model)  # fine-tuning starts there; its features cost nothing more in the same pass
    freeze(model, 0)
    summary = train_and_save("baseline", model, config.baseline, config, run, also_cache=(finetune_cut,))
    write_out_of_fold_ages(model, config, run)
    return summary


def write_out_of_fold_ages(model: keras.Model, config: Config, run: Workspace) -> None:
    """Ages by which `evaluate` finds labels to look at; none where the features had no room in the cache."""
    table = pd.concat(read_splits(run).values(), ignore_index=True)[["file_name", "sha256", "real_age"]]
    folder = images_of(run)
    (cached,) = cached_features(model, [pooled(model)], table.assign(view=0), folder, run.cache, config.compute)
    if cached is None:
        return
    ages = out_of_fold_ages(
        lambda rows: cached.rows(table["sha256"].iloc[rows]), table["real_age"].to_numpy(), config.baseline.seed
    )
    table.assign(other_age=ages.round(2)).to_csv(run.output_dir / "out_of_fold.csv", index=False)
