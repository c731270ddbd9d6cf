"""The stages in order, and every fact about them that others need without importing them.

The DAG, the command line, the tables in the documentation and `prune` read it.
"""

import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from age_tasks.config import Config, SettingChange, changed_settings, config_from_stored
from age_tasks.garbage_collection import collection_paused
from age_tasks.registry.approval import approval_answer
from age_tasks.registry.decisions import Decision, InUse, put_decision
from age_tasks.registry.labels_acceptance import acceptance_of
from age_tasks.registry.promotions import Promotion, champion, history, manifest, model_to_beat
from age_tasks.runs.records import StageRecord, Summary
from age_tasks.runs.run import StoredRun, Workspace, record_of
from age_tasks.runs.runner import Needs
from age_tasks.store.base import file_sha256

USE_OF_LABELS = ("across_splits", "repeated_labels", "weight_column", "balance_ages")  # in the section `data`


class StageModule(Protocol):
    """What every module in `age_tasks.stages` offers."""

    def execute(self, run: Workspace, config: Config) -> Summary:
        """Write the stage's outputs into `run.output_dir`; return the numbers that people see."""
        ...


@dataclass(frozen=True)
class Stage:
    """One task of the DAG, one sub-command, one module in `age_tasks/stages/`.

    Args:
        needs: what its result depends on.
        does: one sentence for people.
        writes: its main outputs, for people.
        when_it_fails: what the person on call does; empty where nothing helps but the log.
        also_reads: sections of the settings that it reads beside those in `needs.settings`. They shape no result, or an
            extra input in `needs` stands for what is read of them.
        gpu: whether it computes with the network, and takes a GPU where there is one.
        tensorflow: whether it imports TensorFlow.
    """

    needs: Needs
    does: str
    writes: tuple[str, ...]
    when_it_fails: str = ""
    also_reads: tuple[str, ...] = ()
    gpu: bool = False
    tensorflow: bool = False

    @property
    def reads(self) -> tuple[str, ...]:
        """The sections of the settings that it reads."""
        return (*self.needs.settings, *self.also_reads)


# Inputs that a fingerprint has as the sha256 of their content: the same stage, executed once more, may write others.
FINETUNED = "finetune/model.keras"
METRICS = "evaluate/metrics.json"


def _content_of(output: str) -> dict[str, Callable[[StoredRun, Config], str | None]]:
    """A further input by its name, such as `finetune/model.keras`: the sha256 of this output."""
    stage, _, name = output.partition("/")
    return {output: lambda run, _: run.require_output(stage, name).sha256}


def champion_to_beat(run: StoredRun) -> Promotion | None:
    """The version that this run's fine-tuned model is compared with."""
    return model_to_beat(run.store, run.require_output("finetune", "model.keras").sha256)


def _champion_version(run: StoredRun, _: Config) -> str:
    return entry.version if (entry := champion_to_beat(run)) else ""


def version_to_start_from(run: StoredRun, config: Config) -> Promotion | None:
    """The version with whose weights `finetune` begins; None: it begins with this run's baseline.

    It is the champion; but where this same training has made the champion, what that began with: so a repeated run,
    whose model is the champion already, has the same result, and its stages are reused.

    Raises:
        NotFoundError: the champion's files are gone.
    """
    if config.finetune.start_from == "baseline" or not (now := champion(run.store)):
        return None
    began = _began_with(run, config, now)
    if began is None:
        return now
    return next((entry for entry in reversed(history(run.store)) if entry.version == began), None)


def _began_with(run: StoredRun, config: Config, made: Promotion) -> str | None:
    """The version, or empty for a baseline, with which the training of `made` began; None if it is another training.

    It is the same if it had the same images in the same splits, and the same settings.
    """
    maker = manifest(run.store, made.version).run
    trainings = {stage: record_of(run.store, maker, stage) for stage in ("baseline", "finetune")} if maker else {}
    for stage, record in trainings.items():
        settings = {section: config.section(section) for section in PIPELINE[stage].needs.settings}
        if not record or record.settings != settings:
            return None
    finetune = trainings.get("finetune")
    if not finetune or finetune.inputs.get("split") != run.require_record("split").fingerprint:
        return None
    return finetune.inputs.get("champion")


def _starting_version(run: StoredRun, config: Config) -> str | None:
    """The version that `finetune` starts from, empty as long as there is none; None if it shall start from no version.

    Another champion is another input: its weights are what a training goes on from.
    """
    if config.finetune.start_from == "baseline":
        return None
    return entry.version if (entry := version_to_start_from(run, config)) else ""


def _weights_file(_: StoredRun, config: Config) -> str | None:
    """The sha256 of the file of pretrained weights; empty while it is missing, which the stage reports; None: no file.

    A file of another content under the same name is another input.
    """
    path = config.model.weights_path
    if path is None:
        return None
    return file_sha256(path) if path.is_file() else ""


