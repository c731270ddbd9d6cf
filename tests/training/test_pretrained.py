"""What is known of backbones and their weights without Keras, against Keras itself."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from age_tasks.backbones import BACKBONES, Backbone
from age_tasks.config import ModelSettings
from age_tasks.errors import WeightsError
from age_tasks.training import pretrained
from age_tasks.training.network import POOL, build_model
from age_tasks.training.pretrained import require_weights
from tests.support.backbones import each_backbone

# Of each family one; all were compared when the table was made.
SOME = ("inceptionv3", "mobilenetv3small", "resnet50", "resnet50v2", "vgg16", "convnexttiny")


@contextmanager
def serving(status: int) -> Iterator[tuple[str, list[str]]]:
    """A server that answers every request with this status: its address, and the methods so far."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.command)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/notop.h5", asked
        finally:
            server.shutdown()


@pytest.fixture
def backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Backbone:
    """One that Keras has not downloaded."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(pretrained, "PAUSE_SECONDS", 0)
    return BACKBONES["nasnetmobile"]


def test_weights_that_can_be_downloaded_are_asked_for_and_left_there(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
):
    with serving(200) as (url, asked):
        monkeypatch.setitem(BACKBONES, "nasnetmobile", backbone._replace(weights_url=url))
        require_weights(ModelSettings(backbone="nasnetmobile"))
    assert asked == ["GET"]


def test_weights_that_can_t_be_downloaded_are_refused_after_a_few_tries(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
):
    with serving(403) as (url, asked):
        monkeypatch.setitem(BACKBONES, "nasnetmobile", backbone._replace(weights_url=url))
        with pytest.raises(
            WeightsError, match=r"the ImageNet weights of nasnetmobile can't be .*403.*--set"
        ) as refusal:
            require_weights(ModelSettings(backbone="nasnetmobile"))
    assert url in str(refusal.value)
    assert len(asked) == pretrained.TRIES


def test_weights_that_were_downloaded_need_no_network(backbone: Backbone, tmp_path: Path):
    file = tmp_path / "keras" / "models" / backbone.weights_file
    file.parent.mkdir(parents=True)
    file.touch()
    require_weights(ModelSettings(backbone="nasnetmobile"))


def test_weights_in_a_file_or_a_package_need_no_network(backbone: Backbone, tmp_path: Path):
    require_weights(ModelSettings(backbone="efficientnet_lite0"))
    file = tmp_path / "own.weights.h5"
    keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]).save_weights(file)
    require_weights(ModelSettings(backbone="nasnetmobile", weights=str(file)))


def test_the_checks_of_a_snapshot_import_no_tensorflow():
    code = (
        "import sys, age_tasks.stages.snapshot, age_tasks.stages.preconditions as checks; "
        "from age_tasks.config import ModelSettings; "
        "checks.require_weights(ModelSettings(backbone='efficientnet_lite0')); "
        "print(sorted({'keras', 'tensorflow'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


def built(name: str, size: int) -> keras.Model:
    """The network with random weights."""
    file = "unread.h5"
    settings = ModelSettings.model_construct(**ModelSettings(backbone=name, weights=file, image_size=224).model_dump())
    return build_model(settings.model_copy(update={"image_size": size}), seed=1)


@pytest.fixture
def random_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("age_tasks.training.network._load_file", lambda base, settings: None)


@pytest.mark.parametrize("name", each_backbone(usually=("efficientnet_lite0", "efficientnet_lite1", *SOME)))
def test_the_layers_of_a_backbone(random_weights: None, name: str):
    model = built(name, BACKBONES[name].least_size)
    names = [layer.name for layer in model.layers]
    before = 1 if BACKBONES[name].preprocessing == "inside" else 2  # pixels, preprocess
    assert names.index(POOL) - before == BACKBONES[name].layers


@pytest.mark.parametrize("name", [name for name, each in BACKBONES.items() if each.least_size > 32])
def test_images_that_are_too_small_for_a_backbone(random_weights: None, name: str):
    with pytest.raises(ValueError, match=r"negative|[Cc]omputed output size"):
        built(name, BACKBONES[name].least_size - 1)


@pytest.mark.filterwarnings("ignore:`input_shape` is undefined")
@pytest.mark.parametrize("name", each_backbone(usually=SOME, packaged=False))
def test_the_weights_are_those_that_keras_asks_for(name: str, monkeypatch: pytest.MonkeyPatch):
    asked = []

    def get_file(fname: str, origin: str, **_: object) -> None:
        asked.append((fname, origin))
        raise LookupError

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    backbone = BACKBONES[name]
    with pytest.raises(LookupError):
        getattr(keras.applications, backbone.constructor)(include_top=False, input_tensor=keras.Input((96, 96, 3)))
    assert asked == [(backbone.weights_file, backbone.weights_url)]


FILES = ("resnet50", "efficientnetb0", "mobilenetv3small", "convnexttiny")
SIZE = 75  # pixels


def notop(file: Path, name: str) -> Path:
    """A weights file as keras.applications publishes them, in Keras 2's format, of random weights."""
    keras.utils.set_random_seed(1)
    constructor = getattr(keras.applications, BACKBONES[name].constructor)
    network = constructor(include_top=False, weights=None, input_shape=(SIZE, SIZE, 3))
    for layer in network.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.weights:  # as in EfficientNet's published files
            layer.set_weights([np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]), np.array(0)])
    with h5py.File(file, "w") as content:
        legacy_h5_format.save_weights_to_hdf5_group(content, network)
    return file


@pytest.mark.filterwarnings("ignore:`input_shape` is undefined")
@pytest.mark.parametrize("name", each_backbone(usually=FILES, packaged=False))
def test_a_file_gives_the_network_that_keras_makes_of_the_same_file_when_it_downloads_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = notop(tmp_path / BACKBONES[name].weights_file, name)
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *_, **__: str(file))
    downloaded, given = (
        build_model(ModelSettings(backbone=name, weights=weights, image_size=SIZE), seed=1)
        for weights in ("imagenet", str(file))
    )
    pixels = np.random.default_rng(1).uniform(0, 255, (2, SIZE, SIZE, 3)).astype("float32")
    features = [keras.Model(model.inputs[0], model.get_layer(POOL).output)(pixels) for model in (downloaded, given)]
    largest = np.abs(features[0]).max()
    assert largest > 0
    assert np.allclose(*features, rtol=0, atol=1e-3 * largest)


@pytest.mark.parametrize("file", ["mobilenet.h5", "mobilenet.weights.h5"])
def test_a_file_of_another_network_is_refused_in_a_line(file: str, tmp_path: Path):
    path = tmp_path / file
    if file.endswith(".weights.h5"):
        keras.applications.MobileNet(include_top=False, weights=None).save_weights(path)
    else:
        notop(path, "mobilenet")
    with pytest.raises(WeightsError, match=r"does not fit resnet50 without its top \(.*\); give a 'notop'") as refusal:
        build_model(ModelSettings(weights=str(path), image_size=SIZE), seed=1)
    assert str(path) in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1
