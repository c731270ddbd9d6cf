"""Training and prediction from features that stay in the exchange."""

import itertools
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from age_tasks.config import Config, TrainingSettings
from age_tasks.data.image_folder import ImageFolder
from age_tasks.errors import StoreError
from age_tasks.store.base import Store
from age_tasks.store.files import FileStore
from age_tasks.training import streamed_shards
from age_tasks.training.batches import Source
from age_tasks.training.feature_cache import FeatureCache, row_key
from age_tasks.training.fit import fit_learner
from age_tasks.training.learner import compile_for
from age_tasks.training.remote_shards import RemoteShards
from age_tasks.training.rows import Rows
from age_tasks.training.streamed_features import StreamedFeatures
from age_tasks.training.streamed_shards import StreamedShards

IMAGES, SHARD = 64, 8
SETTINGS = TrainingSettings(epochs=4, learning_rate=0.05, batch_size=8)
CLOCK = ["seconds", "input_seconds"]  # columns that no two trainings share


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """64 images, no two of the same age."""
    return pd.DataFrame({"sha256": [f"{number:064x}" for number in range(IMAGES)], "real_age": np.arange(IMAGES) + 1.0})


def feature(number: int, augmentation: int) -> np.ndarray:
    """The features of an image, which say of which augmentation they are."""
    return np.array([number + 1, augmentation, 0], "float16")


def opened(store: Store, local: Path) -> StreamedFeatures:
    """The features of the exchange as a machine finds them."""
    remote = RemoteShards(store, "prefix")
    return StreamedFeatures(local, remote, FeatureCache(local, remote).places(), (3,))


def filled(store: Store, local: Path) -> StreamedFeatures:
    """Two augmentations of every image, in shards of 8, as another machine has computed them."""
    features = opened(store, local)
    rows = [(number, augmentation) for augmentation in range(2) for number in range(IMAGES)]
    for start in range(0, len(rows), SHARD):
        shard = rows[start : start + SHARD]
        features.append([row_key(f"{n:064x}", a) for n, a in shard], np.stack([feature(n, a) for n, a in shard]))
    return opened(store, local)


def epoch_of(batches: StreamedShards, epoch: int = 0) -> tuple[np.ndarray, ...]:
    """What an epoch consists of: inputs, targets and, where there are some, weights."""
    batches.start_at(epoch)
    return tuple(np.concatenate(parts) for parts in zip(*batches.dataset.as_numpy_iterator(), strict=True))


@pytest.mark.parametrize("augmentations", [1, 2])
@pytest.mark.parametrize("seed", [None, 1], ids=["in order", "shuffled"])
def test_an_epoch_has_each_image_once_with_its_age_and_weight(store, table, tmp_path: Path, seed, augmentations: int):
    weighted = table.assign(weight=table["real_age"] / 2)
    batches = StreamedShards(Rows(weighted, np.asarray, seed, augmentations), 10, filled(store, tmp_path / "local"))
    inputs, ages, weights = epoch_of(batches, epoch=3)
    assert sorted(ages) == table["real_age"].tolist()
    assert np.array_equal(inputs[:, 0], ages)
    assert np.array_equal(weights, ages / 2)
    assert set(inputs[:, 1]) == set(range(augmentations if seed else 1))
    assert not [*tmp_path.glob("local/*")]


def test_order_and_augmentations_depend_on_seed_and_epoch_only(table, tmp_path: Path):
    """Shards have random names, which change nothing."""
    machines = [filled(FileStore(tmp_path / name / "remote"), tmp_path / name) for name in ("a", "b")]

    def inputs(machine: int, seed: int, epoch: int) -> list[list[float]]:
        return epoch_of(StreamedShards(Rows(table, np.asarray, seed, 2), 8, machines[machine]), epoch)[0].tolist()

    assert inputs(0, 1, 2) == inputs(0, 1, 2) == inputs(1, 1, 2)
    assert inputs(0, 1, 2) != inputs(0, 1, 3)
    assert inputs(0, 1, 2) != inputs(0, 2, 2)


