import json
import re
import shutil
import uuid
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from age_tasks.config import ComputeSettings, Config, ModelSettings
from age_tasks.data.augmentation import load_augmentations, load_augmented
from age_tasks.data.image_folder import ImageFolder
from age_tasks.data.probes import probe_images, stored_probes
from age_tasks.demo.synthetic_faces import Sample, draw_sample
from age_tasks.errors import LabelsError
from age_tasks.training import features
from age_tasks.training.feature_cache import row_key, stored_shards
from age_tasks.training.features import Cut, cached_features, decoded_images, prefix_digest
from age_tasks.training.inference import ages_and_features, predict_ages
from age_tasks.training.network import build_model, cut_point, freeze, pooled
from age_tasks.training.prefix_engine import FrozenNetwork
from tests.support.tables import images_of

SIZE = 64


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return draw_sample(tmp_path_factory.mktemp("faces"), 40, seed=1)


@pytest.fixture(scope="module")
def table(faces: Sample) -> pd.DataFrame:
    return images_of(faces)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    model = build_model(ModelSettings(backbone="efficientnet_lite0", image_size=SIZE), seed=1)
    freeze(model, 30)
    return model


def files(cache: Path) -> set[str]:
    return {path.name for path in cache.rglob("*.npy")}


def test_features_are_computed_once(model, table, faces: Sample, tmp_path: Path, caplog):
    folder, cut = ImageFolder(str(faces.images), tmp_path), cut_point(model)
    (cache,) = cached_features(model, [Cut(cut, table.head(30))], folder, tmp_path, ComputeSettings()).caches
    before = files(tmp_path)
    with caplog.at_level("INFO"):
        (grown,) = cached_features(model, [Cut(cut, table)], folder, tmp_path, ComputeSettings()).caches
    assert "30 images in the cache, 10 to compute" in caplog.text
    assert before < files(tmp_path)
    assert np.array_equal(cache.rows(table["sha256"].head(30)), grown.rows(table["sha256"].head(30)))
    pixels = np.stack([_pixels(folder, name) for name in table["file_name"]])
    direct = np.asarray(keras.Model(model.inputs[0], cut)(pixels, training=False))
    assert np.abs(grown.rows(table["sha256"]).astype("float32") - direct).max() < 0.02 * np.abs(direct).max()


def test_rows_that_one_of_two_caches_has_are_not_stored_there_again(model, table, faces: Sample, tmp_path: Path):
    """As after a worker that was killed between the two."""
    folder, cuts = ImageFolder(str(faces.images), tmp_path), [cut_point(model), pooled(model)]
    cached_features(model, [Cut(cuts[0], table.head(20))], folder, tmp_path, ComputeSettings())
    both = [Cut(cut, table.head(30)) for cut in cuts]
    assert cached_features(model, both, folder, tmp_path, ComputeSettings()).computed == 30
    assert sorted(len(shard.keys) for shard in stored_shards(tmp_path)) == [10, 10, 20, 20]


