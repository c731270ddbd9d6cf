import os
import shutil
import uuid
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from age_tasks.config import ComputeSettings, Config, ModelSettings
from age_tasks.data.augmentation import load_view
from age_tasks.data.image_folder import ImageFolder
from age_tasks.demo.synthetic_faces import Sample, draw_sample
from age_tasks.errors import LabelsError
from age_tasks.store.base import file_sha256
from age_tasks.training import features
from age_tasks.training.feature_cache import FeatureCache
from age_tasks.training.features import cached_features
from age_tasks.training.inference import predict_ages
from age_tasks.training.network import build_model, cut_point, freeze

SIZE = 64


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return draw_sample(tmp_path_factory.mktemp("faces"), 40, seed=1)


@pytest.fixture(scope="module")
def table(faces: Sample) -> pd.DataFrame:
    labels = pd.read_csv(faces.labels)
    return labels.assign(sha256=[file_sha256(faces.images / name) for name in labels["file_name"]], view=0)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    model = build_model(ModelSettings(backbone="efficientnet_lite0", image_size=SIZE), seed=1)
    freeze(model, 30)
    return model


def files(cache: Path) -> set[str]:
    return {path.name for path in cache.rglob("*.npy")}


def test_features_are_computed_once(model, table, faces: Sample, tmp_path: Path, caplog):
    folder, cut = ImageFolder(str(faces.images), tmp_path), cut_point(model)
    (cache,) = cached_features(model, [cut], table.head(30), folder, tmp_path, ComputeSettings())
    before = files(tmp_path)
    with caplog.at_level("INFO"):
        (grown,) = cached_features(model, [cut], table, folder, tmp_path, ComputeSettings())
    assert "30 pictures in the cache, 10 to compute" in caplog.text
    assert before < files(tmp_path)
    assert np.array_equal(cache.rows(table["sha256"].head(30)), grown.rows(table["sha256"].head(30)))
    pixels = np.stack([_pixels(folder, name) for name in table["file_name"]])
    direct = np.asarray(keras.Model(model.inputs[0], cut)(pixels, training=False))
    assert np.abs(grown.rows(table["sha256"]).astype("float32") - direct).max() < 0.02 * np.abs(direct).max()


def _pixels(folder: ImageFolder, name: str) -> np.ndarray:
    from age_tasks.data.decoding import load_rgb

    return load_rgb(folder.path(name), SIZE).astype("float32")


@pytest.mark.parametrize("mirror", [False, True])
def test_cached_and_streamed_predictions_agree(model, table, faces: Sample, tmp_path: Path, mirror: bool, caplog):
    folder = ImageFolder(str(faces.images), tmp_path)
    config = Config().with_overrides({"augmentation.test_time_augmentation": mirror})
    cached = predict_ages(model, table, folder, tmp_path / "roomy", config)
    streamed = predict_ages(
        model, table, folder, tmp_path / "full", config.with_overrides({"compute.cache_budget_gb": 0})
    )
    assert "the feature cache is full" in caplog.text
    assert files(tmp_path / "roomy")
    assert not files(tmp_path / "full")
    assert np.abs(cached - streamed).max() < 0.05


def test_features_that_the_disk_has_no_room_for_are_not_kept(
    model, table, faces: Sample, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(features, "free_bytes", lambda folder: features.SPARE_BYTES)
    folder = ImageFolder(str(faces.images), tmp_path)
    assert cached_features(model, [cut_point(model)], table, folder, tmp_path, ComputeSettings()) == [None]
    assert "0.0 GB are left of compute.cache_budget_gb = 50 and of the disk" in caplog.text


def test_what_is_cached_already_needs_no_room(model, table, faces: Sample, tmp_path: Path):
    folder, cut = ImageFolder(str(faces.images), tmp_path), cut_point(model)
    cached_features(model, [cut], table, folder, tmp_path, ComputeSettings())
    (found,) = cached_features(model, [cut], table, folder, tmp_path, ComputeSettings(cache_budget_gb=0))
    assert found is not None


@pytest.mark.parametrize("budget_gb", [50, 0], ids=["cached", "streamed"])
def test_a_picture_replaced_after_the_snapshot_is_named(model, table, faces: Sample, tmp_path: Path, budget_gb: float):
    images, cut = tmp_path / "images", cut_point(model)
    shutil.copytree(faces.images, images)
    shutil.copy(images / "00001.jpg", images / "00000.jpg")
    settings = ComputeSettings(cache_budget_gb=budget_gb)
    with pytest.raises(LabelsError, match=r"00000\.jpg was replaced in .*images after the snapshot"):
        cached_features(model, [cut], table, ImageFolder(str(images), tmp_path), tmp_path, settings)
    assert not files(tmp_path)


def test_a_picture_replaced_while_it_is_read_is_not_kept(model, table, faces: Sample, tmp_path: Path, monkeypatch):
    images, cut = tmp_path / "images", cut_point(model)
    shutil.copytree(faces.images, images)

    def replace_after(name: str, view: int, size: int):
        other = images / f"{uuid.uuid4()}"  # whole at once: others read while this writes
        shutil.copy(images / "00001.jpg", other)
        other.replace(images / "00000.jpg")
        return load_view(name, view, size)

    monkeypatch.setattr(features, "load_view", replace_after)
    with pytest.raises(LabelsError, match=r"00000\.jpg was replaced"):
        cached_features(model, [cut], table, ImageFolder(str(images), tmp_path), tmp_path, ComputeSettings())
    assert not files(tmp_path)


def test_half_a_shard_is_not_believed(tmp_path: Path):
    cache = FeatureCache(tmp_path)
    cache.append(["a", "b"], np.arange(6, dtype="float16").reshape(2, 3))
    np.save(tmp_path / "crashed.npy", np.zeros((1, 3)))
    again = FeatureCache(tmp_path)
    assert again.rows(["b", "a"]).tolist() == [[3, 4, 5], [0, 1, 2]]
    assert "c" not in again


@pytest.mark.parametrize("suffix", [".npy", ".json"])
@pytest.mark.parametrize("left", [0, 0.9])
def test_a_shard_that_lost_its_end_is_not_believed(tmp_path: Path, suffix: str, left: float):
    FeatureCache(tmp_path).append(["a", "b"], np.ones((2, 300), "float16"))
    FeatureCache(tmp_path).append(["c"], np.full((1, 300), 3, "float16"))
    broken = next(path for path in tmp_path.glob("*.json") if "a" in path.read_text()).with_suffix(suffix)
    os.truncate(broken, int(left * broken.stat().st_size))
    cache = FeatureCache(tmp_path)
    assert ("a" in cache, "c" in cache) == (False, True)
    assert cache.rows(["c"]).tolist() == [[3] * 300]


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


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