def test_a_batch_is_of_several_shards(table, tmp_path: Path):
    batches = StreamedShards(Rows(table, np.asarray, 1), 8, filled(FileStore(tmp_path / "remote"), tmp_path / "local"))
    _, ages = epoch_of(batches)
    shards = {int(age - 1) // SHARD for age in ages[:8]}
    assert len(shards) >= streamed_shards.FEWEST // 2
    assert np.any(np.diff([age for age in ages if (age - 1) // SHARD == min(shards)]) < 0)  # rows of a shard, too


def test_targets_of_several_outputs_have_the_weight_each(table, tmp_path: Path):
    def targets(ages: np.ndarray) -> dict[str, np.ndarray]:
        return {"wide": np.repeat(ages[:, None], 5, axis=1), "age": ages}

    rows = Rows(table.assign(weight=2.0), targets)
    batches = StreamedShards(rows, 10, filled(FileStore(tmp_path / "remote"), tmp_path / "local"))
    _, wanted, weights = next(iter(batches.dataset))
    assert {name: tuple(each.shape) for name, each in wanted.items()} == {"wide": (10, 5), "age": (10,)}
    assert weights["wide"].numpy().tolist() == weights["age"].numpy().tolist() == [2.0] * 10


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.integers(0, 9), st.sampled_from([None, 1]))
@settings(deadline=None, max_examples=20)
def test_images_in_several_shards_come_once(tmp_path_factory: pytest.TempPathFactory, sizes, epoch: int, seed):
    """Whatever shards there are: of any size, with the same images, in any order."""
    root, numbers = tmp_path_factory.mktemp("shards"), itertools.cycle([0, 1, 2, 3, 4, 5, 6])
    features = opened(FileStore(root / "remote"), root / "local")
    for size in [7, *sizes]:
        if chosen := list(dict.fromkeys(itertools.islice(numbers, size))):
            features.append([row_key(f"{n:064x}", 0) for n in chosen], np.stack([feature(n, 0) for n in chosen]))
    table = pd.DataFrame({"sha256": [f"{n:064x}" for n in range(7)], "real_age": np.arange(7) + 1.0})
    for found in (features, opened(FileStore(root / "remote"), root / "local")):
        inputs, ages = epoch_of(StreamedShards(Rows(table, np.asarray, seed), 3, found), epoch)
        assert sorted(ages) == table["real_age"].tolist()
        assert np.array_equal(inputs[:, 0], ages)


def test_each_shard_is_read_once_in_an_epoch_and_few_are_read_ahead(table, tmp_path: Path, monkeypatch):
    features, read = filled(FileStore(tmp_path / "remote"), tmp_path / "local"), list[str]()
    get = RemoteShards.read
    monkeypatch.setattr(RemoteShards, "read", lambda shards, name: read.append(name) or get(shards, name))
    monkeypatch.setattr(streamed_shards, "MOST", 4)
    one_at_a_time = StreamedShards(Rows(table, np.asarray, 1), 1, features).dataset
    for _ in zip(range(3), one_at_a_time, strict=False):
        pass
    assert 2 <= len(read) <= 6  # of 8: two in turn, two ahead, one that begins when one of these has ended
    read.clear()
    epoch_of(StreamedShards(Rows(table, np.asarray, 1), 8, features))
    assert len(read) == len(set(read)) == IMAGES // SHARD


def test_shards_that_are_here_all_the_same_are_read_here(table, tmp_path: Path, monkeypatch):
    store = FileStore(tmp_path / "remote")
    FeatureCache(tmp_path / "local", RemoteShards(store, "prefix")).append(
        table["sha256"].tolist(), np.stack([feature(number, 0) for number in range(IMAGES)])
    )
    for key in store.list():
        store.delete(key)
    _, ages = epoch_of(StreamedShards(Rows(table, np.asarray, 1), 8, opened(store, tmp_path / "local")))
    assert sorted(ages) == table["real_age"].tolist()


def test_predictions_are_in_the_order_of_the_table(table, tmp_path: Path):
    shuffled = table.sample(frac=1, random_state=3).assign(file_name="", augmentation=1)
    source = Source(filled(FileStore(tmp_path / "remote"), tmp_path / "l"), ImageFolder(str(tmp_path), tmp_path), 8)
    (found,) = source.predict(lambda rows: [2 * rows], shuffled, 10)
    assert found[:, 0].tolist() == (2 * shuffled["real_age"]).tolist()
    assert set(found[:, 1]) == {2}


def test_rows_at_random_are_read_by_shard(table, tmp_path: Path):
    features = filled(FileStore(tmp_path / "remote"), tmp_path / "local")
    order = features.reading_order(table["sha256"].tolist())
    assert sorted(order) == list(range(IMAGES))
    assert features.rows(table["sha256"].iloc[order[::-3]].tolist())[:, 0].tolist() == [n + 1 for n in order[::-3]]


class CutOff(StreamedShards):
    """Batches that fail in the third epoch, as a killed process does."""

    def _shards(self):
        for number, shard in enumerate(super()._shards()):
            if self._epoch == 2 and number == 3:
                raise RuntimeError("killed")
            yield shard


def train(table: pd.DataFrame, features: StreamedFeatures, kind: type[StreamedShards], state: Path) -> pd.DataFrame:
    keras.utils.set_random_seed(3)
    inputs = keras.Input((3,))
    learner = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Dropout(0.2, seed=5)(inputs)))
    compile_for(learner, SETTINGS, steps=8, config=Config())
    train, val = (kind(Rows(table, np.asarray, seed, 2), 8, features) for seed in (1, None))
    return fit_learner(learner, train, val, SETTINGS, len(table), state)


def test_an_interrupted_training_continues_to_the_same_result(table, tmp_path: Path):
    features = filled(FileStore(tmp_path / "remote"), tmp_path / "local")
    whole = train(table, features, StreamedShards, tmp_path / "whole")
    with pytest.raises(tf.errors.OpError, match="killed"):
        train(table, features, CutOff, tmp_path / "cut")
    resumed = train(table, opened(FileStore(tmp_path / "remote"), tmp_path / "local"), StreamedShards, tmp_path / "cut")
    pd.testing.assert_frame_equal(whole.drop(columns=CLOCK), resumed.drop(columns=CLOCK), rtol=1e-4)


@pytest.mark.parametrize("damage", ["removed", "truncated"])
def test_a_shard_that_is_lost_during_a_training_is_named_and_computed_again(table, tmp_path: Path, damage: str):
    store = FileStore(tmp_path / "remote")
    features = filled(store, tmp_path / "local")
    lost = next(key for key in store.list() if key.endswith(".npy") and row_key(f"{0:064x}", 0) in _keys(store, key))
    loss: dict[str, Callable[[], None]] = {
        "removed": lambda: store.delete(lost),
        "truncated": lambda: store.put(lost, store.get(lost)[:-1]),
    }
    loss[damage]()
    with pytest.raises(StoreError, match=rf"{lost} was (removed after|damaged, and is).* run the stage again"):
        train(table, features, StreamedShards, tmp_path / "state")
    assert len(opened(store, tmp_path / "local").known()) == 2 * IMAGES - SHARD


def _keys(store: Store, features: str) -> str:
    return store.get(features.replace(".npy", ".json")).decode()
