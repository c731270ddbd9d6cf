"""What is checked before hours are spent: settings that can't work, and whether enough labels are new."""

import logging

import pandas as pd

from age_tasks.config import Config
from age_tasks.errors import SettingsError, TooFewNewError
from age_tasks.registry.promotions import Promotion, champion, manifest
from age_tasks.runs.listing import previous_run
from age_tasks.runs.records import StageRecord
from age_tasks.runs.run import Workspace, record_of
from age_tasks.stages._ancestors import learned, trained_on_of
from age_tasks.stages._inputs import read_splits
from age_tasks.training.engines import require_engine
from age_tasks.training.pretrained import require_weights

log = logging.getLogger(__name__)

NETWORK = ("backbone", "image_size", "dense_units", "head")  # the settings that give a network its weights


def require_usable_settings(run: Workspace, config: Config) -> None:
    """Check what a training needs beside images: pretrained weights, the engine, and a champion of the same network.

    Raises:
        WeightsError: the pretrained weights are not there and can't be downloaded.
        SettingsError: the engine that computes frozen layers is not installed, or the training shall start from the
            champion, which is another network, or averages another number of networks than is trained.
    """
    require_weights(config.model)
    require_engine(config.compute.prefix_engine)
    if config.finetune.start_from == "champion":
        require_network_of_champion(run, config)


def require_network_of_champion(run: Workspace, config: Config) -> None:
    """Check that the champion's weights fit into the network that the settings describe, as far as the store tells.

    Raises:
        SettingsError: they don't.
    """
    start = champion(run.store)
    trainings = _trainings_of(run, start) if start else {}
    if start and "finetune" in trainings:
        summary = trainings["finetune"].summary
        averages = str(summary.get("kept", "")).startswith("average")
        require_as_many_networks(start, summary["seeds"] if averages else 0, config.finetune.seeds)
    theirs = trainings["baseline"].settings.get("model", {}) if "baseline" in trainings else {}
    ours = config.section("model")
    differing = [name for name in NETWORK if name in theirs and theirs[name] != ours[name]]
    if start and differing:
        told = "; ".join(f"model.{name} is {theirs[name]!r} there, {ours[name]!r} here" for name in differing)
        raise SettingsError(
            f"finetune.start_from = champion: the champion {start.name} is another network: {told}; start from the "
            "baseline (--set finetune.start_from=baseline), or train the champion's"
        )


def require_as_many_networks(start: Promotion, networks: int, seeds: int) -> None:
    """Check that a champion which averages networks is trained on as a whole.

    Args:
        networks: that it averages; 0 if it is a single one, with which each training may begin.
        seeds: the number of trainings.

    Raises:
        SettingsError: it averages another number.
    """
    if networks and networks != seeds:
        raise SettingsError(
            f"finetune.start_from = champion: the champion {start.name} is the average of {networks} networks, and "
            f"finetune.seeds is {seeds}; train all of them on (--set finetune.seeds={networks} "
            "finetune.combine=average), or start from the baseline (--set finetune.start_from=baseline)"
        )


def require_unseen_splits(run: Workspace, config: Config) -> None:
    """Check the same as `require_unseen`, where the training shall start from the champion and there is one.

    Raises:
        SettingsError: the champion has learned from images of this run's validation or test split.
    """
    if config.finetune.start_from == "champion" and (start := champion(run.store)):
        require_unseen(run, start)


def require_unseen(run: Workspace, start: Promotion) -> None:
    """Check that a version, and those that it started from, learned from none of the run's validation and test images.

    What a network has learned stays in its weights: its errors on these images would look too small.

    Raises:
        SettingsError: it learned from some; the message gives their numbers.
    """
    before, splits = learned(trained_on_of(run.store, start.version))["sha256"], read_splits(run)
    seen = {name: int(splits[name]["sha256"].isin(before).sum()) for name in ("test", "val")}
    if any(seen.values()):
        raise SettingsError(
            f"finetune.start_from = champion: the champion {start.name} has learned from {seen['test']} of the "
            f"{len(splits['test'])} test images and {seen['val']} of the {len(splits['val'])} validation images of run "
            f"{run.key}, whose errors would look too small; start from the baseline "
            "(--set finetune.start_from=baseline)"
        )


def _trainings_of(run: Workspace, start: Promotion) -> dict[str, StageRecord]:
    """The records of the trainings that made a version; without those that its run has executed once more since."""
    made = manifest(run.store, start.version)
    finetune = record_of(run.store, made.run, "finetune") if made.run else None
    if not made.run or not finetune or finetune.outputs.get("model.keras") != made.files["model.keras"]:
        return {}
    baseline = record_of(run.store, made.run, "baseline")
    if baseline and baseline.fingerprint == finetune.inputs.get("baseline"):
        return {"finetune": finetune, "baseline": baseline}
    return {"finetune": finetune}


def require_new_labels(run: Workspace, at_least: int) -> None:
    """Check that enough accepted images are new since the newest other run that finished a training.

    Args:
        at_least: new images; 0 checks nothing.

    Raises:
        TooFewNewError: there are fewer; the message gives their number.
    """
    trained = previous_run(run, "finetune") if at_least else None
    if trained is None:
        return
    new = count_new(run, trained)
    if new < at_least:
        raise TooFewNewError(
            f"{new} new labels since run {trained.key} was trained; at least {at_least} are required "
            "(data.min_new_labels). Nothing is trained; to train anyway, lower that, or start a run with `again`"
        )
    log.info("%d new labels since run %s was trained", new, trained.key)


def count_new(run: Workspace, trained: Workspace) -> int:
    """The number of images, by content, that `run` accepted and that `trained` had neither assigned nor left out."""
    accepted = pd.read_csv(run.input("validate", "accepted.csv"), usecols=["sha256"])["sha256"]
    known = ["assignments.csv", *({"left_out.csv"} & trained.require_record("split").outputs.keys())]
    seen = [pd.read_csv(trained.input("split", name), usecols=["sha256"])["sha256"] for name in known]
    return len(set(accepted).difference(*seen))
