from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from age_tasks.config import ModelSettings
from age_tasks.environment import PROJECT
from age_tasks.errors import WeightsError
from age_tasks.training.features import prefix_digest
from age_tasks.training.network import (
    AGE_DISTRIBUTION,
    AGES,
    EXPECTED_AGE,
    averaged,
    build_model,
    cut_point,
    freeze,
    load_network,
    load_saved,
    median_age,
    pooled,
    suffixes,
    weighted_layers,
    with_mirror,
)
from tests.support.hostile import model_with_code


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> keras.Model:
    """ResNet50 from a weights file, as without access to a network."""
    weights = tmp_path_factory.mktemp("weights") / "resnet50.weights.h5"
    keras.utils.set_random_seed(1)
    keras.applications.ResNet50(include_top=False, weights=None).save_weights(weights)
    return build_model(ModelSettings(weights=str(weights), image_size=64), seed=1)


def test_resnet50_is_cut_before_its_last_stage(resnet: keras.Model):
    freeze(resnet, 30)
    cut = cut_point(resnet)
    assert cut.shape == (None, 4, 4, 1024)
    assert cut is resnet.get_layer("conv4_block6_out").output
    learning = [layer for layer in resnet.layers if layer.trainable_weights]
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in learning)


def test_only_the_head_of_the_baseline_is_trainable(resnet: keras.Model):
    freeze(resnet, 0)
    assert cut_point(resnet) is resnet.get_layer("pooled").output
    assert [layer.name for layer in resnet.layers if layer.trainable_weights] == ["head_dense", "years"]


@pytest.mark.parametrize("last_layers", [174, 1000])
def test_with_nothing_frozen_the_cut_is_the_input(resnet: keras.Model, last_layers: int):
    freeze(resnet, last_layers)
    assert cut_point(resnet) is resnet.inputs[0]


def test_a_normalisation_of_pixels_is_not_frozen_but_preprocessing():
    pixels = keras.Input((8, 8, 3))
    normalised = keras.layers.Normalization(name="normalise")(pixels)  # its weights would be adapted
    learning = keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 3)(normalised)))
    assert learning.get_layer("normalise").weights
    assert cut_point(learning) is learning.inputs[0]


def test_preprocessing_equals_that_of_keras(resnet: keras.Model):
    pixels = np.random.default_rng(1).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    ours = keras.Model(resnet.inputs[0], resnet.get_layer("preprocess").output)(pixels)
    theirs = keras.applications.resnet50.preprocess_input(pixels.copy())
    assert np.abs(np.asarray(ours) - theirs).max() < 1e-3


def test_a_saved_model_takes_pixels_and_loads_in_safe_mode(resnet: keras.Model, tmp_path: Path):
    resnet.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    pixels = np.random.default_rng(1).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    assert np.allclose(resnet(pixels), loaded(pixels), atol=1e-4)


@pytest.mark.parametrize("dense_units", [0, 16])
def test_the_expected_value_head_outputs_the_expected_age(dense_units: int, tmp_path: Path):
    settings = ModelSettings(
        backbone="efficientnet_lite0", image_size=64, head="expected_value", dense_units=dense_units
    )
    model = build_model(settings, seed=1)
    freeze(model, 0)
    pixels = np.random.default_rng(1).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    distribution, years = keras.Model(
        model.inputs[0], [model.get_layer("age_shares").output, model.outputs[0]]
    ).predict(pixels, verbose=0)
    assert years.ravel() == pytest.approx(distribution @ np.arange(101), abs=1e-3)
    assert "expected_age" not in [layer.name for layer in model.layers if layer.trainable_weights]


def test_test_time_augmentation_averages_an_image_and_its_mirror(resnet: keras.Model, tmp_path: Path):
    with_mirror(resnet).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    pixels = np.random.default_rng(1).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    plain, mirrored = (resnet.predict(each, verbose=0) for each in (pixels, pixels[:, :, ::-1]))
    assert np.allclose(loaded.predict(pixels, verbose=0), (plain + mirrored) / 2, atol=1e-3)
    network = load_network(tmp_path / "model.keras")
    assert np.allclose(network.predict(pixels, verbose=0), plain, atol=1e-3)


@pytest.fixture(scope="module", params=["regression", "expected_value"])
def seeds(request: pytest.FixtureRequest) -> list[keras.Model]:
    """Two networks with one frozen prefix whose other weights differ, as fine-tunings with two seeds leave them."""
    networks = []
    settings = ModelSettings(backbone="efficientnet_lite0", image_size=64, dense_units=8, head=request.param)
    for seed in (1, 2):
        network = build_model(settings, seed)
        freeze(network, 20)
        for weight in network.trainable_weights:
            weight.assign(weight * (1 + 0.01 * seed))
        networks.append(network)
    return networks


