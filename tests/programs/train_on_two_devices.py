"""Train a small network on logical CPU devices, as on GPUs; prints the history of its epochs as JSON.

    python -m tests.programs.train_on_two_devices DEVICES FOLDER FROM [EPOCHS]

FOLDER holds features, and the state after each epoch. The features come FROM its `cache`, or are streamed from its
`exchange`. With EPOCHS, the process is killed after so many.
"""

import json
import os
import signal
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from age_tasks.config import Config, TrainingSettings
from age_tasks.data.image_folder import ImageFolder
from age_tasks.store.files import FileStore
from age_tasks.training import learner as learners
from age_tasks.training.batches import Source
from age_tasks.training.feature_cache import FeatureCache
from age_tasks.training.fit import fit_learner
from age_tasks.training.remote_shards import RemoteShards
from age_tasks.training.streamed_features import StreamedFeatures
from age_tasks.training.streams import Stream

IMAGES = {"train": 96, "val": 40}
SETTINGS = TrainingSettings(epochs=6, batch_size=16, learning_rate=0.02, early_stopping_patience=6, seed=3)


def main(devices: int, folder: Path, source: str, killed_after: int) -> None:
    """Split the CPU before TensorFlow starts: that can be done once per process."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)
    learners.gpus = lambda: [f"CPU:{number}" for number in range(devices)]
    keras.utils.set_random_seed(1)
    features = keras.Input((4,))
    hidden = keras.layers.Dense(8, "relu")(features)
    model = keras.Model(features, keras.layers.Dense(1, name="years")(hidden))
    learner, strategy = learners.learner_of(model, "never")
    assert strategy.num_replicas_in_sync == devices, strategy.num_replicas_in_sync
    with strategy.scope():
        learners.compile_for(learner, SETTINGS, steps=6, config=Config())
    if killed_after:
        keras.callbacks.Callback.on_epoch_begin = lambda _, epoch, logs=None: epoch >= killed_after and _die()
    train, val = (batches(split, folder / source, source == "exchange") for split in IMAGES)
    history = fit_learner(learner, train, val, SETTINGS, IMAGES["train"], folder / "state")
    print(json.dumps(history[["epoch", "loss", "val_mae"]].to_dict("list")))


def batches(split: str, folder: Path, streamed: bool) -> Stream:
    """Rows of features whose sum is the age, in the cache or the exchange."""
    rng, count = np.random.default_rng(len(split)), IMAGES[split]
    rows = rng.normal(size=(count, 4)).astype("float16")
    table = pd.DataFrame({"sha256": [f"{split} {n}" for n in range(count)], "real_age": rows.sum(axis=1)})
    stored: FeatureCache | StreamedFeatures = FeatureCache(folder / split)
    if streamed:
        remote = RemoteShards(FileStore(folder), split)
        stored = StreamedFeatures(folder / "local", remote, remote.places(besides=()), (4,))
    if not stored.known():
        for part in np.array_split(np.arange(count), 5):
            stored.append(table["sha256"].iloc[part].tolist(), rows[part])
    source = Source(stored, ImageFolder(str(folder.parent), folder), 8)
    return source.batches(table, SETTINGS.batch_size, np.asarray, SETTINGS.seed if split == "train" else None)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]) if sys.argv[4:] else 0)
