import subprocess
import sys

import keras
import numpy as np

from age_tasks.accelerate import copy_of, use_mixed_precision, use_xla
from age_tasks.backbones import build_model, freeze
from age_tasks.config import ModelSettings
from age_tasks.locations import PROJECT

MIRRORED = """
import numpy as np, tensorflow as tf, keras
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from age_tasks import accelerate
accelerate.gpus = lambda: ["CPU:0", "CPU:1"]
keras.utils.set_random_seed(1)
pixels = keras.Input((4,))
model = keras.Model(pixels, keras.layers.Dense(1, name="years")(pixels))
before = model.get_weights()
learner, strategy = accelerate.learner_of(model, "never")
assert strategy.num_replicas_in_sync == 2, strategy.num_replicas_in_sync
assert learner is not model
with strategy.scope():
    learner.compile(keras.optimizers.SGD(0.1), "mae")
x = np.random.default_rng(1).normal(size=(64, 4)).astype("float32")
losses = learner.fit(x, x @ np.ones((4, 1), "float32"), epochs=20, verbose=0).history["loss"]
assert losses[-1] < losses[0] / 2, losses
model.set_weights(learner.get_weights())
assert not np.allclose(model.get_weights()[0], before[0])
"""


def test_several_devices_train_one_model():
    done = subprocess.run([sys.executable, "-c", MIRRORED], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_mixed_precision_copy_gives_the_same_ages():
    model = build_model(ModelSettings(backbone="efficientnet_lite0", image_size=64), seed=1)
    freeze(model, 5)
    copy = copy_of(model, "mixed_float16")
    assert copy.get_layer("head_dense").compute_dtype == "float16"
    assert copy.get_layer("years").compute_dtype == "float32"
    assert [layer.trainable for layer in copy.layers] == [layer.trainable for layer in model.layers]
    pixels = np.random.default_rng(1).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    assert np.allclose(model.predict(pixels, verbose=0), copy.predict(pixels, verbose=0), atol=0.05)


def test_xla_is_chosen_by_the_kind_of_network():
    depthwise = build_model(ModelSettings(backbone="efficientnet_lite0", image_size=64), seed=1)
    plain = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
    assert use_xla("auto", plain)
    assert not use_xla("auto", depthwise)
    assert use_xla("always", depthwise)
    assert not use_xla("never", plain)
    assert (use_mixed_precision("always"), use_mixed_precision("never")) == (True, False)
