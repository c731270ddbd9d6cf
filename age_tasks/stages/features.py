"""Compute frozen features of a share of the images before the trainings: the command `features`, one task of several.

It writes to the cache alone. `baseline`, `finetune` and `evaluate` find there what the shares have computed: both sides
call the same functions, `features_to_train` and `features_to_predict`, with the same networks.
"""

import logging
from collections.abc import Iterator

import pandas as pd

from age_tasks.config import Config
from age_tasks.data.shares import Share
from age_tasks.pipeline import PIPELINE, version_to_start_from
from age_tasks.registry.promotions import champion
from age_tasks.runs.records import Summary
from age_tasks.runs.run import Workspace
from age_tasks.runs.runner import would_be_reused
from age_tasks.stages._inputs import fetched_version, images_of, read_splits, scored_by_champion
from age_tasks.stages._networks import baseline_network, champion_network, start_from_champion
from age_tasks.stages.preconditions import require_unseen_splits
from age_tasks.training.features import Features
from age_tasks.training.fit import features_to_train
from age_tasks.training.inference import features_to_predict
from age_tasks.training.network import freeze, suffixes

log = logging.getLogger(__name__)

TRAININGS = ("baseline", "finetune")


def features_of_share(run: Workspace, config: Config, share: Share, again: bool = False) -> Summary:
    """Compute the features of the images whose content belongs to a share.

    Nothing is computed if both trainings are going to be reused from an earlier run. Features that do not fit into
    `compute.cache_budget_gb` are left out, as the trainings do.

    Args:
        run: with the splits.
        config: the settings of the run.
        share: which of the images in the splits.
        again: whether the trainings are executed even if earlier results could be reused.

    Returns:
        The share, how many features of its images are wanted, how many of these were computed, and without_room: at
        how many cuts none were, since all of them together have no room.

    Raises:
        MissingInputError: `split` has not finished.
        LabelsError: an image is not what it was in the snapshot.
        WeightsError: a network can't be loaded.
        SettingsError: the training shall start from a champion that is another network, averages another number, or has
            learned from images of the validation or test split.
    """
    if not again and would_be_reused({name: PIPELINE[name].needs for name in TRAININGS}, run, config):
        log.info("both trainings are reused from an earlier run: no features are needed")
        return {"share": str(share), "wanted": 0, "computed": 0, "without_room": 0}
    require_unseen_splits(run, config)
    found = list(_features(run, config, share))
    return {
        "share": str(share),
        "wanted": sum(each.images for each in found),
        "computed": sum(each.computed for each in found),
        "without_room": sum(each.caches.count(None) for each in found),
    }


def _features(run: Workspace, config: Config, share: Share) -> Iterator[Features]:
    """All that the later stages ask for: of the trainings, and of the champion on test images and new ones."""
    splits, folder = read_splits(run), images_of(run)
    model, finetune_cut = baseline_network(config)
    yield features_to_train(model, splits, folder, run.cache, config, (finetune_cut,), share)
    if not (entry := champion(run.store)):
        return
    version, manifest = fetched_version(entry, run)
    network, as_trained = champion_network(version, manifest, config)
    scored = scored_by_champion(splits, pd.read_csv(version / "trained_on.csv"))
    yield features_to_predict(network, scored, folder, run.cache, as_trained, share)
    if start := version_to_start_from(run, config):
        if start.version != entry.version:
            network, _ = champion_network(*fetched_version(start, run), config)
        seeds = config.finetune.seeds
        for number in range(len(suffixes(network)) or 1):  # all begin with the version itself if it is one network
            start_from_champion(model, network, start, seeds, number)
            freeze(model, config.finetune.last_layers)
            yield features_to_train(model, splits, folder, run.cache, config, share=share)
