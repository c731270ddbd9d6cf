"""Train the last layers of the backbone together with the baseline's head, BatchNorm frozen.

Starts from this run's baseline, or with `finetune.start_from: champion` from the champion. Writes `model.keras`
(raw pixels to years), `history.csv`, `learning_curve.png` and `finetune_test_metrics.json`; with several seeds
(`finetune.seeds`) also `seeds.csv` and `seed_histories.csv`.
"""

import logging
from functools import partial

import keras

from age_tasks.config import Config
from age_tasks.errors import SettingsError
from age_tasks.registry.promotions import Promotion, champion, fetch_version
from age_tasks.runs.records import Summary
from age_tasks.runs.run import Workspace
from age_tasks.stages._networks import require_single
from age_tasks.stages._seeds import train_seeds_and_save
from age_tasks.stages._train import train_and_save
from age_tasks.training.network import freeze, load_network

log = logging.getLogger(__name__)


def execute(run: Workspace, config: Config) -> Summary:
    """Fine-tune and save the model; returns the stage's summary."""
    start = champion(run.store) if config.finetune.start_from == "champion" else None
    if config.finetune.start_from == "champion" and not start:
        log.warning("there is no champion yet: starting from this run's baseline")
    untrained = partial(_untrained, start, config, run)
    if config.finetune.seeds > 1:
        summary = train_seeds_and_save(untrained, config, run)
    else:
        summary = train_and_save("finetune", untrained(), config.finetune, config, run)
    return {**summary, "started_from": start.name if start else "baseline"}


def _untrained(start: Promotion | None, config: Config, run: Workspace) -> keras.Model:
    """The network as it is before the training, its first layers frozen."""
    model = load_network(run.input("baseline", "model.keras"))
    if start:
        take_weights(model, start, run)
    freeze(model, config.finetune.last_layers)
    return model


def take_weights(model: keras.Model, start: Promotion, run: Workspace) -> None:
    """Give `model` the weights of a published version.

    Raises:
        SettingsError: the version is another network, or the average of several.
        WeightsError: its model can't be loaded safely.
    """
    folder = run.scratch / "versions" / start.version
    fetch_version(run.store, start.version, folder)
    theirs = load_network(folder / "model.keras")
    require_single(theirs, start)
    ours, other = ([(weight.path, tuple(weight.shape)) for weight in each.weights] for each in (model, theirs))
    if ours != other or model.input_shape != theirs.input_shape:
        raise SettingsError(
            f"finetune.start_from = champion: the champion {start.name} is another network ({theirs.name}, "
            f"{len(other)} weights, images of {theirs.input_shape[1]} pixels) than this run's ({model.name}, "
            f"{len(ours)} weights, {model.input_shape[1]} pixels); start from the baseline "
            "(--set finetune.start_from=baseline), or train the champion's"
        )
    model.set_weights(theirs.get_weights())
