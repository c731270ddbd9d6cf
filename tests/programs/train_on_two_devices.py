"""Train a small network on two logical CPU devices; exits with an error if it does not learn."""

import keras
import numpy as np
import tensorflow as tf

from age_tasks.training import learner as learners


def main() -> None:
    """Split the CPU before TensorFlow starts: that can be done once per process."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    learners.gpus = lambda: ["CPU:0", "CPU:1"]
    keras.utils.set_random_seed(1)
    pixels = keras.Input((4,))
    model = keras.Model(pixels, keras.layers.Dense(1, name="years")(pixels))
    before = model.get_weights()
    learner, strategy = learners.learner_of(model, "never")
    assert strategy.num_replicas_in_sync == 2, strategy.num_replicas_in_sync
    assert learner is not model
    with strategy.scope():
        learner.compile(keras.optimizers.SGD(0.1), "mae")
    x = np.random.default_rng(1).normal(size=(64, 4)).astype("float32")
    losses = learner.fit(x, x @ np.ones((4, 1), "float32"), epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0] / 2, losses
    model.set_weights(learner.get_weights())
    assert not np.allclose(model.get_weights()[0], before[0])


if __name__ == "__main__":
    main()