@pytest.mark.parametrize("mirror", [False, True])
def test_an_averaged_network_is_one_file_from_pixels_to_an_age(seeds: list[keras.Model], mirror: bool, tmp_path: Path):
    average = averaged(seeds)
    (with_mirror(average) if mirror else average).save(tmp_path / "model.keras")
    pixels = np.random.default_rng(1).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    single = [each.predict(pixels, verbose=0) for each in seeds]
    assert np.abs(single[0] - single[1]).min() > 0.01
    network = load_network(tmp_path / "model.keras")
    assert network.predict(pixels, verbose=0) == pytest.approx(of_both(seeds, pixels), abs=1e-3)
    assert len(suffixes(network)) == 2
    loaded = load_saved(tmp_path / "model.keras").predict(pixels, verbose=0)
    views = (pixels, pixels[:, :, ::-1]) if mirror else (pixels,)
    assert loaded == pytest.approx(np.mean([of_both(seeds, view) for view in views], axis=0), abs=1e-3)


def of_both(seeds: list[keras.Model], pixels: np.ndarray) -> np.ndarray:
    """The mean of the two networks' ages, or the median of the mean of their age distributions, in years."""
    if seeds[0].output_names != [EXPECTED_AGE]:
        return np.mean([each.predict(pixels, verbose=0) for each in seeds], axis=0)
    heads = [keras.Model(each.inputs, each.get_layer(AGE_DISTRIBUTION).output) for each in seeds]
    return np.array([[median_of(row)] for row in np.mean([each.predict(pixels, verbose=0) for each in heads], axis=0)])


def median_of(shares: np.ndarray) -> float:
    """The age in years that half of a distribution is below, by interpolation between the ends of the years."""
    ends = np.arange(-0.5, 101)
    return float(np.interp(0.5, np.concatenate([[0.0], np.cumsum(shares)]), ends))


@pytest.fixture(scope="module")
def convnexts() -> list[keras.Model]:
    """Two networks as in `seeds`, on a backbone that has models among its layers: the blocks that sample down."""
    settings, networks = ModelSettings(backbone="convnexttiny", weights="unread", image_size=32, dense_units=8), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("age_tasks.training.network._load_file", lambda *_: keras.utils.set_random_seed(3))
        first, second = (build_model(settings, seed) for seed in (1, 2))
    second.set_weights(first.get_weights())
    for number, network in enumerate((first, second), 1):
        freeze(network, 30)
        for weight in network.trainable_weights:
            weight.assign(weight * (1 + 0.1 * number))
        networks.append(network)
    return networks


@pytest.mark.parametrize(("average", "mirror"), [(False, False), (False, True), (True, True)])
def test_a_network_with_models_among_its_layers_is_loaded_as_a_whole(
    convnexts: list[keras.Model], average: bool, mirror: bool, tmp_path: Path
):
    assert any(isinstance(layer, keras.Sequential) for layer in convnexts[0].layers if layer.trainable)
    saved = averaged(convnexts) if average else convnexts[0]
    (with_mirror(saved) if mirror else saved).save(tmp_path / "model.keras")
    network = load_network(tmp_path / "model.keras")
    assert (network.name, len(network.layers)) == (saved.name, len(saved.layers))
    pixels = np.random.default_rng(1).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    single = [np.asarray(each(pixels)) for each in (convnexts if average else convnexts[:1])]
    assert np.asarray(network(pixels)) == pytest.approx(np.mean(single, axis=0), abs=1e-3)
    assert weighted_layers(network).keys() == weighted_layers(convnexts[0]).keys()
    if not average:
        freeze(network, 30)
        trained = [{layer.name: len(layer.trainable_weights) for layer in each.layers} for each in (network, saved)]
        assert trained[0] == trained[1]
        assert cut_point(network).shape == cut_point(saved).shape


def test_the_prefix_of_a_network_with_models_among_its_layers_keeps_its_digest(
    convnexts: list[keras.Model], tmp_path: Path
):
    convnexts[0].save(tmp_path / "model.keras")
    networks = [*convnexts, load_network(tmp_path / "model.keras"), averaged(convnexts)]
    digests = {prefix_digest(keras.Model(each.inputs, cut_point(each))) for each in networks}
    assert len(digests) == 1


@given(arrays("float32", (3, 101), elements=st.floats(2**-10, 1, width=32)))
def test_the_median_age_has_half_of_the_distribution_below_it(raw: np.ndarray):
    shares = raw / raw.sum(axis=1, keepdims=True)
    found = keras.ops.convert_to_numpy(median_age(keras.ops.convert_to_tensor(shares)))
    assert found.shape == (3, 1)
    assert found.ravel() == pytest.approx([median_of(row) for row in shares], abs=0.01)


