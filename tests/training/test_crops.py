"""Training of a whole network: from pixels in the cache, with random crops that the device cuts out."""

import os
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from age_tasks.config import Config
from age_tasks.data.decoding import load_rgb
from age_tasks.data.image_folder import ImageFolder
from age_tasks.demo.synthetic_faces import Sample, draw_sample
from age_tasks.maintenance.erased_content import ErasedImage
from age_tasks.maintenance.traces import traces_in_cache
from age_tasks.training import crops, streams
from age_tasks.training.crops import ResidentPixels, cut_out, resident_pixels, with_crops
from age_tasks.training.feature_cache import FeatureCache, features_folder, stored_shards
from age_tasks.training.features import SPARE_BYTES, Cut, cached_features
from age_tasks.training.fit import Trained, fit
from age_tasks.training.inference import predict_ages
from age_tasks.training.network import AGE_DISTRIBUTION, AGES, EXPECTED_AGE, POOL, cut_point
from age_tasks.training.rows import WHOLE, RandomCrops, Rows
from tests.support.tables import images_of

SIZE, COUNT = 32, 24
IMAGE_BYTES = SIZE * SIZE * 3
WHOLE_NETWORK = {
    "model.backbone": "efficientnet_lite0",  # of which nothing is used but that all of its layers are trained
    "finetune.last_layers": 140,
    "finetune.epochs": 2,
    "finetune.batch_size": 8,
    "finetune.learning_rate": 0.01,
    "compute.mixed_precision": "never",
}
AT_RANDOM = {"finetune.random_crop": 0.8, "finetune.random_flip": True}


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return draw_sample(tmp_path_factory.mktemp("faces"), COUNT, seed=1)


@pytest.fixture(scope="module")
def table(faces: Sample) -> pd.DataFrame:
    return images_of(faces)


def network() -> keras.Model:
    """A small network with a preprocessing that half precision rounds, as that of ResNet50, and an age distribution."""
    keras.utils.set_random_seed(3)
    pixels = keras.Input((SIZE, SIZE, 3), name="pixels")
    scaled = keras.layers.Normalization(mean=[103.939, 116.779, 123.68], variance=[1.0] * 3)(pixels)
    features = keras.layers.Conv2D(4, 3, strides=4, activation="relu")(scaled)
    some = keras.layers.Dropout(0.2, seed=5)(keras.layers.GlobalAveragePooling2D(name=POOL)(features))
    distribution = keras.layers.Dense(len(AGES), "softmax", name=AGE_DISTRIBUTION)(some)
    years = keras.layers.Dense(1, use_bias=False, trainable=False, name=EXPECTED_AGE)
    model = keras.Model(pixels, years(distribution))
    years.set_weights([AGES[:, None]])
    return model


def settings(**overrides: object) -> Config:
    named = {name.replace("__", "."): value for name, value in overrides.items()}
    return Config().with_overrides(WHOLE_NETWORK | named)


def train(table: pd.DataFrame, faces: Sample, cache: Path, config: Config) -> Trained:
    """Train on 16 images; a state that an earlier training has left there is not continued from."""
    splits = {"train": table[:16], "val": table[16:20], "test": table[20:]}
    splits = {name: rows.reset_index(drop=True) for name, rows in splits.items()}
    folder, state = ImageFolder(str(faces.images), cache), cache / "state"
    trained = fit(network(), splits, folder, config.finetune, config, cache, state)
    shutil.rmtree(state)
    return trained


def losses(trained: Trained) -> np.ndarray:
    return trained.history[["loss", "val_loss"]].to_numpy()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the pixels of all images."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def plain(table: pd.DataFrame, faces: Sample, cache: Path) -> Trained:
    """A training from the cache, with the images as they are."""
    return train(table, faces, cache, settings())


@pytest.fixture(scope="module")
def cropped(table: pd.DataFrame, faces: Sample, cache: Path) -> Trained:
    """A training from the cache, with random crops."""
    return train(table, faces, cache, settings(**AT_RANDOM))


def test_the_cached_pixels_are_those_of_the_images(table, faces: Sample, tmp_path: Path):
    model, folder = network(), ImageFolder(str(faces.images), tmp_path)
    assert cut_point(model) is model.inputs[0]
    found = cached_features(model, [Cut(cut_point(model), table)], folder, tmp_path, Config().compute)
    rows = found.caches[0].rows(table["sha256"])
    assert rows.dtype == np.uint8
    assert np.array_equal(rows, [load_rgb(faces.images / name, SIZE) for name in table["file_name"]])
    again = cached_features(model, [Cut(cut_point(model), table)], folder, tmp_path, Config().compute)
    assert (found.computed, again.computed) == (COUNT, 0)


