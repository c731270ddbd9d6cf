"""The network: load a pretrained backbone, put the head on, freeze, and cut at the frozen prefix."""

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from age_tasks.backbones import BACKBONES
from age_tasks.config import ModelSettings
from age_tasks.errors import WeightsError
from age_tasks.stopwatch import timed
from age_tasks.training.efficientnet_lite import FAMILY, efficientnet_lite
from age_tasks.training.pretrained import not_downloaded, weights_file

POOL = "pooled"
SUFFIX = "suffix_"  # of the names of the parts of an averaged network
YEARS, AGE_DISTRIBUTION, EXPECTED_AGE = "years", "age_shares", "expected_age"  # in saved models
_IMAGENET_MEAN, _IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of RGB values from 0 to 1
AGES = np.arange(101, dtype="float32")  # years, one class each
_LEAST_SHARE = 1e-7  # a smaller one is divided by as this


def build_model(settings: ModelSettings, seed: int) -> keras.Model:
    """A new network from raw pixels to years.

    Backbone, then the published head: average pooling, Dropout, Dense(relu), Dropout, Dense(1); or, with the head
    `expected_value`, an age distribution over 101 classes and its expected value (DEX, Rothe et al. 2015).
    Preprocessing is part of the network, in built-in layers only, so that the saved file loads in safe mode anywhere.

    Args:
        seed: of the head's initial weights and of dropout.

    Returns:
        Input float32 (batch, image_size, image_size, 3), RGB values 0–255; output float32 (batch, 1), years.

    Raises:
        WeightsError: its weights can't be loaded.
    """
    pixels = keras.Input((settings.image_size, settings.image_size, 3), name="pixels")
    x = _backbone(settings, pixels)
    x = keras.layers.GlobalAveragePooling2D(name=POOL)(x)
    x = keras.layers.Dropout(settings.dropout, seed=seed, name="head_dropout_1")(x)
    initial = [keras.initializers.GlorotUniform(seed=seed + i) for i in range(2)]
    if settings.dense_units:
        x = keras.layers.Dense(settings.dense_units, "relu", kernel_initializer=initial[0], name="head_dense")(x)
        x = keras.layers.Dropout(settings.dropout, seed=seed + 1, name="head_dropout_2")(x)
    if settings.head == "expected_value":
        distribution = keras.layers.Dense(len(AGES), "softmax", kernel_initializer=initial[1], name=AGE_DISTRIBUTION)(x)
        expected = keras.layers.Dense(1, use_bias=False, trainable=False, name=EXPECTED_AGE)
        years = expected(distribution)
        expected.set_weights([AGES[:, None]])
    else:
        years = keras.layers.Dense(1, kernel_initializer=initial[1], name=YEARS)(x)
    return keras.Model(pixels, years, name=f"age_{settings.backbone}")


def freeze(model: keras.Model, last_layers: int) -> None:
    """Make the head and the last `last_layers` layers of the backbone trainable; freeze BatchNorm and all before.

    A frozen BatchNorm uses its stored statistics, as Keras' guide to fine-tuning advises: batches of faces would move
    them away from those that the frozen weights were trained with.
    """
    names = [layer.name for layer in model.layers]
    first = max(names.index(POOL) - last_layers, 0)
    for position, layer in enumerate(model.layers):
        fixed = isinstance(layer, keras.layers.BatchNormalization) or layer.name == EXPECTED_AGE
        layer.trainable = position >= first and not fixed


def cut_point(model: keras.Model) -> keras.KerasTensor:
    """The last tensor that all data passes before the first trainable layer.

    Everything before it is a pure function of the image. Where that is no more than preprocessing, since nothing is
    frozen, it is the input itself: pixels take a quarter of the room, as bytes, and are the same for every network.
    """
    nodes = [node for depth in sorted(model._nodes_by_depth, reverse=True) for node in model._nodes_by_depth[depth]]
    last_use = {id(tensor): at for at, node in enumerate(nodes) for tensor in node.input_tensors}
    cut, open_tensors, frozen = model.inputs[0], dict[int, keras.KerasTensor](), False
    for at, node in enumerate(nodes):
        if getattr(node.operation, "trainable_weights", ()):
            return cut if frozen else model.inputs[0]
        frozen = frozen or _is_frozen(node.operation)
        open_tensors |= {id(tensor): tensor for tensor in node.outputs}
        open_tensors = {key: tensor for key, tensor in open_tensors.items() if last_use.get(key, at) > at}
        if len(open_tensors) == 1:
            (cut,) = open_tensors.values()
        if node.operation.name == POOL:
            break  # the head's dropout has no weights, but is part of what is trained
    return cut


