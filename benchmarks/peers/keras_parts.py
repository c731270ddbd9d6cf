"""What both Keras scripts have in common: batches decoded from the files, and one training."""

from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from age_tasks.config import TrainingSettings
from age_tasks.training.hardware import use_xla
from benchmarks.peers.task import BEST, Task


def batches(task: Task, split: str, seed: int | None = None) -> tf.data.Dataset:
    """Batches of (pixels, ages), decoded in parallel; shuffled where a seed is given."""
    paths = task.paths(split)
    data = tf.data.Dataset.from_tensor_slices((paths, task.ages(split)))
    if seed is not None:
        data = data.shuffle(len(paths), seed=seed)
    size = task.config.model.image_size
    data = data.map(lambda path, age: (_decode(path, size), age), tf.data.AUTOTUNE)
    return data.batch(task.config.baseline.batch_size).prefetch(tf.data.AUTOTUNE)


def train(task: Task, model: keras.Model, settings: TrainingSettings, data: Any, val: Any) -> None:
    """Fit the model; it ends with the weights of its best epoch.

    Args:
        data, val: what `keras.Model.fit` takes: a dataset, or (inputs, ages).
    """
    best = Path(f"{BEST}.h5").absolute()
    # The better choice here too: XLA, Keras' default, makes depthwise networks several times slower on a CPU.
    xla = use_xla(task.config.compute.xla)
    model.compile(keras.optimizers.Adam(settings.learning_rate), loss="mae", metrics=["mae"], jit_compile=xla)
    inputs = (data,) if isinstance(data, tf.data.Dataset) else data
    model.fit(
        *inputs,
        validation_data=val,
        epochs=settings.epochs,
        batch_size=None if len(inputs) == 1 else settings.batch_size,
        verbose=2,
        callbacks=[
            keras.callbacks.ModelCheckpoint(str(best), "val_mae", save_best_only=True, save_weights_only=True),
            keras.callbacks.EarlyStopping("val_mae", patience=settings.early_stopping_patience),
            keras.callbacks.ReduceLROnPlateau(
                "val_mae", factor=settings.reduce_lr_factor, patience=settings.reduce_lr_patience
            ),
            keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: task.epoch_ended(logs["val_mae"])),
        ],
    )
    model.load_weights(str(best))


def _decode(path: tf.Tensor, size: int) -> tf.Tensor:
    image = tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)
    return tf.ensure_shape(tf.image.resize(image, (size, size)), (size, size, 3))