def test_all_networks_of_an_image_size_share_the_pixels(table, faces: Sample, tmp_path: Path):
    folder, pixels = ImageFolder(str(faces.images), tmp_path), keras.Input((SIZE, SIZE, 3), name="otherwise")
    other = keras.Model(pixels, keras.layers.Dense(1)(keras.layers.Flatten()(pixels)))
    computed = [
        cached_features(each, [Cut(each.inputs[0], table)], folder, tmp_path, Config().compute).computed
        for each in (network(), other)
    ]
    assert computed == [COUNT, 0]


@pytest.mark.parametrize("at_random", [{}, AT_RANDOM], ids=["plain", "cropped"])
def test_cached_and_decoded_pixels_give_the_same_training(
    table, faces: Sample, tmp_path: Path, at_random, plain: Trained, cropped: Trained, caplog
):
    decoded = train(table, faces, tmp_path, settings(compute__cache_budget_gb=0, **at_random))
    assert "images are decoded, and their features computed, again in every epoch" in caplog.text
    assert not [*stored_shards(tmp_path)]
    assert losses(decoded) == pytest.approx(losses(cropped if at_random else plain), rel=1e-6)


def test_pixels_beyond_the_budget_are_streamed_from_the_exchange(
    table, faces: Sample, tmp_path: Path, monkeypatch, cropped: Trained
):
    monkeypatch.setenv("AGE_CACHE_REMOTE", str(tmp_path / "remote"))
    streamed = train(table, faces, tmp_path / "cache", settings(compute__cache_budget_gb=0, **AT_RANDOM))
    assert [path.name for path in (tmp_path / "remote").rglob("*.npy")]
    assert not [*stored_shards(tmp_path / "cache")]
    assert losses(streamed) == pytest.approx(losses(cropped), rel=0.1)  # in another order


def test_pixels_that_the_device_keeps_give_the_same_training(
    table, faces: Sample, cache: Path, monkeypatch, cropped: Trained
):
    made: list[ResidentPixels] = []

    class Noted(ResidentPixels):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(crops, "gpus", lambda: ["/device:CPU:0"])
    monkeypatch.setattr(crops, "use_xla", lambda setting: True)
    monkeypatch.setattr(crops, "ResidentPixels", Noted)
    resident = train(table, faces, cache, settings(**AT_RANDOM))
    assert [each.pixels.shape for each in made] == [(20, SIZE, SIZE, 3)]  # of training and validation
    assert losses(resident) == pytest.approx(losses(cropped), rel=1e-6)


@pytest.mark.parametrize(
    ("gpus", "xla", "most", "kept"),
    [
        (["/device:CPU:0"], True, 2 * IMAGE_BYTES, True),
        (["/device:CPU:0"], True, 2 * IMAGE_BYTES - 1, False),
        (["/device:CPU:0"], False, 2 * IMAGE_BYTES, False),
        (["/device:CPU:0"] * 2, True, 2 * IMAGE_BYTES, False),
        ([], True, 2 * IMAGE_BYTES, False),
    ],
)
def test_one_gpu_keeps_pixels_that_fit(tmp_path: Path, monkeypatch, gpus: list[str], xla: bool, most: int, kept: bool):
    filled = FeatureCache(tmp_path)
    filled.append(["a", "b"], np.stack([np.full((SIZE, SIZE, 3), value, "uint8") for value in (7, 9)]))
    monkeypatch.setattr(crops, "gpus", lambda: gpus)
    monkeypatch.setattr(crops, "use_xla", lambda setting: xla)
    monkeypatch.setattr(crops, "MOST_RESIDENT", most)
    found = resident_pixels(filled, ["b", "a", "b"], SIZE, Config().compute)
    assert (found is not None) == kept
    if found:
        assert found.rows(["a", "b"]).tolist() == [1, 0]
        assert found.pixels.numpy()[:, 0, 0, 0].tolist() == [9, 7]
    assert resident_pixels(None, ["a"], SIZE, Config().compute) is None


def test_random_crops_change_the_training_and_not_the_model(faces: Sample, table, tmp_path: Path, plain, cropped):
    assert np.abs(losses(plain)[:, 0] - losses(cropped)[:, 0]).min() > 1e-4
    cropped.model.save(tmp_path / "model.keras")
    saved = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert [type(layer) for layer in saved.layers] == [type(layer) for layer in network().layers]
    pixels = load_rgb(faces.images / table["file_name"][16], SIZE)[None].astype("float32")
    assert np.array_equal(saved(pixels), cropped.model(pixels))
    assert not np.allclose(cropped.model.get_weights()[0], network().get_weights()[0])  # it has learnt


