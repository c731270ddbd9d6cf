"""The usual implementation of the recipe: tf.data from the files, parallel decoding and prefetch, `model.fit` twice.

Every image passes the whole network in every epoch.
"""

from age_tasks.training.network import build_model, freeze
from benchmarks.peers.keras_parts import batches, train
from benchmarks.peers.task import read_task


def main() -> None:
    task = read_task(__doc__)
    config = task.config
    model = build_model(config.model, config.baseline.seed)
    for last_layers, settings in ((0, config.baseline), (config.finetune.last_layers, config.finetune)):
        freeze(model, last_layers)
        train(task, model, settings, batches(task, "train", settings.seed), batches(task, "val"))
    task.finish(model.predict(batches(task, "test"), verbose=0).ravel())


if __name__ == "__main__":
    main()
