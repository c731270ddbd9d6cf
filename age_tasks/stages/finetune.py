"""Train the last layers of the backbone together with the baseline's head, BatchNorm frozen.

Starts from this run's baseline, or with `finetune.start_from: champion` from the champion; where that averages several
networks, each seed from one of them. Writes `model.keras`
(raw pixels to years), `history.csv`, `learning_curve.png` and `finetune_test_metrics.json`; with several seeds
(`finetune.seeds`) also `seeds.csv` and `seed_histories.csv`.
"""

import logging
from functools import partial

import keras

from age_tasks.config import Config
from age_tasks.registry.promotions import Promotion, champion, fetch_version
from age_tasks.runs.records import Summary
from age_tasks.runs.run import Workspace
from age_tasks.stages._networks import start_from_champion
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
        summary = train_and_save("finetune", untrained(0), config.finetune, config, run)
    return {**summary, "started_from": start.name if start else "baseline"}


def _untrained(start: Promotion | None, config: Config, run: Workspace, number: int) -> keras.Model:
    """The network as it is before training `number`, counted from 0, its first layers frozen."""
    model = load_network(run.input("baseline", "model.keras"))
    if start:
        start_from_champion(model, fetched_network(start, run), start, config.finetune.seeds, number)
    freeze(model, config.finetune.last_layers)
    return model


def fetched_network(entry: Promotion, run: Workspace) -> keras.Model:
    """The network of a published version.

    Raises:
        WeightsError: its model can't be loaded safely.
    """
    folder = run.scratch / "versions" / entry.version
    fetch_version(run.store, entry.version, folder)
    return load_network(folder / "model.keras")
