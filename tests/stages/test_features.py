"""Frozen features computed by several workers before the trainings."""

import itertools
import json
import shutil
import time
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pandas as pd
import pytest

from age_tasks.cli.app import main
from age_tasks.demo.synthetic_faces import Sample
from age_tasks.environment import Locations
from age_tasks.errors import MissingInputError
from age_tasks.registry.promotions import promote, publish_version
from age_tasks.runs.run import Workspace, open_run
from age_tasks.store import open_store
from age_tasks.training import features as module
from age_tasks.training.feature_cache import FeatureCache, stored_shards
from age_tasks.training.network import build_model, freeze
from tests.support.settings import point_at
from tests.support.shares import Killed, do_at_once, do_share, start_share, stored_features

RUN = "finished"
FEATURES = ("features", "--run", RUN)
SHORT = {"baseline.epochs": 1, "finetune.epochs": 1}
Capture = pytest.CaptureFixture[str]


class Trained(NamedTuple):
    """The store and cache of two trainings, their weights, and of how many images they computed features."""

    place: Path
    weights: list[np.ndarray]
    computed: int
    features: dict[str, dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def split(prepared: Workspace, sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder `runs` of a store with a run up to `split`."""
    runs = tmp_path_factory.mktemp("split") / "runs"
    shutil.copytree(prepared.store.where("runs"), runs)
    for later in ("baseline", "finetune", "evaluate", "gate", "publish"):
        shutil.rmtree(runs / RUN / later, ignore_errors=True)
    return runs


@pytest.fixture(scope="module")
def alone(split: Path, sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The trainings of the run as one worker does them."""
    place = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        start(patch, split, sample, place)
        return trained()


@pytest.fixture
def place(split: Path, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a copy of the run, and an empty cache."""
    start(monkeypatch, split, sample, tmp_path)
    return tmp_path


def start(patch: pytest.MonkeyPatch, split: Path, sample: Sample, place: Path) -> None:
    point_at(patch, place, sample.labels)
    patch.setenv("AGE_SET", json.dumps(SHORT))
    shutil.copytree(split, place / "store" / "runs")


def trained() -> Trained:
    """Execute both trainings here."""
    computed, compute = [], module._compute

    def count(network: keras.Model, cuts: list[Any], images: pd.DataFrame, *others: Any) -> None:
        computed.append(len(images))
        compute(network, cuts, images, *others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_compute", count)
        assert [main([stage, "--run", RUN]) for stage in ("baseline", "finetune")] == [0, 0]
    weights: list[np.ndarray] = []
    locations = Locations.from_env()
    with open_run(RUN, locations) as run:
        for stage in ("baseline", "finetune"):
            weights += keras.models.load_model(run.input(stage, "model.keras"), safe_mode=True).get_weights()
    return Trained(locations.cache.parent, weights, sum(computed), stored_features(locations.cache))


def equal(first: dict[str, dict[str, np.ndarray]], second: dict[str, dict[str, np.ndarray]]) -> bool:
    """Whether two caches hold the same rows."""
    assert {name: rows.keys() for name, rows in first.items()} == {name: rows.keys() for name, rows in second.items()}
    return all(np.array_equal(first[name][key], second[name][key]) for name, rows in first.items() for key in rows)


def test_one_worker_and_three_fill_the_cache_alike_and_train_the_same_model(
    place: Path, alone: Trained, capsys: Capture, monkeypatch: pytest.MonkeyPatch
):
    done = [do_share(capsys, monkeypatch, share, *FEATURES) for share in ("3/3", "1/3", "2/3")]
    assert alone.computed > 0
    assert sum(each["computed"] for each in done) == sum(each["wanted"] for each in done) == alone.computed
    assert equal(stored_features(place / "cache"), alone.features)
    again = trained()
    assert again.computed == 0
    assert equal(again.features, alone.features)
    assert all(np.array_equal(one, other) for one, other in zip(alone.weights, again.weights, strict=True))


def test_workers_at_once_and_one_of_them_killed(place: Path, alone: Trained):
    worker = start_share("1/3", *FEATURES)
    while worker.poll() is None and not [*place.glob("cache/features/*")]:
        time.sleep(0.01)
    worker.kill()
    worker.communicate()
    do_at_once(("1/3", "2/3", "3/3"), *FEATURES)
    assert equal(stored_features(place / "cache"), alone.features)


def test_augmentations_and_mirrors_are_those_of_the_trainings(
    place: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
):
    settings = {"augmentation.train_augmentations": 3, "augmentation.test_time_augmentation": True}
    monkeypatch.setenv("AGE_SET", json.dumps(SHORT | settings | {"finetune.last_layers": 12}))
    for share in ("2/2", "1/2"):
        do_share(capsys, monkeypatch, share, *FEATURES)
    drawn = [{key.partition(" ")[2] for key in rows} for rows in stored_features(place / "cache").values()]
    assert sorted(map(len, drawn)) == [2, 3]  # the baseline's head needs the images and their mirrors only
    assert trained().computed == 0


def test_a_share_that_was_killed_goes_on_after_its_last_shard(
    place: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "SHARD_ROWS", 8)
    store, count = FeatureCache.append, itertools.count()

    def killed(*arguments: Any) -> None:
        if next(count) == 4:  # each shard is of two cuts
            raise Killed
        store(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(FeatureCache, "append", killed)
        with pytest.raises(Killed):
            do_share(capsys, monkeypatch, "2/3", *FEATURES)
    assert sum(len(shard.keys) for shard in stored_shards(place / "cache")) == 32
    again = do_share(capsys, monkeypatch, "2/3", *FEATURES)
    assert again["computed"] == again["wanted"] - 16
    assert do_share(capsys, monkeypatch, "2/3", *FEATURES)["computed"] == 0
    assert stored_features(place / "cache")


def test_without_room_for_all_no_share_computes_any(
    place: Path, alone: Trained, capsys: Capture, monkeypatch: pytest.MonkeyPatch
):
    def budget(gigabytes: float) -> str:
        return f"compute.cache_budget_gb={gigabytes}"

    none = do_share(capsys, monkeypatch, "1/3", *FEATURES, "--set", budget(0))
    assert (none["computed"], none["without_room"]) == (0, 2)
    most = sum(row.nbytes for rows in alone.features.values() for row in rows.values())
    for share in ("1/3", "2/3", "3/3"):
        done = do_share(capsys, monkeypatch, share, *FEATURES, "--set", budget(0.75 * most / 1e9))
        assert done["without_room"] == 1
    assert len(stored_features(place / "cache")) == 1  # the small one, of the baseline


def test_workers_on_several_machines_exchange_what_they_have_computed(
    place: Path, alone: Trained, capsys: Capture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AGE_CACHE_REMOTE", str(place / "remote"))
    computed = 0
    for machine, shares in {"a": ("1/3", "3/3"), "b": ("2/3", "1/3")}.items():
        monkeypatch.setenv("AGE_CACHE", str(place / machine))
        computed += sum(do_share(capsys, monkeypatch, share, *FEATURES)["computed"] for share in shares)
    assert computed == alone.computed
    monkeypatch.setenv("AGE_CACHE", str(place / "another"))
    assert do_share(capsys, monkeypatch, "", *FEATURES)["computed"] == 0
    assert equal(stored_features(place / "another"), alone.features)


def test_beyond_the_budget_shares_fill_the_exchange_and_a_training_streams_from_it(
    place: Path, alone: Trained, capsys: Capture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AGE_CACHE_REMOTE", str(place / "remote"))
    monkeypatch.setenv("AGE_SET", json.dumps(SHORT | {"compute.cache_budget_gb": 0}))
    done = [do_share(capsys, monkeypatch, share, *FEATURES) for share in ("2/2", "1/2")]
    assert sum(each["computed"] for each in done) == alone.computed
    assert [each["without_room"] for each in done] == [0, 0]
    monkeypatch.setattr(module, "_compute", None)  # not called
    assert main(["baseline", "--run", RUN]) == 0
    assert not stored_features(place / "cache")
    found, wanted = (
        pd.read_csv(folder / "store" / "runs" / RUN / "baseline" / "out_of_fold.csv") for folder in (place, alone.place)
    )
    assert found["sha256"].tolist() == wanted["sha256"].tolist()
    assert (found["other_age"] - wanted["other_age"]).abs().max() < 0.05


def test_a_champion_of_another_network_has_its_features_too(
    place: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
):
    with open_run(RUN, Locations.from_env()) as run:
        champion = build_model(run.config().model, seed=9)
    freeze(champion, 40)
    first = next(layer for layer in champion.layers if layer.weights)
    first.set_weights([1.1 * each for each in first.get_weights()])
    champion.save(place / "model.keras")
    store, facts = open_store(Locations.from_env().store), {"run": "x", "test_mae": 6.5}
    facts["augmentation"] = {"train_augmentations": 1, "test_time_augmentation": True}
    (place / "trained_on.csv").write_text("sha256,real_age,split\n")  # every image is new to it
    publish_version(store, "other", {name: place / name for name in ("model.keras", "trained_on.csv")}, facts)
    promote(store, "other", "gate passed", run="x")
    monkeypatch.setenv("AGE_SET", json.dumps(SHORT | {"finetune.start_from": "champion"}))
    for share in ("1/2", "2/2"):
        do_share(capsys, monkeypatch, share, *FEATURES)
    assert len(stored_features(place / "cache")) == 4  # the last is the champion's own cut, for `evaluate`
    assert trained().computed == 0


def test_nothing_is_computed_for_trainings_that_are_reused(
    alone: Trained, capsys: Capture, monkeypatch: pytest.MonkeyPatch, sample: Sample, tmp_path: Path
):
    point_at(monkeypatch, alone.place, sample.labels)
    monkeypatch.setenv("AGE_CACHE", str(tmp_path))
    monkeypatch.setenv("AGE_SET", json.dumps(SHORT))
    assert do_share(capsys, monkeypatch, "1/3", *FEATURES)["wanted"] == 0
    assert not stored_features(tmp_path)
    assert do_share(capsys, monkeypatch, "1/3", *FEATURES, "--again")["computed"] > 0


def test_a_run_without_splits_is_named(
    tmp_path: Path, sample: Sample, capsys: Capture, monkeypatch: pytest.MonkeyPatch
):
    point_at(monkeypatch, tmp_path, sample.labels)
    assert main(["features"]) == MissingInputError.exit_code
    assert "features: no run in" in capsys.readouterr().err
