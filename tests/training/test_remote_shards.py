"""Shards of features exchanged between the caches of several machines."""

from pathlib import Path

import numpy as np
import pytest

from age_tasks.errors import StoreError
from age_tasks.store.base import Store
from age_tasks.store.files import FileStore
from age_tasks.training.feature_cache import FeatureCache, incomplete_files, remove_remote_images
from age_tasks.training.remote_shards import RemoteShards, complete_shards, delete_shard, incomplete_objects


def rows(*numbers: int) -> np.ndarray:
    """A row of features for each number."""
    return np.array([[number] * 3 for number in numbers], "float16")


def machine(root: Path, name: str, store: Store) -> FeatureCache:
    """The cache of a machine, opened anew."""
    return FeatureCache(root / name / "features" / "prefix", RemoteShards(store, "prefix"))


def test_what_one_machine_has_computed_another_fetches(store: Store, tmp_path: Path):
    machine(tmp_path, "a", store).append(["k1", "k2"], rows(1, 2))
    machine(tmp_path, "b", store).append(["k3"], rows(3))
    found = machine(tmp_path, "c", store)
    assert found.known() == {"k1", "k2", "k3"}
    assert "k1" not in found
    found.fetch(["k1", "k2"])
    assert np.array_equal(found.rows(["k2", "k1"]), rows(2, 1))
    assert "k3" not in found  # only shards that are wanted are fetched
    again = machine(tmp_path, "c", store)
    assert "k1" in again
    again.fetch(["k1", "k3", "unknown"])
    assert np.array_equal(again.rows(["k1", "k3"]), rows(1, 3))


def test_other_prefixes_are_others(tmp_path: Path):
    store = FileStore(tmp_path / "remote")
    machine(tmp_path, "a", store).append(["k1"], rows(1))
    other = FeatureCache(tmp_path / "b", RemoteShards(store, "other"))
    assert other.known() == set()


def test_nothing_is_stored_here_that_others_could_not_be_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = FileStore(tmp_path / "remote")

    def away(*_: object) -> None:
        raise StoreError("away")

    with monkeypatch.context() as patch:
        patch.setattr(FileStore, "put", away)
        with pytest.raises(StoreError):
            machine(tmp_path, "a", store).append(["k1"], rows(1))
    assert machine(tmp_path, "a", store).known() == set()
    assert incomplete_files(tmp_path / "a") == []


def test_a_shard_that_is_removed_is_computed_again(tmp_path: Path):
    store = FileStore(tmp_path / "remote")
    machine(tmp_path, "a", store).append(["k1"], rows(1))
    found = machine(tmp_path, "b", store)
    (index,) = complete_shards(store)
    delete_shard(store, index)
    found.fetch(["k1"])
    assert "k1" not in found
    assert store.list() == []


def test_of_an_image_that_is_forgotten_only_its_own_rows_go(store: Store, tmp_path: Path):
    machine(tmp_path, "a", store).append(["k1", "k2", "k2 1.1", "k3"], rows(1, 2, 21, 3))
    reader = machine(tmp_path, "reader", store)  # has listed the shard that goes
    (index,) = complete_shards(store)
    remove_remote_images(store, index, {"k2"})
    found = machine(tmp_path, "b", store)
    found.fetch(["k1", "k3"])
    assert found.known() == {"k1", "k3"}
    assert np.array_equal(found.rows(["k1", "k3"]), rows(1, 3))
    assert (incomplete_objects(store), len(store.list())) == ([], 2)
    reader.fetch(["k1"])
    assert "k1" not in reader  # computes it, and what it sends is complete too
    remove_remote_images(store, index, {"k2"})  # again: it is gone
    assert machine(tmp_path, "c", store).known() == {"k1", "k3"}
    (index,) = complete_shards(store)
    remove_remote_images(store, index, {"k1", "k3"})
    assert store.list() == []


def test_an_interrupted_removal_loses_no_row_and_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = FileStore(tmp_path / "remote")
    machine(tmp_path, "a", store).append(["k1", "k2"], rows(1, 2))
    (index,) = complete_shards(store)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(FileStore, "delete", killed)
        with pytest.raises(KeyboardInterrupt):
            remove_remote_images(store, index, {"k2"})
    assert machine(tmp_path, "b", store).known() == {"k1", "k2"}
    remove_remote_images(store, index, {"k2"})
    assert machine(tmp_path, "c", store).known() == {"k1"}


@pytest.mark.parametrize("content", [b"", b"[1]", b"{}"])
def test_a_damaged_index_counts_as_none(tmp_path: Path, content: bytes):
    store = FileStore(tmp_path / "remote")
    machine(tmp_path, "a", store).append(["k1"], rows(1))
    (index,) = complete_shards(store)
    store.put(index, content)
    assert machine(tmp_path, "b", store).known() == set()


def test_features_without_an_index_are_incomplete(tmp_path: Path):
    store = FileStore(tmp_path / "remote")
    machine(tmp_path, "a", store).append(["k1"], rows(1))
    (index,) = complete_shards(store)
    store.delete(index)
    assert incomplete_objects(store) == [index.replace(".json", ".npy")]
    assert machine(tmp_path, "b", store).known() == set()
