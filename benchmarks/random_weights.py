"""Random weights for a backbone whose ImageNet weights can't be downloaded: valid for timing, not for accuracy.

Called by `benchmarks.bench` in a child process: `python -m benchmarks.random_weights BACKBONE SIZE IMAGES FILE`.
"""

import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from age_tasks.data.decoding import load_rgb

IMAGES = 32


def main() -> None:
    backbone, size, images, file = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    keras.utils.set_random_seed(1)
    constructor = next(
        getattr(keras.applications, name) for name in dir(keras.applications) if name.lower() == backbone
    )
    network = constructor(include_top=False, weights=None, input_shape=(size, size, 3))
    pixels = np.stack([load_rgb(path, size) for path in sorted(images.iterdir())[:IMAGES]])
    calibrate(network, pixels.astype("float32") - 127)
    network.save_weights(file)


def calibrate(network: keras.Model, pixels: np.ndarray) -> None:
    """Set the statistics of every BatchNorm to those of these images: else activations leave float16's range or vanish.

    Args:
        pixels: shape (images, size, size, 3), in the range of the network's inputs.
    """
    norms = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    network(tf.constant(pixels), training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum


if __name__ == "__main__":
    main()
