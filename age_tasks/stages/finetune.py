"""Train the last layers of the backbone together with the baseline's head, BatchNorm frozen.

Starts from this run's baseline, or with `finetune.start_from: champion` from the champion; where that averages several
networks, each seed from one of them. A champion that has learned from images of this run's validation or test split is
refused. Writes `model.keras` (raw pixels to years), `history.csv`, `learning_curve.png` and
`finetune_test_metrics.json`; with several seeds (`finetune.seeds`) also `seeds.csv` and `seed_histories.csv`.
"""

import logging
from functools import partial
from pathlib import Path

import keras

from age_tasks.config import Config
from age_tasks.registry.promotions import Promotion, find, history
from age_tasks.runs.records import Summary
from age_tasks.runs.run import Workspace
from age_tasks.stages._inputs import fetched_version
from age_tasks.stages._networks import start_from_champion
from age_tasks.stages._seeds import train_seeds_and_save
from age_tasks.stages._train import train_and_save
from age_tasks.stages.preconditions import require_unseen
from age_tasks.training.network import freeze, load_network

log = logging.getLogger(__name__)


def execute(run: Workspace, config: Config) -> Summary:
    """Fine-tune and save the model; returns the stage's summary."""
    start = _start(run)
    if config.finetune.start_from == "champion" and not start:
        log.warning("there is no champion yet: starting from this run's baseline")
    if start:
        require_unseen(run, start)
    file = fetched_file(start, run) if start else None
    untrained = partial(_untrained, start, file, config, run)
    if config.finetune.seeds > 1:
        summary = train_seeds_and_save(untrained, config, run)
    else:
        summary = train_and_save("finetune", untrained(0), config.finetune, config, run)
    return {**summary, "started_from": start.name if start else "baseline"}


def _start(run: Workspace) -> Promotion | None:
    """The version that the fine-tuning starts from, as its fingerprint says: the champion may change meanwhile."""
    version = run.inputs.get("champion")
    return find(history(run.store), version) if version else None


def _untrained(start: Promotion | None, file: Path | None, config: Config, run: Workspace, number: int) -> keras.Model:
    """The network as it is before training `number`, counted from 0, its first layers frozen.

    Args:
        start, file: the version that it starts from, and the file of its network; None to start from the baseline.
    """
    model = load_network(run.input("baseline", "model.keras"))
    if start and file:
        start_from_champion(model, load_network(file), start, config.finetune.seeds, number)
    freeze(model, config.finetune.last_layers)
    return model


def fetched_file(entry: Promotion, run: Workspace) -> Path:
    """The file of a published version's network, fetched with all others of the version."""
    folder, _ = fetched_version(entry, run)
    return folder / "model.keras"
