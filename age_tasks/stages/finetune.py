"""Train the last layers of the backbone together with the baseline's head, BatchNorm frozen.

Writes `model.keras` (raw pixels to years), `history.csv`, `learning_curve.png` and `finetune_test_metrics.json`.
"""

import keras

from age_tasks.backbones import freeze
from age_tasks.config import Config
from age_tasks.runs import Run, Summary
from age_tasks.training import read_splits, train_and_save


def run(run: Run, config: Config) -> Summary:
    model = keras.models.load_model(run.input("baseline", "model.keras"), safe_mode=True)
    freeze(model, config.finetune.last_layers)
    return train_and_save("finetune", model, read_splits(run), config.finetune, run)