def _is_frozen(operation: keras.Operation) -> bool:
    """Whether it is a layer of the backbone with weights; a normalisation of pixels has some too, but is none."""
    return bool(getattr(operation, "weights", ())) and not isinstance(operation, keras.layers.Normalization)


def pooled(model: keras.Model) -> keras.KerasTensor:
    """The average-pooled features of the backbone, the input of the head; of an averaged network, of its first head."""
    parts = suffixes(model)
    if not parts or POOL in {layer.name for layer in model.layers}:
        return model.get_layer(POOL).output
    first = parts[0]
    return keras.Model(first.inputs[0], first.get_layer(POOL).output)(cut_point(model))


def suffix_model(model: keras.Model, *, at: keras.KerasTensor) -> keras.Model:
    """From the tensor `at` to years; shares its layers with `model`, so that training one trains the other."""
    return keras.Model(at, model.outputs[0])


def learning_model(model: keras.Model, *, at: keras.KerasTensor) -> keras.Model:
    """As `suffix_model`, to the outputs that have a loss: years, or the age distribution and its expected value."""
    names = {layer.name for layer in model.layers}
    if AGE_DISTRIBUTION not in names:
        return suffix_model(model, at=at)
    return keras.Model(at, {name: model.get_layer(name).output for name in (AGE_DISTRIBUTION, EXPECTED_AGE)})


def averaged(models: Sequence[keras.Model]) -> keras.Model:
    """One network from pixels to the mean of the models' ages, or the median of their mean age distribution, in years.

    It computes the frozen prefix once, and after it the other layers of each model: a deep ensemble (Lakshminarayanan
    et al. 2017) of the layers that were trained. The median of a distribution has the least expected absolute error.

    Args:
        models: fine-tunings of one network, in which the same layers are frozen.
    """
    cut, distributions = cut_point(models[0]), AGE_DISTRIBUTION in {layer.name for layer in models[0].layers}
    parts = [
        keras.Model(
            cut_point(model),
            model.get_layer(AGE_DISTRIBUTION).output if distributions else model.outputs[0],
            name=f"{SUFFIX}{number}",
        )
        for number, model in enumerate(models, 1)
    ]
    mean = keras.layers.Average(name="mean_of_suffixes")([part(cut) for part in parts])
    return keras.Model(models[0].inputs[0], median_age(mean) if distributions else mean, name=models[0].name)


def median_age(shares: keras.KerasTensor) -> keras.KerasTensor:
    """The age that half of an age distribution is below, in years, shape (batch, 1).

    Args:
        shares: shape (batch, 101), of the ages in `AGES`; the share of an age is spread over the year around it.
    """
    below = keras.ops.cumsum(shares, axis=-1) - shares
    passed = keras.ops.clip((0.5 - below) / keras.ops.maximum(shares, _LEAST_SHARE), 0.0, 1.0)  # of each year
    return keras.ops.sum(passed, axis=-1, keepdims=True) - 0.5


def suffixes(model: keras.Model) -> list[keras.Model]:
    """The parts whose ages or age distributions an averaged network averages; none if it is a single network."""
    return [layer for layer in model.layers if isinstance(layer, keras.Model) and layer.name.startswith(SUFFIX)]


def weighted_layers(model: keras.Model, number: int = 0) -> dict[str, keras.layers.Layer]:
    """The layers that learn weights, by name; of an averaged network those of one of the networks that it averages.

    Args:
        number: of that single network, counted from 0.
    """
    parts = suffixes(model)
    layers = [layer for layer in model.layers if layer not in parts]
    layers += parts[number].layers if parts else []
    return {layer.name: layer for layer in layers if layer.weights and layer.name != EXPECTED_AGE}


def with_mirror(model: keras.Model) -> keras.Model:
    """The network with test-time augmentation: pixels to the mean of an image's and its mirror's ages, in years."""
    pixels = keras.Input(model.input_shape[1:], name="pixels_of_both")
    mirrored = keras.ops.flip(pixels, axis=2)
    return keras.Model(pixels, keras.layers.Average(name="mean")([model(pixels), model(mirrored)]))


