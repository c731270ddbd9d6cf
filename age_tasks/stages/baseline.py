"""Train a new head on the frozen, ImageNet-pretrained backbone.

Writes `model.keras` (raw pixels to years), `history.csv`, `learning_curve.png` and `baseline_test_metrics.json`.
"""

from age_tasks.backbones import build_model, cut_point, freeze
from age_tasks.config import Config
from age_tasks.runs import Run, Summary
from age_tasks.training import train_and_save


def run(run: Run, config: Config) -> Summary:
    model = build_model(config.model, config.baseline.seed)
    freeze(model, config.finetune.last_layers)
    finetune_cut = cut_point(model)  # fine-tuning starts there; its features cost nothing more in the same pass
    freeze(model, 0)
    return train_and_save("baseline", model, config.baseline, config, run, also_cache=(finetune_cut,))
