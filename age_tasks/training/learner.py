"""The learner: the network that is trained, with its copy for the hardware, its loss, optimiser and targets."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from age_tasks.config import Config, TrainingSettings
from age_tasks.training.folding import folded, take_weights
from age_tasks.training.hardware import Switch, gpus, use_float16, use_xla
from age_tasks.training.network import AGE_DISTRIBUTION, AGES, EXPECTED_AGE, YEARS
from age_tasks.training.rows import Targets

_ALWAYS_FLOAT32 = {YEARS, AGE_DISTRIBUTION, EXPECTED_AGE}  # an age in half precision is off by up to a month


def learner_of(model: keras.Model, mixed_precision: Switch) -> tuple[keras.Model, tf.distribute.Strategy]:
    """The model to train in place of `model`, and the strategy to train it in.

    It is `model` itself, or a copy with the same weights: for mixed precision or several GPUs, and on a CPU where one
    trains sooner. Copy back what it has learnt with `give_back`.
    """
    strategy = tf.distribute.MirroredStrategy(gpus()) if len(gpus()) > 1 else tf.distribute.get_strategy()
    if not gpus():
        return folded(model), strategy
    mixed = use_float16(mixed_precision)
    if not mixed and strategy.num_replicas_in_sync == 1:
        return model, strategy
    with strategy.scope():
        return copy_of(model, "mixed_float16" if mixed else "float32"), strategy


def copy_of(model: keras.Model, policy: str) -> keras.Model:
    """A copy with its own weights that computes by the dtype policy; layers whose output is an age stay float32."""

    def layer_of(layer: keras.Operation) -> keras.Operation:
        if not isinstance(layer, keras.layers.Layer):  # such as a bare sum, which has no dtype of its own
            return type(layer).from_config(layer.get_config())
        dtype = "float32" if layer.name in _ALWAYS_FLOAT32 else policy
        return type(layer).from_config(layer.get_config() | {"dtype": dtype})

    copy = keras.models.clone_model(model, clone_function=layer_of)
    take_weights(copy, model)
    return copy


def targets_of(learner: keras.Model, settings: TrainingSettings) -> Targets:
    """A function from ages in years, shape (batch,), to what the learner's outputs are compared with.

    An age distribution is compared with a normal distribution around the age (label distribution learning, Geng 2013),
    and its expected value with the age (DEX, Rothe et al. 2015).
    """
    if AGE_DISTRIBUTION not in learner.output_names:
        return np.asarray

    def targets(ages: np.ndarray) -> dict[str, np.ndarray]:
        density = np.exp(-0.5 * ((AGES[None, :] - ages[:, None]) / settings.label_sigma) ** 2)
        normal = (density / density.sum(axis=1, keepdims=True)).astype("float32")
        return {AGE_DISTRIBUTION: normal, EXPECTED_AGE: ages}

    return targets


def compile_for(learner: keras.Model, settings: TrainingSettings, steps: int, config: Config) -> None:
    """Compile with Adam, as the settings say, and MAE loss; for an age distribution, cross-entropy and MAE.

    Args:
        steps: per epoch, for the cosine schedule.
    """
    rate: Any = settings.learning_rate
    if settings.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(
            rate / 10, steps * settings.epochs, alpha=0.1, warmup_target=rate, warmup_steps=max(steps // 4, 1)
        )
    average = {"use_ema": True, "ema_momentum": settings.ema_momentum} if settings.ema_momentum else {}
    optimizer = keras.optimizers.Adam(rate, weight_decay=settings.weight_decay or None, **average)
    losses: dict[str, Any] = {"loss": "mae", "metrics": ["mae"]}
    if AGE_DISTRIBUTION in learner.output_names:
        losses = {
            "loss": {AGE_DISTRIBUTION: "categorical_crossentropy", EXPECTED_AGE: "mae"},
            "loss_weights": {AGE_DISTRIBUTION: 1.0, EXPECTED_AGE: settings.mae_weight},
            "metrics": {EXPECTED_AGE: ["mae"]},
        }
    learner.compile(optimizer, **losses, jit_compile=use_xla(config.compute.xla))