@timed("input")
def load_saved(path: Path) -> keras.Model:
    """Load a saved model in Keras' safe mode, which refuses a file with code, such as a Lambda layer.

    Raises:
        WeightsError: the file is refused, or is not a model.
    """
    try:
        return keras.models.load_model(path, safe_mode=True)
    except Exception as error:  # the file decides what fails
        reason = str(error).partition(". ")[0]
        raise WeightsError(
            f"{path} can't be loaded: {reason}. A model file may contain Keras' own layers and weights, but no code: "
            "publish one that a run has trained, or go back to another version: `age-tasks rollback --to`"
        ) from None


def load_network(path: Path) -> keras.Model:
    """As `load_saved`, without the test-time augmentation that `with_mirror` adds."""
    model = load_saved(path)
    if suffixes(model) or POOL in {layer.name for layer in model.layers}:
        return model  # a model inside it, such as each block of ConvNeXt that samples down, is a part of the network
    return next((layer for layer in model.layers if isinstance(layer, keras.Model)), model)


def _backbone(settings: ModelSettings, pixels: keras.KerasTensor) -> keras.KerasTensor:
    """The last feature map of the preprocessed pixels."""
    if settings.backbone in FAMILY:
        return _lite(settings, keras.layers.Rescaling(1 / 128, -127 / 128, name="preprocess")(pixels))
    backbone = BACKBONES[settings.backbone]
    return _application(backbone.constructor, settings, _preprocess(pixels, backbone.preprocessing))


def _preprocess(pixels: keras.KerasTensor, mode: str) -> keras.KerasTensor:
    if mode == "caffe":  # BGR, less the mean of ImageNet
        blue_first = keras.ops.flip(pixels, axis=-1)
        return keras.layers.Normalization(mean=[103.939, 116.779, 123.68], variance=[1.0] * 3, name="preprocess")(
            blue_first
        )
    if mode == "tf":  # -1 to 1
        return keras.layers.Rescaling(1 / 127.5, -1.0, name="preprocess")(pixels)
    if mode == "torch":  # mean and standard deviation of ImageNet on 0 to 1
        return keras.layers.Normalization(
            mean=[255 * value for value in _IMAGENET_MEAN],
            variance=[(255 * value) ** 2 for value in _IMAGENET_DEVIATION],
            name="preprocess",
        )(pixels)
    return pixels


def _lite(settings: ModelSettings, scaled: keras.KerasTensor) -> keras.KerasTensor:
    if settings.weights == "imagenet":
        return efficientnet_lite(settings.backbone, scaled).output
    base = efficientnet_lite(settings.backbone, scaled, None)
    _load_file(base, settings)
    return base.output


def _application(name: str, settings: ModelSettings, scaled: keras.KerasTensor) -> keras.KerasTensor:
    constructor = getattr(keras.applications, name)
    if settings.weights != "imagenet":
        base = constructor(include_top=False, weights=None, input_tensor=scaled)
        _load_file(base, settings)
        _scale_as_imagenet(base)
        return base.output
    try:
        return constructor(include_top=False, weights="imagenet", input_tensor=scaled).output
    except Exception as error:  # Keras raises a bare Exception when a download fails
        raise not_downloaded(settings.backbone, error) from None


def _scale_as_imagenet(base: keras.Model) -> None:
    """Fold into the normalisation what Keras' EfficientNetB0 to B7 have only with `weights="imagenet"`.

    They then divide once more by the square root of ImageNet's deviations, as their weights were trained (TensorFlow's
    issue 49930), but not with the same weights from a file. No other network has a normalisation with weights.
    """
    for layer in base.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            mean, variance, count = layer.get_weights()
            if np.allclose(mean, _IMAGENET_MEAN, atol=1e-3):
                layer.set_weights([mean, variance * _IMAGENET_DEVIATION, count])
                layer.finalize_state()  # what it computes with


def _load_file(base: keras.Model, settings: ModelSettings) -> None:
    path = weights_file(settings)
    try:
        base.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        reason = str(error).partition("\n")[0].partition(" Example error")[0]  # Keras lists every layer
        raise WeightsError(
            f"{path} does not fit {settings.backbone} without its top ({reason}); "
            "give a 'notop' .h5 or .weights.h5 file"
        ) from None
