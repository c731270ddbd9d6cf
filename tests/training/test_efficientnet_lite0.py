import os
import pickle

import keras
import numpy as np
import pytest

from age_tasks.errors import WeightsError
from age_tasks.training.efficientnet_lite0 import efficientnet_lite0, read_state_dict


@pytest.fixture(scope="module")
def base() -> keras.Model:
    return efficientnet_lite0(keras.Input((224, 224, 3)))


def test_the_network_has_the_published_structure(base: keras.Model):
    assert base.output.shape == (None, 7, 7, 1280)
    assert len(base.layers) == 141


def test_features_of_a_ramp_are_those_of_the_published_weights(base: keras.Model):
    """The number comes from an independent conversion of the same weights."""
    ramp = np.linspace(-1, 1, 224 * 224 * 3, dtype="float32").reshape(1, 224, 224, 3)
    features = base.predict(ramp, verbose=0)
    assert np.isfinite(features).all()
    assert float(features.mean()) == pytest.approx(RAMP_MEAN, abs=2e-4)


class Malicious:
    def __reduce__(self):
        return os.system, ("echo never",)


def test_a_pickle_with_other_names_is_refused():
    data = b"".join(pickle.dumps(part, 2) for part in (1, 1001, {})) + pickle.dumps(Malicious(), 2)
    with pytest.raises(WeightsError, match="system is not allowed"):
        read_state_dict(data)


def test_a_damaged_file_is_refused():
    with pytest.raises(WeightsError):
        read_state_dict(b"not a checkpoint")


RAMP_MEAN = 0.053755778819322586