@pytest.mark.parametrize(("ages", "median"), [([0], 0.0), ([100], 100.0), ([30], 30.0), ([20, 21], 20.5)])
def test_the_median_age_of_a_distribution_of_few_ages(ages: list[int], median: float):
    shares = np.zeros((1, 101), "float32")
    shares[0, ages] = 1 / len(ages)
    assert float(median_age(keras.ops.convert_to_tensor(shares))[0, 0]) == pytest.approx(median, abs=1e-3)


def test_an_averaged_network_computes_the_prefix_of_its_parts_once(seeds: list[keras.Model], tmp_path: Path):
    averaged(seeds).save(tmp_path / "model.keras")
    network = load_network(tmp_path / "model.keras")
    cuts = [cut_point(each) for each in (seeds[0], network)]
    digests = [
        prefix_digest(keras.Model(each.inputs, cut)) for each, cut in zip([seeds[0], network], cuts, strict=True)
    ]
    assert digests[0] == digests[1]
    prefix = keras.Model(network.inputs, cuts[1]).count_params()
    expected = len(AGES) if EXPECTED_AGE in seeds[0].output_names else 0  # an average predicts the median instead
    behind = sum(each.count_params() - prefix - expected for each in seeds)
    assert network.count_params() == prefix + behind


def test_the_pooled_features_of_an_averaged_network_are_those_of_its_first_part(
    seeds: list[keras.Model], tmp_path: Path
):
    averaged(seeds).save(tmp_path / "model.keras")
    network = load_network(tmp_path / "model.keras")
    pixels = np.random.default_rng(1).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    ours, theirs = (keras.Model(each.inputs, pooled(each)).predict(pixels, verbose=0) for each in (network, seeds[0]))
    assert ours == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize("number", [0, 1])
def test_the_layers_of_a_network_that_was_averaged_are_known_by_name(
    seeds: list[keras.Model], number: int, tmp_path: Path
):
    with_mirror(averaged(seeds)).save(tmp_path / "model.keras")
    ours, theirs = weighted_layers(load_network(tmp_path / "model.keras"), number), weighted_layers(seeds[number])
    assert ours.keys() == theirs.keys()
    for name, layer in theirs.items():
        assert all(map(np.array_equal, ours[name].get_weights(), layer.get_weights()))


def test_a_weights_file_with_code_is_refused(tmp_path: Path):
    hostile, ran = model_with_code(tmp_path / "hostile.keras")
    with pytest.raises(WeightsError, match=r"hostile\.keras does not fit resnet50"):
        build_model(ModelSettings(weights=str(hostile), image_size=32), seed=1)
    assert not ran.exists()


@pytest.mark.parametrize("load", [load_saved, load_network])
def test_a_model_file_with_code_is_refused(load: Callable, tmp_path: Path):
    hostile, ran = model_with_code(tmp_path / "hostile.keras")
    with pytest.raises(WeightsError, match=r"hostile\.keras can't be loaded: .*Lambda") as error:
        load(hostile)
    assert "safe_mode=False" not in str(error.value)  # Keras' own advice
    keras.models.load_model(hostile, safe_mode=False).predict(np.zeros((1, 32, 32, 3)), verbose=0)
    assert ran.exists()  # the refused code would have run


@pytest.mark.parametrize("content", [b"", b"PK\3\4 truncated"])
def test_a_file_that_is_not_a_model_is_refused(content: bytes, tmp_path: Path):
    (tmp_path / "model.keras").write_bytes(content)
    with pytest.raises(WeightsError, match=r"model\.keras can't be loaded"):
        load_saved(tmp_path / "model.keras")


def test_all_models_are_loaded_by_one_function():
    loading = [path.name for path in (PROJECT / "age_tasks").rglob("*.py") if "load_model(" in path.read_text()]
    assert loading == ["network.py"]


def test_missing_weights_are_refused(tmp_path: Path):
    with pytest.raises(WeightsError, match="no such file"):
        build_model(ModelSettings(weights=str(tmp_path / "none.h5")), seed=1)


def test_a_failed_download_names_the_setting_for_a_weights_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def unreachable(*_, **__):
        raise Exception("URL fetch failure: unreachable")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", unreachable)
    with pytest.raises(WeightsError, match=r"--set model.weights=/path/to"):
        build_model(ModelSettings(image_size=64), seed=1)


def test_the_prefix_digest_depends_on_weights_not_on_names(resnet: keras.Model):
    freeze(resnet, 30)
    before = prefix_digest(keras.Model(resnet.inputs, cut_point(resnet)))
    resnet.get_layer("head_dense").set_weights([w + 1 for w in resnet.get_layer("head_dense").get_weights()])
    assert prefix_digest(keras.Model(resnet.inputs, cut_point(resnet))) == before
    stem = resnet.get_layer("conv1_conv")
    kept = stem.get_weights()
    stem.set_weights([weight + 1 for weight in kept])
    assert prefix_digest(keras.Model(resnet.inputs, cut_point(resnet))) != before
    stem.set_weights(kept)