def test_an_image_goes_no_further_than_the_cuts_that_lack_it(
    model, table, faces: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    computed = []

    class Watched(FrozenNetwork):
        def __call__(self, inputs: np.ndarray) -> list[np.ndarray]:
            outputs = super().__call__(inputs)
            computed.append((len(inputs), [output.shape[1:] for output in outputs]))
            return outputs

    monkeypatch.setattr(features, "FrozenNetwork", Watched)
    folder, early, late = ImageFolder(str(faces.images), tmp_path), cut_point(model), pooled(model)
    varied = pd.concat([table.head(6).assign(augmentation=number) for number in (0, 1, 2)])
    cuts = [Cut(late, varied[varied["augmentation"] < 2]), Cut(early, varied)]
    found = cached_features(model, cuts, folder, tmp_path, ComputeSettings())
    assert (found.images, found.computed) == (18, 18)
    assert computed == [(12, [late.shape[1:], early.shape[1:]]), (6, [early.shape[1:]])]
    assert [len(cache.known()) for cache in found.caches] == [12, 18]


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


@pytest.mark.parametrize("mirror", [False, True])
def test_features_beyond_the_budget_are_streamed_from_the_exchange(
    model, table, faces: Sample, tmp_path: Path, monkeypatch, caplog, mirror: bool
):
    folder = ImageFolder(str(faces.images), tmp_path)
    config = Config().with_overrides({"augmentation.test_time_augmentation": mirror})
    cached = predict_ages(model, table, folder, tmp_path / "roomy", config)
    monkeypatch.setenv("AGE_CACHE_REMOTE", str(tmp_path / "remote"))
    monkeypatch.setattr(features, "SHARD_ROWS", 16)
    small = config.with_overrides({"compute.cache_budget_gb": 0})
    with caplog.at_level("INFO"):
        streamed = predict_ages(model, table, folder, tmp_path / "full", small)
        again = predict_ages(model, table, folder, tmp_path / "another", small)
    assert re.search(r"GB of features are streamed from file:///.*remote in every epoch: 0.0 GB more", caplog.text)
    assert "the feature cache is full" not in caplog.text
    assert f"{len(table) * (1 + mirror)} images in the cache, 0 to compute" in caplog.text
    assert files(tmp_path / "remote")
    assert not files(tmp_path / "full") | files(tmp_path / "another")
    assert np.abs(cached - streamed).max() < 0.05
    assert np.array_equal(streamed, again)
    pooled = [ages_and_features(model, table, folder, tmp_path / name, small.compute) for name in ("full", "roomy")]
    assert all(np.abs(one - other).max() < 0.05 for one, other in zip(*pooled, strict=True))


def test_shards_that_are_streamed_are_random_samples_of_a_split(
    model, table, faces: Sample, tmp_path: Path, monkeypatch
):
    """So that validation reads shards of its own, and labels sorted by age are no matter."""
    remote = tmp_path / "remote"
    monkeypatch.setenv("AGE_CACHE_REMOTE", str(remote))
    monkeypatch.setattr(features, "SHARD_ROWS", 8)
    split = table.head(32).assign(split=["train", "val"] * 16)
    folder, cut = ImageFolder(str(faces.images), tmp_path), cut_point(model)
    cached_features(model, [Cut(cut, split)], folder, tmp_path, ComputeSettings(cache_budget_gb=0))
    shards = [json.loads(path.read_text()) for path in sorted(remote.rglob("*.json"))]
    of = dict(zip(split["sha256"], split["split"], strict=True))
    assert sorted(of[keys[0]] for keys in shards) == ["train", "train", "val", "val"]
    for keys in shards:
        assert len({of[key] for key in keys}) == 1
        assert keys == sorted(keys) != [key for key in split["sha256"] if key in keys]


def test_images_are_decoded_again_if_the_exchange_has_no_room_either(
    model, table, faces: Sample, tmp_path: Path, monkeypatch, caplog
):
    monkeypatch.setenv("AGE_CACHE_REMOTE", str(tmp_path / "remote"))
    monkeypatch.setattr(features, "room_in", lambda store: features.SPARE_BYTES)
    folder, cut = ImageFolder(str(faces.images), tmp_path), cut_point(model)
    settings = ComputeSettings(cache_budget_gb=0)
    assert cached_features(model, [Cut(cut, table)], folder, tmp_path, settings).caches == [None]
    assert "raise compute.cache_budget_gb, or free space in file:///" in caplog.text
    monkeypatch.delenv("AGE_CACHE_REMOTE")
    assert cached_features(model, [Cut(cut, table)], folder, tmp_path, settings).caches == [None]
    assert "or set AGE_CACHE_REMOTE" in caplog.text


def test_images_are_decoded_in_the_order_of_the_rows(table, faces: Sample, tmp_path: Path):
    rows = pd.concat([table.head(4).assign(augmentation=number) for number in (0, 1, 2)])
    rows = rows.iloc[[0, 4, 8, 1, 5, 2, 6, 3, 0, 9]]  # of one image several in turn, and one again later
    decoded = list(decoded_images(rows, ImageFolder(str(faces.images), tmp_path), SIZE).as_numpy_iterator())
    wanted = rows[["file_name", "augmentation", "sha256"]].itertuples(index=False)
    expected = [load_augmented(faces.images / name, SIZE, number, sha256) for name, number, sha256 in wanted]
    assert np.array_equal(decoded, expected)


def test_every_augmentation_has_its_own_features(model, table, faces: Sample, tmp_path: Path):
    folder, cut, size = ImageFolder(str(faces.images), tmp_path), cut_point(model), len(table)
    rows = pd.concat([table.assign(augmentation=number) for number in (0, 3, 1)], ignore_index=True)
    (cache,) = cached_features(model, [Cut(cut, rows)], folder, tmp_path, ComputeSettings()).caches
    pixels = np.stack(list(decoded_images(rows, folder, SIZE).as_numpy_iterator()))
    direct = np.asarray(keras.Model(model.inputs[0], cut)(pixels, training=False))
    keys = [row_key(sha256, number) for sha256, number in zip(rows["sha256"], rows["augmentation"], strict=True)]
    assert len(set(keys)) == 3 * size
    assert np.abs(cache.rows(keys).astype("float32") - direct).max() < 0.02 * np.abs(direct).max()


def test_features_of_all_engines_share_a_cache(model, table, faces: Sample, tmp_path: Path):
    folder, cut = ImageFolder(str(faces.images), tmp_path), cut_point(model)
    computed = []
    for count, engine in ((20, "tensorflow"), (30, "litert"), (40, "openvino")):
        settings = ComputeSettings(prefix_engine=engine)
        computed.append(cached_features(model, [Cut(cut, table.head(count))], folder, tmp_path, settings).computed)
    assert computed == [20, 10, 10]


def test_images_are_streamed_if_the_disk_has_no_room(model, table, faces: Sample, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(features, "free_bytes", lambda folder: features.SPARE_BYTES)
    folder = ImageFolder(str(faces.images), tmp_path)
    found = cached_features(model, [Cut(cut_point(model), table)], folder, tmp_path, ComputeSettings())
    assert found.caches == [None]
    assert "0.0 GB are left of compute.cache_budget_gb = 50 and of the disk" in caplog.text


def test_cached_features_need_no_further_room(model, table, faces: Sample, tmp_path: Path):
    folder, cut = ImageFolder(str(faces.images), tmp_path), cut_point(model)
    cached_features(model, [Cut(cut, table)], folder, tmp_path, ComputeSettings())
    (found,) = cached_features(model, [Cut(cut, table)], folder, tmp_path, ComputeSettings(cache_budget_gb=0)).caches
    assert found is not None


@pytest.mark.parametrize("budget_gb", [50, 0], ids=["cached", "streamed"])
def test_an_image_replaced_after_the_snapshot_is_named(model, table, faces: Sample, tmp_path: Path, budget_gb: float):
    images, cut = tmp_path / "images", cut_point(model)
    shutil.copytree(faces.images, images)
    probe_images(ImageFolder(str(images), tmp_path), ["00000.jpg", "00001.jpg"], tmp_path)
    shutil.copy(images / "00001.jpg", images / "00000.jpg")
    settings = ComputeSettings(cache_budget_gb=budget_gb)
    with pytest.raises(LabelsError, match=r"00000\.jpg was replaced in .*images after the snapshot"):
        cached_features(model, [Cut(cut, table)], ImageFolder(str(images), tmp_path), tmp_path, settings)
    assert not files(tmp_path)
    assert [name for name, _, _ in stored_probes(tmp_path)] == ["00001.jpg"]  # the other is read anew


def test_an_image_replaced_while_it_is_read_is_not_cached(model, table, faces: Sample, tmp_path: Path, monkeypatch):
    images, cut = tmp_path / "images", cut_point(model)
    shutil.copytree(faces.images, images)

    def replace_after(*arguments: Any):
        other = images / f"{uuid.uuid4()}"  # moved into place: others read while this writes
        shutil.copy(images / "00001.jpg", other)
        other.replace(images / "00000.jpg")
        return load_augmentations(*arguments)

    monkeypatch.setattr(features, "load_augmentations", replace_after)
    with pytest.raises(LabelsError, match=r"00000\.jpg was replaced"):
        cached_features(model, [Cut(cut, table)], ImageFolder(str(images), tmp_path), tmp_path, ComputeSettings())
    assert not files(tmp_path)


def test_prefix_digests_are_those_of_existing_caches():
    """If this fails, all cached features are computed again: make sure that the features really change."""
    pixels = keras.Input((8, 8, 3), name="pixels")
    convolution = keras.layers.Conv2D(4, 3, padding="same", use_bias=False, name="stem")
    features = keras.layers.BatchNormalization(name="stem_bn")(convolution(keras.layers.Rescaling(1 / 128)(pixels)))
    convolution.set_weights([np.arange(108, dtype="float32").reshape(3, 3, 3, 4) / 108])
    assert prefix_digest(keras.Model(pixels, keras.layers.ReLU(6.0)(features))) == "9f04adcd19ab1d7129f9bd677922d29d"