def _accepted_labels(run: StoredRun, _: Config) -> str:
    """The sha256 of the run's labels if a person has accepted them; else empty."""
    labels = run.require_output("snapshot", "labels.csv").sha256
    return labels if acceptance_of(run.store, labels) else ""


def _use_of_labels(_: StoredRun, config: Config) -> str:
    """The settings that say how `validate` and `split` read the columns of the snapshot."""
    return json.dumps({name: config.section("data")[name] for name in USE_OF_LABELS})


def _approval_answer(run: StoredRun, _: Config) -> str:
    return approval_answer()


def _gate_of_recipe(run: StoredRun, _: Config) -> str:
    """The recipe's bounds, beside which the gate shows those of the run."""
    return run.recipe().gate.model_dump_json()


def gate_decision(run: str, record: StageRecord) -> Decision:
    """The verdict in a record of the gate, as a decision about this run."""
    summary = record.summary
    champion = summary.get("champion")
    return Decision(
        run=run,
        by="gate",
        passed=summary["passed"],
        verdict=summary["verdict"],
        at=record.finished,
        test_mae=summary.get("candidate", {}).get("value"),
        champion=champion["name"] if champion else None,
        changed=summary.get("changed", ()),
    )


def _keep_verdict(run: StoredRun, record: StageRecord) -> None:
    in_use = run.require_record("evaluate").summary.get("in_use")
    decision = gate_decision(run.key, record)
    put_decision(run.store, decision.model_copy(update={"in_use": InUse.model_validate(in_use) if in_use else None}))


def settings_read(run: StoredRun) -> dict[str, Any]:
    """The sections of the settings as the stages of the run have read them, else as the run was started with them."""
    config = dict(run.settings().config)
    for stage in STAGES:
        if record := run.record(stage):
            config |= record.settings
    return config


def changed_settings_of(run: StoredRun) -> tuple[SettingChange, ...]:
    """The settings that the stages of the run have read, and differ from those of its recipe."""
    return changed_settings(config_from_stored(settings_read(run)), run.recipe())


def _enough_new_labels(run: Workspace, config: Config) -> None:
    preconditions = importlib.import_module("age_tasks.stages.preconditions")  # brings pandas
    preconditions.require_new_labels(run, config.data.min_new_labels)


def _usable_settings(run: Workspace, config: Config) -> None:
    preconditions = importlib.import_module("age_tasks.stages.preconditions")
    preconditions.require_usable_settings(run, config)


def _unseen_splits(run: Workspace, config: Config) -> None:
    preconditions = importlib.import_module("age_tasks.stages.preconditions")
    preconditions.require_unseen_splits(run, config)


# Rooms and files whose code shapes a result, relative to age_tasks/. Pages and plots of `validate` and of the trainings
# are no input of later stages: a change of their looks must not train anything again.
_LABELS = ("data", "expectations", "stages/_inputs.py")
_NETWORK = ("backbones.py", "backbones.csv", "training")
_TRAINING = (
    "data",
    *_NETWORK,
    "evaluation/label_issues.py",
    "stages/_inputs.py",
    "stages/_networks.py",
    "stages/_train.py",
)
_FINETUNING = (*_TRAINING, "stages/_ancestors.py", "stages/_seeds.py", "stages/finetune.py")
_EVALUATION = (
    "data",
    *_NETWORK,
    "evaluation",
    "reports",
    "serving",
    "stages/_ancestors.py",
    "stages/_inputs.py",
    "stages/_networks.py",
)

