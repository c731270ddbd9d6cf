"""Images per second of each part of the work, and the fraction of the machine's peak arithmetic that it reaches.

Called by `benchmarks.bench` in a child process: `python -m benchmarks.rates FOLDER IMAGES`.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from age_tasks.config import config_from_dict
from age_tasks.data.image_folder import ImageFolder
from age_tasks.training.features import decoded_images
from age_tasks.training.hardware import bfloat16, keep_freed_memory, use_bfloat16, use_xla
from age_tasks.training.network import build_model, cut_point, freeze, pooled, suffix_model
from age_tasks.training.prefix_engine import FEW, ROWS, FrozenNetwork

SECONDS = 6.0
BATCH = 32


def main() -> None:
    place, images = Path(sys.argv[1]), sys.argv[2]
    config = config_from_dict(json.loads((place / "config.json").read_text()))
    table = pd.read_csv(place / "labels.csv").assign(augmentation=0, sha256="")
    folder = ImageFolder(images, place)
    model = build_model(config.model, seed=1)
    xla = use_xla(config.compute.xla)
    freeze(model, config.finetune.last_layers)
    cut = cut_point(model)
    prefix, suffix = keras.Model(model.inputs[0], cut), suffix_model(model, at=cut)
    head = suffix_model(model, at=pooled(model))
    batch = next(iter(decoded_images(table.head(BATCH), folder, config.model.image_size).batch(BATCH)))
    pixels = np.repeat(batch.numpy(), ROWS // BATCH, axis=0)
    frozen, whole = (FrozenNetwork(each, config.compute, FEW) for each in (prefix, model))
    features = prefix(batch, training=False)
    peak = _peak_flops()
    half = use_bfloat16(config.compute.mixed_precision)
    seconds = {
        "decode": _decode_seconds(table, folder, config.model.image_size),
        "prefix": BATCH / ROWS * _seconds(lambda: frozen(pixels)),
        "suffix_step": _step_seconds(suffix, features, xla, half),
        "head_step": _step_seconds(head, tf.random.normal((BATCH, pooled(model).shape[-1])), xla, half),
        "whole_forward": BATCH / ROWS * _seconds(lambda: whole(pixels)),
    }
    work = {"prefix": flops(prefix), "suffix_step": 3 * flops(suffix), "whole_forward": flops(model)}
    print(
        json.dumps(
            {
                "images_per_second": {name: round(BATCH / each, 1) for name, each in seconds.items()},
                "share_of_peak": {name: round(BATCH * each / seconds[name] / peak, 3) for name, each in work.items()},
                "peak_gflops": round(peak / 1e9),
                "gflop_per_image": {name: round(each / 1e9, 3) for name, each in work.items()},
                "xla": xla,
                "engine": frozen.engine,
                "bfloat16": half,
                "batch": BATCH,
            }
        )
    )


def flops(model: keras.Model) -> float:
    """Floating-point operations of a forward pass of one image: two per multiplication in convolutions and products.

    A training step counts as three forward passes (forward, gradients of the inputs, gradients of the weights).
    """
    total = 0.0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D | keras.layers.Dense):
            places = np.prod(layer.output.shape[1:-1]) if len(layer.output.shape) == 4 else 1
            total += 2 * float(np.prod(layer.kernel.shape)) * float(places)
    return total


def _step_seconds(model: keras.Model, inputs: tf.Tensor, xla: bool, half: bool) -> float:
    model.compile(keras.optimizers.Adam(1e-5), loss="mae", jit_compile=xla)
    ages, features = np.full((BATCH, 1), 30, "float32"), inputs.numpy()
    keep_freed_memory()
    with bfloat16(half):
        return _seconds(lambda: model.train_on_batch(features, ages))


def _decode_seconds(table: pd.DataFrame, folder: ImageFolder, size: int) -> float:
    data = decoded_images(table, folder, size).batch(BATCH)
    list(data.take(1))
    start = time.perf_counter()
    count = sum(len(batch) for batch in data)
    return (time.perf_counter() - start) * BATCH / count


def _seconds(call: Callable[[], object]) -> float:
    """Seconds of one call: the median of the calls in a few seconds, after two warm-up calls."""
    for _ in range(2):
        call()
    times, begin = [], time.perf_counter()
    while time.perf_counter() - begin < SECONDS:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def _peak_flops() -> float:
    """Operations per second of a large float32 matrix product: the practical peak."""
    matrix = tf.random.normal((2048, 2048))
    return 2 * 2048**3 / _seconds(lambda: tf.linalg.matmul(matrix, matrix).numpy())


if __name__ == "__main__":
    main()
