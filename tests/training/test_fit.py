import json
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from age_tasks import progress
from age_tasks.config import Config, TrainingSettings
from age_tasks.errors import AgeTasksError
from age_tasks.store.files import FileStore
from age_tasks.training.batches import FeatureBatches
from age_tasks.training.callbacks import BestWeights
from age_tasks.training.feature_cache import FeatureCache, row_key
from age_tasks.training.fit import fit_learner
from age_tasks.training.learner import compile_for, targets_of
from age_tasks.training.remote_shards import RemoteShards
from age_tasks.training.rows import Rows
from age_tasks.training.streamed_features import StreamedFeatures
from age_tasks.training.streamed_shards import StreamedShards
from age_tasks.training.streams import Stream

CLOCK = ["seconds", "input_seconds"]  # columns that no two trainings share


@pytest.fixture
def data(tmp_path: Path) -> tuple[FeatureCache, pd.DataFrame]:
    """64 images of 8 features, two augmentations each; their age is a sum of the features."""
    rng = np.random.default_rng(1)
    features = rng.normal(size=(64, 8)).astype("float16")
    names = [f"{number:064x}" for number in range(64)]
    cache = FeatureCache(tmp_path / "features")
    cache.append(names, features)
    cache.append([row_key(name, 1) for name in names], -features)
    ages = 40 + 5 * features.astype("float32").sum(axis=1)
    return cache, pd.DataFrame({"sha256": names, "real_age": ages})


def network() -> keras.Model:
    keras.utils.set_random_seed(3)
    features = keras.Input((8,))
    some = keras.layers.Dropout(0.2, seed=5)(features)
    return keras.Model(features, keras.layers.Dense(1, bias_initializer=keras.initializers.Constant(40))(some))


def first(batches: Stream) -> tuple[Any, ...]:
    """The first batch: inputs, targets and, where rows have them, weights."""
    batch: tuple[Any, ...] = next(batches.dataset.as_numpy_iterator())
    return batch


class CutOff(FeatureBatches):
    """Batches that fail in the third epoch, as a killed process does."""

    def _read(self):
        for number, batch in enumerate(super()._read()):
            if self._epoch == 2 and number == 1:
                raise RuntimeError("killed")
            yield batch


@pytest.mark.parametrize(
    "settings",
    [
        TrainingSettings(epochs=5, learning_rate=0.05, batch_size=8),
        TrainingSettings(epochs=5, learning_rate=0.05, batch_size=8, schedule="cosine", ema_momentum=0.9),
        TrainingSettings(epochs=9, learning_rate=1.0, batch_size=8, early_stopping_patience=3, reduce_lr_patience=1),
    ],
    ids=["plain", "cosine and averaged", "stopped early"],
)
def test_an_interrupted_training_continues_to_the_same_result(data, settings: TrainingSettings, tmp_path: Path):
    cache, table = data

    def train(batches: type[FeatureBatches], folder: str) -> tuple[pd.DataFrame, list[np.ndarray]]:
        learner = network()
        compile_for(learner, settings, steps=8, config=Config())
        given = (cache, table, settings.batch_size, np.asarray)
        train, val = batches(*given, seed=1), FeatureBatches(*given)
        history = fit_learner(learner, train, val, settings, len(table), tmp_path / folder)
        return history, learner.get_weights()

    whole, weights = train(FeatureBatches, "whole")
    with pytest.raises(Exception, match="killed"):
        train(CutOff, "cut")
    resumed, after = train(FeatureBatches, "cut")
    pd.testing.assert_frame_equal(whole.drop(columns=CLOCK), resumed.drop(columns=CLOCK), rtol=1e-3)
    assert all(np.allclose(one, other, rtol=1e-3) for one, other in zip(weights, after, strict=True))
    finished, _ = train(CutOff, "cut")
    assert len(finished) == len(whole)


def test_the_weights_of_the_best_epoch_are_kept(data, tmp_path: Path):
    cache, table = data
    settings, learner = TrainingSettings(epochs=4, learning_rate=1.0, batch_size=8), network()
    compile_for(learner, settings, steps=8, config=Config())
    train, val = (FeatureBatches(cache, table, 8, np.asarray, seed=seed) for seed in (1, None))
    history = fit_learner(learner, train, val, settings, len(table), tmp_path / "x")
    kept = np.abs(learner.predict(val.dataset, verbose=0).ravel() - table["real_age"]).mean()
    assert kept == pytest.approx(history["val_mae"].min(), rel=1e-3)