PIPELINE: dict[str, Stage] = {
    "snapshot": Stage(
        Needs(code=("data", "stages/_inputs.py", "stages/snapshot.py"), check=_usable_settings),
        does="freezes the labels and reads every image once",
        writes=("labels.csv", "snapshot.csv"),
        when_it_fails="the log names the file and line to correct",
        also_reads=("data", "evaluate", "model", "finetune", "compute"),
    ),
    "validate": Stage(
        Needs(
            ("snapshot",),
            ("validate",),
            code=(*_LABELS, "stages/validate.py"),
            extra={"acceptance": _accepted_labels, "labels": _use_of_labels},
            follows_previous=True,
        ),
        does="validates labels and images with Great Expectations, quarantines rows that fail",
        writes=("index.html", "accepted.csv", "quarantine.csv", "near_duplicates.csv", "audit/", "data_docs/"),
        when_it_fails="open the validation page that the log names; correct the labels, or accept them with "
        "`age-tasks labels accept`",
        also_reads=("data",),
    ),
    "split": Stage(
        Needs(
            ("validate",),
            ("split",),
            code=(*_LABELS, "stages/split.py"),
            extra={"labels": _use_of_labels},
            precondition=_enough_new_labels,
            follows_previous=True,
        ),
        does="assigns images to train, validation and test (70/15/15), stratified by age; earlier assignments stay",
        writes=("train.csv", "val.csv", "test.csv", "assignments.csv", "split_summary.json"),
        when_it_fails="too few labels for the age bins: label more, or use fewer bins",
        also_reads=("data",),
    ),
    "baseline": Stage(
        Needs(
            ("split",),
            ("model", "augmentation", "baseline"),
            code=(*_TRAINING, "stages/baseline.py"),
            extra={"weights": _weights_file},
            check=_unseen_splits,
        ),
        does="trains a new head on the frozen backbone",
        writes=("model.keras", "history.csv", "learning_curve.png", "baseline_test_metrics.json"),
        when_it_fails="weights can't be downloaded: give a file with `model.weights`",
        also_reads=("finetune", "compute"),
        gpu=True,
        tensorflow=True,
    ),
    "finetune": Stage(
        Needs(
            ("split", "baseline"),
            ("augmentation", "finetune"),
            code=_FINETUNING,
            extra={"champion": _starting_version},
        ),
        does="trains the last layers of the backbone too, BatchNorm frozen",
        writes=("model.keras", "history.csv", "learning_curve.png", "finetune_test_metrics.json"),
        when_it_fails="out of memory: a smaller `finetune.batch_size`",
        also_reads=("compute",),
        gpu=True,
        tensorflow=True,
    ),
    "evaluate": Stage(
        Needs(
            ("split", "baseline", "finetune"),
            ("evaluate",),
            code=(*_EVALUATION, "stages/evaluate.py"),
            extra={"champion": _champion_version} | _content_of("baseline/model.keras") | _content_of(FINETUNED),
        ),
        does="measures both models, and the champion, on the same test images; the champion also on all new images",
        writes=("metrics.json", "predictions.csv", "by_age.csv", "labels_to_look_at.csv", "error_in_use.csv"),
        when_it_fails="run it again",
        also_reads=("compute",),
        gpu=True,
        tensorflow=True,
    ),
    "gate": Stage(
        Needs(
            ("evaluate",),
            ("gate",),
            code=("evaluation", "registry/challenges.py", "stages/gate.py"),
            extra={"recipe": _gate_of_recipe} | _content_of(METRICS),
            afterwards=_keep_verdict,
        ),
        does="applies the promotion rules, each with its number and bound; a refusal is a result, not a failure",
        writes=("gate.json",),
    ),
    "publish": Stage(
        Needs(
            ("split", "baseline", "finetune", "evaluate", "gate"),
            ("card",),
            code=(*_EVALUATION, "stages/publish.py"),
            extra={"approval": _approval_answer} | _content_of(FINETUNED),
        ),
        does="writes the report always; publishes the model, its LiteRT export and its card if the gate passed",
        writes=("report.html", "a version in registry/", "an entry in the promotion log"),
        when_it_fails="the store can't be reached: run it again",
        tensorflow=True,
    ),
}
STAGES = tuple(PIPELINE)


@dataclass(frozen=True)
class SharedWork:
    """Work of a stage that several tasks do before it, each for a share of the images: one sub-command.

    Its results are in the cache, and the stage finds them there; it does itself what is left.

    Args:
        before: the stage, and so the place in the DAG.
        after: the stage whose outputs it reads; empty: it reads labels and images.
        does: one sentence for people.
        when_it_fails: what the person on call does.
        gpu: whether it computes with the network, and takes a GPU where there is one.
    """

    before: str
    after: str
    does: str
    when_it_fails: str
    gpu: bool = False


SHARED_WORK: dict[str, SharedWork] = {
    "probe": SharedWork(
        before="snapshot",
        after="",
        does="reads the images before `snapshot`, each task a share",
        when_it_fails="as `snapshot`; only the share that failed is repeated",
    ),
    "features": SharedWork(
        before="baseline",
        after="split",
        does="computes frozen features before the trainings, each task a share",
        when_it_fails="as `baseline`; only the share that failed is repeated",
        gpu=True,
    ),
}


def tasks_in_order() -> tuple[str, ...]:
    """The tasks of the retraining that there may be: all stages, shared work before them, and the approval."""
    before = {work.before: name for name, work in SHARED_WORK.items()}
    tasks = [task for stage in STAGES for task in (before.get(stage), stage) if task]
    return (*tasks[:-1], "approve", tasks[-1])


def load_stage(name: str) -> StageModule:
    """The stage's module; imported only when asked for, since some bring TensorFlow."""
    with collection_paused():
        module: StageModule = importlib.import_module(f"age_tasks.stages.{name}")
    return module
