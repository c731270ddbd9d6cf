"""Bottleneck features, written by hand: the frozen part once over all images, both trainings on arrays in memory.

Chollet described it in "Building powerful image classification models using very little data" (2016). One pass gives
the average-pooled features, for the head, and the feature map where fine-tuning begins. Nothing is kept between runs:
the arrays are in the order of one run's splits.
"""

import keras
import numpy as np

from age_tasks.training.network import build_model, cut_point, freeze, pooled, suffix_model
from benchmarks.peers.keras_parts import batches, train
from benchmarks.peers.task import read_task


def main() -> None:
    task = read_task(__doc__)
    config = task.config
    model = build_model(config.model, config.baseline.seed)
    freeze(model, config.finetune.last_layers)
    cut = cut_point(model)
    frozen = keras.Model(model.inputs, [cut, pooled(model)])
    maps, vectors = dict[str, np.ndarray](), dict[str, np.ndarray]()
    for split in task.splits:
        maps[split], vectors[split] = frozen.predict(batches(task, split), verbose=0)
    keras.utils.set_random_seed(config.baseline.seed)
    for last_layers, settings, features, at in (
        (0, config.baseline, vectors, pooled(model)),
        (config.finetune.last_layers, config.finetune, maps, cut),
    ):
        freeze(model, last_layers)
        network = suffix_model(model, at=at)
        val = (features["val"], task.ages("val"))
        train(task, network, settings, (features["train"], task.ages("train")), val)
    task.finish(network.predict(maps["test"], verbose=0).ravel())


if __name__ == "__main__":
    main()