def test_keras_writes_the_weights_of_an_epoch_once(data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The best ones are copied for the state: writing a network anew takes Keras a good tenth of a second."""
    cache, table = data
    settings, learner = TrainingSettings(epochs=4, learning_rate=0.05, batch_size=8), network()
    compile_for(learner, settings, steps=8, config=Config())
    train, val = (FeatureBatches(cache, table, 8, np.asarray, seed=seed) for seed in (1, None))
    written, write = list[str](), keras.Model.save_weights

    def save_weights(model: keras.Model, path: str) -> None:
        written.append(Path(path).name)
        write(model, path)

    monkeypatch.setattr(keras.Model, "save_weights", save_weights)
    history = fit_learner(learner, train, val, settings, len(table), tmp_path)
    best = [row == history["val_mae"][:number].min() for number, row in enumerate(history["val_mae"], start=1)]
    names = [f"epoch{number}.weights.h5" for number in range(1, 5)]
    assert any(best)
    assert written == ["next-best.weights.h5" if is_best else name for is_best, name in zip(best, names, strict=True)]
    assert [path.name for path in sorted(tmp_path.glob("epoch*"))] == names[-1:]


def test_the_best_weights_survive_a_process_killed_while_it_writes_better_ones(tmp_path: Path, monkeypatch):
    kept = BestWeights(tmp_path / "best.weights.h5", "val_mae")
    kept.set_model(network())
    kept.on_epoch_end(0, {"val_mae": 9.0})
    kept.on_epoch_end(1, {"val_mae": 9.5})

    def dies(path: str) -> None:
        Path(path).write_bytes(b"half of th")
        raise KeyboardInterrupt

    monkeypatch.setattr(kept.model, "save_weights", dies)
    with pytest.raises(KeyboardInterrupt):
        kept.on_epoch_end(2, {"val_mae": 8.0})
    learner = network()
    learner.load_weights(str(tmp_path / "best.weights.h5"))
    np.testing.assert_array_equal(learner.get_weights()[0], kept.model.get_weights()[0])


def test_the_state_of_an_earlier_version_is_discarded(data, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    former = {"epochs": 1, "stopped": False, "weights": "gone.weights.h5", "callbacks": {"KeepBest": {"best": 0.1}}}
    (tmp_path / "state.json").write_text(json.dumps(former))
    cache, table = data
    settings, learner = TrainingSettings(epochs=2, batch_size=8), network()
    compile_for(learner, settings, steps=8, config=Config())
    batches = (FeatureBatches(cache, table, 8, np.asarray, seed=seed) for seed in (1, None))
    with caplog.at_level("INFO"):
        history = fit_learner(learner, *batches, settings, len(table), tmp_path)
    assert history["epoch"].tolist() == [1, 2]
    assert "the training starts from the beginning" in caplog.text


@pytest.mark.parametrize("age", [np.nan, np.inf])
def test_a_diverged_training_names_the_setting_to_lower(data, age: float, tmp_path: Path):
    cache, table = data
    settings, learner = TrainingSettings(epochs=1, learning_rate=0.5), network()
    compile_for(learner, settings, steps=1, config=Config())
    train = FeatureBatches(cache, table, 8, np.asarray, seed=1)
    val = FeatureBatches(cache, table.assign(real_age=age), 8, np.asarray)
    with pytest.raises(AgeTasksError, match=r"lower learning_rate \(0\.5\)"):
        fit_learner(learner, train, val, settings, len(table), tmp_path / "x")


def test_order_and_augmentations_depend_on_seed_and_epoch_only(data):
    cache, table = data

    def first_batch(seed: int, epoch: int) -> np.ndarray:
        batches = FeatureBatches(cache, table, 8, np.asarray, seed=seed, augmentations=2)
        batches.start_at(epoch)
        return first(batches)[0]

    assert np.array_equal(first_batch(1, 2), first_batch(1, 2))
    assert not np.array_equal(first_batch(1, 2), first_batch(1, 3))
    assert not np.array_equal(first_batch(1, 2), first_batch(2, 2))


def test_the_expected_value_of_the_target_distribution_is_the_age():
    features = keras.Input((8,))
    distribution = keras.layers.Dense(101, "softmax", name="age_shares")(features)
    outputs = {"age_shares": distribution, "expected_age": keras.layers.Dense(1)(distribution)}
    learner = keras.Model(features, outputs)
    targets = targets_of(learner, TrainingSettings())(np.array([30.0, 55.5], dtype="float32"))
    assert targets["age_shares"].sum(axis=1) == pytest.approx([1, 1])
    assert targets["age_shares"] @ np.arange(101) == pytest.approx([30, 55.5], abs=1e-3)


def test_a_long_epoch_says_how_far_it_is(data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(progress.Progress.__init__, "__defaults__", (0.0,))  # every batch is due
    cache, table = data
    settings, learner, told = TrainingSettings(epochs=2, batch_size=8), network(), []
    compile_for(learner, settings, steps=8, config=Config())
    train, val = (FeatureBatches(cache, table, 8, np.asarray, seed=seed) for seed in (1, None))
    with progress.watched_by(told.append):
        history = fit_learner(learner, train, val, settings, len(table), tmp_path / "x")
    within = [status for status in told if status.done and status.done < status.total]
    assert {status.what for status in within} == {f"epoch {number} of at most 2, images" for number in (1, 2)}
    assert {status.total for status in within} == {len(table)}
    assert all(status.note.startswith("train MAE so far ") for status in within)
    assert [row["val_mae"] for row in told[-1].epochs] == history["val_mae"].tolist()
    assert told[-1].most_epochs == 2


class Slow(FeatureBatches):
    """Batches that take longer to read than to train on."""

    def _read(self):
        for batch in super()._read():
            time.sleep(0.05)
            yield batch


def test_an_epoch_says_how_long_it_waited_for_input(data, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    cache, table = data
    settings, learner = TrainingSettings(epochs=2, batch_size=8), network()
    compile_for(learner, settings, steps=8, config=Config())
    train, val = Slow(cache, table, 8, np.asarray, seed=1), FeatureBatches(cache, table, 64, np.asarray)
    with caplog.at_level("INFO"):
        history = fit_learner(learner, train, val, settings, len(table), tmp_path / "x")
    assert history["input_seconds"].between(0.3, history["seconds"]).all()  # of 0.4 that reading took
    last = history.iloc[-1]
    assert last["input_seconds"] > 0.5 * last["seconds"]  # the first epoch compiles
    assert "% of it waiting for input" in caplog.text
    assert train.waited + val.waited == pytest.approx(history["input_seconds"].sum(), abs=0.1)


@pytest.mark.parametrize("streamed", [False, True])
def test_what_has_more_weight_is_learnt(data, tmp_path: Path, streamed: bool):
    """Of two contradicting labels for each image, the one that counts more wins."""
    cache, table = data
    both = pd.concat([table.assign(real_age=20.0, weight=1.9), table.assign(real_age=60.0, weight=0.1)])
    settings, learner = TrainingSettings(epochs=80, learning_rate=0.05, batch_size=16), network()
    compile_for(learner, settings, steps=8, config=Config())
    train: Stream = FeatureBatches(cache, both, 16, np.asarray, seed=1)
    if streamed:
        remote = RemoteShards(FileStore(tmp_path / "remote"), "prefix")
        features = StreamedFeatures(tmp_path / "features", remote, cache.places(), (8,))
        train = StreamedShards(Rows(both, np.asarray, seed=1), 16, features)
    val = FeatureBatches(cache, table.assign(real_age=20.0), 16, np.asarray)
    history = fit_learner(learner, train, val, settings, len(both), tmp_path / "x")
    assert history["val_mae"].min() < 8


def test_batches_of_weighted_rows_have_weights_for_each_target(data):
    cache, table = data
    weighted = table.assign(weight=np.arange(len(table), dtype="float32"))
    _, ages, weights = first(FeatureBatches(cache, weighted, 8, np.asarray))
    assert (ages.tolist(), weights.tolist()) == (table["real_age"][:8].tolist(), list(range(8)))
    _, targets, weights = first(FeatureBatches(cache, weighted, 8, lambda years: {"a": years, "b": years}))
    assert targets.keys() == weights.keys()
    assert len(first(FeatureBatches(cache, table, 8, np.asarray))) == 2
