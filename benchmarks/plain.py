"""The usual implementation of the recipe: tf.data from the files, parallel decoding and prefetch, `model.fit` twice.

Every image passes the whole network in every epoch. Splits, network, seed, epochs and callbacks are those of ours.
"""

import argparse
import json
import resource
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from age_tasks.config import Config, TrainingSettings, config_from_dict
from age_tasks.training.hardware import use_xla
from age_tasks.training.network import build_model, freeze


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=Path, required=True, help="folder with train.csv, val.csv, test.csv")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--config", type=Path, required=True, help="all settings, JSON")
    parser.add_argument("--out", type=Path, required=True, help="result, JSON")
    options = parser.parse_args()
    config, start = config_from_dict(json.loads(options.config.read_text())), time.perf_counter()
    splits = {name: pd.read_csv(options.splits / f"{name}.csv") for name in ("train", "val", "test")}

    def batches(name: str, seed: int | None = None) -> tf.data.Dataset:
        paths = [str(options.images / file) for file in splits[name]["file_name"]]
        data = tf.data.Dataset.from_tensor_slices((paths, splits[name]["real_age"].to_numpy("float32")))
        if seed is not None:
            data = data.shuffle(len(paths), seed=seed)
        data = data.map(lambda path, age: (_decode(path, config.model.image_size), age), tf.data.AUTOTUNE)
        return data.batch(config.baseline.batch_size).prefetch(tf.data.AUTOTUNE)

    model = build_model(config.model, config.baseline.seed)
    epochs: list[dict[str, float]] = []
    for last_layers, settings in ((0, config.baseline), (config.finetune.last_layers, config.finetune)):
        freeze(model, last_layers)
        _train(model, settings, config, batches("train", settings.seed), batches("val"), epochs, start)
    ages = model.predict(batches("test"), verbose=0).ravel()
    result = {
        "seconds": round(time.perf_counter() - start, 1),
        "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2),
        "test_mae": float(np.abs(ages - splits["test"]["real_age"]).mean()),
        "epochs": epochs,
    }
    options.out.write_text(json.dumps(result, indent=2) + "\n")


def _decode(path: tf.Tensor, size: int) -> tf.Tensor:
    image = tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)
    return tf.ensure_shape(tf.image.resize(image, (size, size)), (size, size, 3))


def _train(
    model: keras.Model,
    settings: TrainingSettings,
    config: Config,
    train: tf.data.Dataset,
    val: tf.data.Dataset,
    epochs: list[dict[str, float]],
    start: float,
) -> None:
    best = Path("best.weights.h5").absolute()
    # The better choice here too: XLA, Keras' default, makes depthwise networks several times slower on a CPU.
    xla = use_xla(config.compute.xla)
    model.compile(keras.optimizers.Adam(settings.learning_rate), loss="mae", metrics=["mae"], jit_compile=xla)
    clock = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: epochs.append(
            {"seconds": round(time.perf_counter() - start, 1), "val_mae": float(logs["val_mae"])}
        )
    )
    model.fit(
        train,
        validation_data=val,
        epochs=settings.epochs,
        verbose=2,
        callbacks=[
            keras.callbacks.ModelCheckpoint(str(best), "val_mae", save_best_only=True, save_weights_only=True),
            keras.callbacks.EarlyStopping("val_mae", patience=settings.early_stopping_patience),
            keras.callbacks.ReduceLROnPlateau(
                "val_mae", factor=settings.reduce_lr_factor, patience=settings.reduce_lr_patience
            ),
            clock,
        ],
    )
    model.load_weights(str(best))


if __name__ == "__main__":
    main()
