"""Weights by lot for a backbone whose ImageNet weights can't be fetched: good for times, not for errors.

Called by `benchmarks.bench` in a process of its own: `python -m benchmarks.random_weights BACKBONE SIZE FACES FILE`.
"""

import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from age_tasks.data.decoding import load_rgb

FACES = 32


def main() -> None:
    backbone, size, faces, file = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    keras.utils.set_random_seed(1)
    constructor = next(
        getattr(keras.applications, name) for name in dir(keras.applications) if name.lower() == backbone
    )
    network = constructor(include_top=False, weights=None, input_shape=(size, size, 3))
    pixels = np.stack([load_rgb(path, size) for path in sorted(faces.iterdir())[:FACES]])
    settle(network, pixels.astype("float32") - 127)
    network.save_weights(file)


def settle(network: keras.Model, pixels: np.ndarray) -> None:
    """Give every BatchNorm the statistics of these pictures: without them, activations grow out of float16 or vanish.

    Args:
        pixels: shape (pictures, size, size, 3), about what the network is fed.
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