def test_an_interrupted_training_continues_with_the_crops_of_its_epoch(
    table, faces: Sample, cache: Path, monkeypatch, cropped: Trained, caplog
):
    start_at = streams.Stream.start_at

    def cut_off(batches: streams.Stream, epoch: int) -> None:
        if epoch == 1:
            raise KeyboardInterrupt
        start_at(batches, epoch)

    with monkeypatch.context() as patch:
        patch.setattr(streams.Stream, "start_at", cut_off)
        with pytest.raises(KeyboardInterrupt):
            train(table, faces, cache, settings(**AT_RANDOM))
    with caplog.at_level("INFO"):
        resumed = train(table, faces, cache, settings(**AT_RANDOM))
    assert "continuing after epoch 1" in caplog.text
    assert losses(resumed) == pytest.approx(losses(cropped), rel=1e-4)


@pytest.mark.parametrize("damage", ["absent", "truncated"])
def test_pixels_that_are_lost_are_decoded_again(table, faces: Sample, tmp_path: Path, damage: str):
    model, folder = network(), ImageFolder(str(faces.images), tmp_path)
    for _ in range(2):
        found = cached_features(model, [Cut(model.inputs[0], table)], folder, tmp_path, Config().compute)
        assert found.computed == COUNT
        pixels = found.caches[0].rows(table["sha256"])
        assert np.array_equal(pixels, [load_rgb(faces.images / name, SIZE) for name in table["file_name"]])
        (shard,) = stored_shards(tmp_path)
        if damage == "absent":
            shard.features.unlink()
        else:
            os.truncate(shard.features, shard.features.stat().st_size // 2)


def test_pixels_of_a_forgotten_image_are_removed(table, faces: Sample, tmp_path: Path):
    folder, model = ImageFolder(str(faces.images), tmp_path), network()
    mirrored = pd.concat([table, table.assign(augmentation=1)])
    cached_features(model, [Cut(model.inputs[0], mirrored)], folder, tmp_path, Config().compute)
    gone, *others = table["sha256"]
    image = ErasedImage("a.jpg", frozenset({"a.jpg"}), frozenset({gone}), frozenset({gone}), frozenset())
    ((said, remove),) = traces_in_cache(image, tmp_path)
    assert "2 rows of features" in said
    remove()
    (shard,) = stored_shards(tmp_path)
    assert not shard.rows_of({gone})
    assert shard.dtype == np.uint8
    left = FeatureCache(shard.index.parent)
    assert np.array_equal(
        left.rows(others), [load_rgb(faces.images / name, SIZE) for name in table["file_name"].iloc[1:]]
    )


@pytest.mark.parametrize(("spare", "shards"), [(0, 1), (-1, 0)])
def test_pixels_take_a_byte_each_of_the_budget_and_the_disk(
    table, faces: Sample, tmp_path: Path, spare: int, shards: int, monkeypatch
):
    model, folder = network(), ImageFolder(str(faces.images), tmp_path)
    room = COUNT * IMAGE_BYTES + spare
    small = Config().with_overrides({"compute.cache_budget_gb": room / 1e9}).compute
    cached_features(model, [Cut(cut_point(model), table)], folder, tmp_path / "budget", small)
    monkeypatch.setattr("age_tasks.training.features.free_bytes", lambda folder: SPARE_BYTES + room)
    cached_features(model, [Cut(cut_point(model), table)], folder, tmp_path / "disk", Config().compute)
    assert [len(list(stored_shards(tmp_path / name))) for name in ("budget", "disk")] == [shards, shards]


def test_ages_are_predicted_from_the_cached_pixels(table, faces: Sample, tmp_path: Path):
    model, folder = network(), ImageFolder(str(faces.images), tmp_path)
    ages = predict_ages(model, table, folder, tmp_path, Config())
    assert FeatureCache(next(features_folder(tmp_path).iterdir())).rows(table["sha256"]).dtype == np.uint8
    pixels = np.stack([load_rgb(faces.images / name, SIZE) for name in table["file_name"]]).astype("float32")
    assert ages == pytest.approx(np.asarray(model(pixels)).ravel(), abs=1e-3)


def test_the_whole_box_gives_the_image_and_the_exchanged_one_its_mirror():
    pixels = np.random.default_rng(1).integers(0, 256, (2, 7, 7, 3), "uint8")
    cut = cut_out(pixels, np.array([WHOLE, (0, 1, 1, 0)], "float32")).numpy()
    assert np.array_equal(cut[0], pixels[0])
    assert np.array_equal(cut[1], pixels[1, :, ::-1])


def test_a_box_is_scaled_to_the_size_of_the_image():
    """Of an image whose values grow by 8 a row and by 1 a column, the box from 1/4 to 3/4 grows by half of that."""
    rows, columns = np.meshgrid(np.arange(8), np.arange(8), indexing="ij")
    image = np.repeat((8 * rows + columns).astype("uint8")[None, :, :, None], 3, axis=3)
    cut = cut_out(image, np.array([[0.25, 0.25, 0.75, 0.75]], "float32")).numpy()[0, :, :, 0]
    assert cut[0, 0] == pytest.approx(9 * 1.75)
    assert np.diff(cut, axis=0) == pytest.approx(np.full((7, 8), 4.0))
    assert np.diff(cut, axis=1) == pytest.approx(np.full((8, 7), 0.5))


def test_crops_are_squares_inside_the_image_and_half_of_them_mirrored():
    top, left, bottom, right = RandomCrops(0.8, flip=True).boxes(4000, np.random.default_rng(1)).T
    mirrored = left > right
    left, right = np.minimum(left, right), np.maximum(left, right)
    assert min(top.min(), left.min()) >= 0
    assert max(bottom.max(), right.max()) <= 1
    assert bottom - top == pytest.approx(right - left, abs=1e-6)
    areas = (bottom - top) * (right - left)
    assert (areas.min(), areas.max(), areas.mean()) == pytest.approx((0.8, 1, 0.9), abs=0.005)
    assert mirrored.mean() == pytest.approx(0.5, abs=0.03)
    assert not (RandomCrops(0.8, flip=False).boxes(100, np.random.default_rng(1))[:, 3] < 0.5).any()
    assert {tuple(box) for box in RandomCrops(1, flip=False).boxes(100, np.random.default_rng(1))} == {WHOLE}


def test_crops_depend_on_seed_epoch_and_row_only(table):
    def boxes(seed: int | None, epoch: int) -> np.ndarray:
        return Rows(table, np.asarray, seed, crops=RandomCrops(0.8, flip=True)).boxes(epoch)

    assert np.array_equal(boxes(1, 2), boxes(1, 2))
    assert (boxes(1, 2) != boxes(1, 3)).any(axis=1).all()
    assert (boxes(1, 2) != boxes(2, 2)).any(axis=1).all()
    assert len(np.unique(boxes(1, 2), axis=0)) == COUNT
    assert {tuple(box) for box in boxes(None, 2)} == {WHOLE}  # validation
    assert Rows(table, np.asarray, 1).boxes(2) is None


def test_a_learner_with_crops_has_its_outputs_and_weights():
    pixels = keras.Input((SIZE, SIZE, 3))
    flat = keras.layers.GlobalAveragePooling2D()(pixels)
    outputs = {name: keras.layers.Dense(1, name=name)(flat) for name in (AGE_DISTRIBUTION, EXPECTED_AGE)}
    learner = keras.Model(pixels, outputs)
    cropping = with_crops(learner)
    assert set(cropping.output_names) == {AGE_DISTRIBUTION, EXPECTED_AGE}
    assert [each.path for each in cropping.trainable_variables] == [each.path for each in learner.trainable_variables]
    images = np.random.default_rng(1).integers(0, 256, (2, SIZE, SIZE, 3), "uint8")
    cut = cropping([images, np.tile(np.array(WHOLE, "float32"), (2, 1))])
    direct = learner(images.astype("float32"))
    assert {name: each.numpy().tolist() for name, each in cut.items()} == {
        name: each.numpy().tolist() for name, each in direct.items()
    }


def test_crops_can_be_compiled_by_xla(tmp_path: Path):
    """As on a GPU, whose TensorFlow has no other way to take rows of bytes."""
    pixels = np.random.default_rng(1).integers(0, 256, (3, SIZE, SIZE, 3), "uint8")
    filled = FeatureCache(tmp_path)
    filled.append(["a", "b", "c"], pixels)
    images = keras.Input((SIZE, SIZE, 3))
    cropping = with_crops(keras.Model(images, images), ResidentPixels(filled, ["a", "b", "c"], "/device:CPU:0"))
    boxes = RandomCrops(0.8, flip=True).boxes(2, np.random.default_rng(1))
    compiled = tf.function(lambda *inputs: cropping(inputs), jit_compile=True)
    assert compiled(np.array([2, 0]), boxes).numpy() == pytest.approx(cut_out(pixels[[2, 0]], boxes).numpy(), abs=1e-3)
