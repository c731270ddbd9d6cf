import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from age_tasks.training.feature_cache import (
    FeatureCache,
    features_folder,
    image_of,
    incomplete_files,
    row_key,
    stored_shards,
)

ANN, BEN = "a" * 64, "b" * 64


def test_an_incomplete_shard_is_not_read(tmp_path: Path):
    cache = FeatureCache(tmp_path)
    cache.append(["a", "b"], np.arange(6, dtype="float16").reshape(2, 3))
    np.save(tmp_path / "crashed.npy", np.zeros((1, 3)))
    again = FeatureCache(tmp_path)
    assert again.rows(["b", "a"]).tolist() == [[3, 4, 5], [0, 1, 2]]
    assert "c" not in again


@pytest.mark.parametrize("suffix", [".npy", ".json"])
@pytest.mark.parametrize("left", [0, 0.9])
def test_a_truncated_shard_is_not_read(tmp_path: Path, suffix: str, left: float):
    folder = features_folder(tmp_path) / "prefix"
    FeatureCache(folder).append(["a", "b"], np.ones((2, 300), "float16"))
    FeatureCache(folder).append(["c"], np.full((1, 300), 3, "float16"))
    broken = next(path for path in folder.glob("*.json") if "a" in path.read_text()).with_suffix(suffix)
    os.truncate(broken, int(left * broken.stat().st_size))
    cache = FeatureCache(folder)
    assert ("a" in cache, "c" in cache) == (False, True)
    assert cache.rows(["c"]).tolist() == [[3] * 300]
    assert incomplete_files(tmp_path) == sorted([broken.with_suffix(".json"), broken.with_suffix(".npy")])


def test_an_index_without_its_features_is_not_read(tmp_path: Path):
    FeatureCache(tmp_path).append(["a"], np.ones((1, 3), "float16"))
    next(tmp_path.glob("*.npy")).unlink()
    assert "a" not in FeatureCache(tmp_path)


def test_two_runs_share_a_cache(tmp_path: Path):
    one, other = FeatureCache(tmp_path), FeatureCache(tmp_path)
    one.append(["a"], np.ones((1, 2), "float16"))
    other.append(["a", "b"], np.full((2, 2), 2, "float16"))
    both = FeatureCache(tmp_path)
    assert both.rows(["b"]).tolist() == [[2, 2]]
    assert both.rows(["a"]).tolist() in ([[1, 1]], [[2, 2]])


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_reading_does_not_fill_memory(tmp_path: Path):
    cache = FeatureCache(tmp_path)
    for shard in range(8):
        cache.append([f"{shard} {row}" for row in range(64)], np.zeros((64, 1 << 18), "float16"))  # 32 MiB each
    before = _resident()
    for row in range(64):
        cache.rows([f"{shard} {row}" for shard in range(8)])
    assert _resident() - before < 64 << 20  # of 256 MiB read


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted in /proc")
def test_many_shards_hold_no_files_open(tmp_path: Path):
    cache, before = FeatureCache(tmp_path), _open_files()
    for run in range(64):
        cache.append([f"{run}"], np.full((1, 3), run, "float16"))
    assert cache.rows(["63", "0"]).tolist() == [[63] * 3, [0] * 3]
    assert _open_files() == before


def test_keys_of_images_and_mirrors_are_those_of_existing_caches(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("age_tasks.training.feature_cache.VERSION", "7")
    assert row_key(ANN, 0) == ANN
    assert row_key(ANN, 1) == f"{ANN} 1.1"
    assert row_key(ANN, 2) == f"{ANN} 7.2"
    assert {image_of(row_key(ANN, number)) for number in range(4)} == {ANN}


def test_rows_of_an_image_are_removed_with_its_augmentations(tmp_path: Path):
    folder = features_folder(tmp_path) / "prefix"
    keys = [ANN, BEN, row_key(ANN, 1), row_key(BEN, 5)]
    FeatureCache(folder).append(keys, np.arange(8, dtype="float16").reshape(4, 2))
    FeatureCache(folder).append([row_key(ANN, 2)], np.ones((1, 2), "float16"))
    assert sorted(len(shard.rows_of({ANN})) for shard in stored_shards(tmp_path)) == [1, 2]
    for shard in stored_shards(tmp_path):
        shard.remove_images({ANN})
    left = FeatureCache(folder)
    assert [key in left for key in (*keys, row_key(ANN, 2))] == [False, True, False, True, False]
    assert left.rows([BEN, row_key(BEN, 5)]).tolist() == [[2, 3], [6, 7]]
    assert len(list(folder.iterdir())) == 2  # one shard: its features and its index
    assert incomplete_files(tmp_path) == []


def test_a_shard_without_the_image_is_left_alone(tmp_path: Path):
    FeatureCache(features_folder(tmp_path) / "prefix").append([BEN], np.ones((1, 2), "float16"))
    (shard,) = stored_shards(tmp_path)
    shard.remove_images({ANN})
    assert list(stored_shards(tmp_path)) == [shard]


def test_unfinished_files_are_listed(tmp_path: Path):
    folder = features_folder(tmp_path) / "prefix"
    FeatureCache(folder).append([ANN], np.ones((1, 2), "float16"))
    np.save(folder / "crashed.npy", np.zeros((1, 2)))
    (folder / ".tmp-x").write_bytes(b"half")
    assert incomplete_files(tmp_path) == [folder / ".tmp-x", folder / "crashed.npy"]


def test_an_empty_cache_has_no_shards(tmp_path: Path):
    assert list(stored_shards(tmp_path)) == []
    assert incomplete_files(tmp_path) == []


def test_the_feature_cache_imports_without_tensorflow():
    code = (
        "import sys, age_tasks.training.feature_cache; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
