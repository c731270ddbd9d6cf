"""Training from images that are decoded in every epoch."""

import threading
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from age_tasks.config import Config, TrainingSettings
from age_tasks.data import image_folder
from age_tasks.data.image_folder import ImageFolder
from age_tasks.data.image_shards import ImageShards
from age_tasks.demo.synthetic_faces import Sample, draw_sample
from age_tasks.errors import StoreError
from age_tasks.training.batches import FeatureBatches
from age_tasks.training.feature_cache import FeatureCache, row_key
from age_tasks.training.fit import fit_learner
from age_tasks.training.learner import compile_for
from age_tasks.training.rows import Rows
from age_tasks.training.streamed_images import StreamedImages
from age_tasks.training.streams import Stream
from tests.support.tables import images_of
from tests.support.tars import tar_of

SIZE, COUNT = 16, 24
SETTINGS = TrainingSettings(epochs=4, learning_rate=0.05, batch_size=8)
CLOCK = ["seconds", "input_seconds"]  # columns that no two trainings share


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return draw_sample(tmp_path_factory.mktemp("faces"), COUNT, seed=1)


@pytest.fixture(scope="module")
def table(faces: Sample) -> pd.DataFrame:
    """24 images, no two of the same age."""
    return images_of(faces).assign(real_age=np.arange(COUNT) + 1.0)


@pytest.fixture
def tarred(faces: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageFolder:
    """The images in a tar file, and no room for copies: each is fetched when it is wanted."""
    monkeypatch.setenv("AGE_IMAGE_COPIES_GB", "0.000000001")
    (tmp_path / "tars").mkdir()
    contents = {path.name: path.read_bytes() for path in sorted(faces.images.iterdir())}
    (tmp_path / "tars" / "faces.tar").write_bytes(tar_of(contents))
    return ImageFolder(str(tmp_path / "tars" / "*.tar"), tmp_path / "cache")


def ages_of(batches: Stream, epoch: int) -> list[float]:
    batches.start_at(epoch)
    return [float(age) for _, ages in batches.dataset.as_numpy_iterator() for age in ages]


def test_the_order_is_that_of_cached_features(faces: Sample, table, tmp_path: Path):
    cache = FeatureCache(tmp_path / "features")
    cache.append([row_key(sha256, 0) for sha256 in table["sha256"]], np.zeros((COUNT, 3), "float16"))
    cached = FeatureBatches(cache, table, 8, np.asarray, seed=1)
    images = StreamedImages(Rows(table, np.asarray, 1), 8, ImageFolder(str(faces.images), tmp_path), SIZE)
    for epoch in (0, 3):
        assert ages_of(images, epoch) == ages_of(cached, epoch)
    assert ages_of(images, 0) != ages_of(images, 3)


def test_augmentations_are_those_of_the_epoch(faces: Sample, table, tmp_path: Path):
    folder = ImageFolder(str(faces.images), tmp_path)

    def pixels(augmentations: int, epoch: int) -> np.ndarray:
        batches = StreamedImages(Rows(table, np.asarray, 1, augmentations), COUNT, folder, SIZE)
        batches.start_at(epoch)
        return next(iter(batches.dataset))[0].numpy()

    plain, drawn = pixels(1, 2), pixels(2, 2)
    assert np.array_equal(drawn, pixels(2, 2))
    order, numbers = Rows(table, np.asarray, 1, 2).epoch(2)
    assert set(numbers) == {0, 1}
    for image, mirrored, number in zip(plain, drawn, numbers[order], strict=True):
        assert np.array_equal(mirrored, image[:, ::-1] if number else image)


class CutOff(StreamedImages):
    """Batches that fail in the third epoch, as a killed process does."""

    def _fetched(self):
        for number, row in enumerate(super()._fetched()):
            if self._epoch == 2 and number == 12:
                raise RuntimeError("killed")
            yield row


def train(table: pd.DataFrame, folder: ImageFolder, kind: type[StreamedImages], state: Path) -> pd.DataFrame:
    keras.utils.set_random_seed(3)
    pixels = keras.Input((SIZE, SIZE, 3))
    colours = keras.layers.Rescaling(1 / 255)(keras.layers.GlobalAveragePooling2D()(pixels))
    learner = keras.Model(pixels, keras.layers.Dense(1)(colours))
    compile_for(learner, SETTINGS, steps=3, config=Config())
    train, val = (kind(Rows(table, np.asarray, seed, 2), 8, folder, SIZE) for seed in (1, None))
    return fit_learner(learner, train, val, SETTINGS, len(table), state)


def test_an_interrupted_training_continues_to_the_same_result(faces: Sample, table, tmp_path: Path):
    folder = ImageFolder(str(faces.images), tmp_path)
    whole = train(table, folder, StreamedImages, tmp_path / "whole")
    with pytest.raises(tf.errors.OpError, match="killed"):
        train(table, folder, CutOff, tmp_path / "cut")
    resumed = train(table, folder, StreamedImages, tmp_path / "cut")
    pd.testing.assert_frame_equal(whole.drop(columns=CLOCK), resumed.drop(columns=CLOCK), rtol=1e-4)


def test_images_elsewhere_are_fetched_ahead_several_at_once(tarred: ImageFolder, table, monkeypatch):
    """A batch of two: the first images are let through when eight are being fetched."""
    monkeypatch.setattr(image_folder, "FETCHED_AHEAD", 8)
    fetch, together = ImageShards.fetch, threading.Barrier(8)

    def wait(shards: ImageShards, name: str, to: Path) -> None:
        together.wait(timeout=30)
        fetch(shards, name, to)

    monkeypatch.setattr(ImageShards, "fetch", wait)
    assert sorted(ages_of(StreamedImages(Rows(table, np.asarray, 1), 2, tarred, SIZE), 0)) == table["real_age"].tolist()


def test_an_image_that_can_t_be_fetched_is_named(tarred: ImageFolder, table, tmp_path: Path, monkeypatch):
    def away(*_: object) -> None:
        raise StoreError("the bucket is away")

    monkeypatch.setattr(ImageShards, "fetch", away)
    with pytest.raises(StoreError, match="the bucket is away"):
        train(table, tarred, StreamedImages, tmp_path / "state")
