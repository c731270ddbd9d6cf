"""The pretrained networks to choose from, and what is known of each without importing Keras: `backbones.csv`."""

import csv
from typing import NamedTuple

from age_tasks.resources import package_path


class Backbone(NamedTuple):
    """A network without its classifier.

    Args:
        constructor: its name in keras.applications; empty: our own.
        preprocessing: the mode of keras.applications' own `preprocess_input`; `inside`: the network scales its input.
        layers: how many there are after preprocessing.
        least_size: the smallest side of an image in pixels.
        weights_file: the name that Keras keeps its ImageNet weights under; empty: they come with a package.
        weights_url: where Keras downloads them from.
    """

    constructor: str
    preprocessing: str
    layers: int
    least_size: int
    weights_file: str
    weights_url: str


def _read() -> dict[str, Backbone]:
    with package_path("backbones.csv").open(newline="") as file:
        _, *rows = csv.reader(file)
    return {
        name: Backbone(constructor, preprocessing, int(layers), int(least_size), weights_file, weights_url)
        for name, constructor, preprocessing, layers, least_size, weights_file, weights_url in rows
    }


BACKBONES = _read()
