"""Fixtures of all tests: drawn labels, a finished run on them, both kinds of store; and which tests are slow."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from age_tasks.backbones import BACKBONES
from age_tasks.demo.synthetic_faces import Sample, draw_sample
from age_tasks.environment import Locations
from age_tasks.runs.run import Workspace, open_run
from age_tasks.store import open_store
from age_tasks.store.base import Store
from age_tasks.store.files import FileStore
from tests.support.airflow import AirflowProcess, airflow_command
from tests.support.fast_runs import forbid_imports, is_fast_run, is_slow_module, uses_slow_fixture
from tests.support.s3_server import NotPossibleHere, serve_s3
from tests.support.settings import QUICK, point_at
from tests.support.shared import once
from tests.support.stages import run_stages


def pytest_configure(config: pytest.Config) -> None:
    if is_fast_run(config):
        forbid_imports()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A fast run does not even import the modules whose tests are all slow."""
    return True if is_fast_run(config) and is_slow_module(collection_path) else None


def pytest_itemcollected(item: pytest.Item) -> None:
    if is_slow_module(item.path) or uses_slow_fixture(item):
        item.add_marker(pytest.mark.slow)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules with slow tests first: none is then left for one worker at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this test run, which all its workers share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session", autouse=True)
def downloaded(shared: Path) -> Iterator[None]:
    """As if Keras had downloaded the weights of the default backbone: stages that train nothing need no network."""
    file = shared / "keras" / "models" / BACKBONES["resnet50"].weights_file
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_HOME", str(shared / "keras"))
        yield


@pytest.fixture(scope="session")
def sample(shared: Path) -> Sample:
    """150 images of faces, and every fault that labels can have. No test may change them."""
    facts = shared / "sample.json"

    def draw() -> None:
        drawn = draw_sample(shared / "sample", 150, seed=3, faults=True)
        facts.write_text(json.dumps({"rows": drawn.rows, "faults": drawn.faults}))

    once(shared / "sample.done", draw)
    return Sample(shared / "sample" / "labels.csv", shared / "sample" / "images", **json.loads(facts.read_text()))


@pytest.fixture(scope="session")
def prepared(sample: Sample, shared: Path) -> Iterator[Workspace]:
    """The run `finished` up to `split`: without a training. No test may change its store or cache."""
    with pytest.MonkeyPatch.context() as patch:
        point_at(patch, shared, sample.labels)
        once(shared / "prepared.done", lambda: run_stages("finished", "demo", QUICK, last="split"))
        locations = Locations.from_env()
    with open_run("finished", locations) as run:
        yield run


@pytest.fixture(scope="session")
def finished(prepared: Workspace, sample: Sample, shared: Path) -> Workspace:
    """A run of all stages with the demo recipe and small settings. No test may change its store or cache."""
    with pytest.MonkeyPatch.context() as patch:
        point_at(patch, shared, sample.labels)
        once(shared / "finished.done", lambda: run_stages("finished", "demo", QUICK, first="baseline"))
    return prepared


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory, shared: Path, sample: Sample) -> dict[str, str]:
    """The environment of an Airflow with a database, a store and a cache of its own."""
    root = tmp_path_factory.mktemp("airflow")
    env = {name: value for name, value in os.environ.items() if not name.startswith("AGE_")}
    env |= {"AIRFLOW_HOME": str(root / "home"), "AGE_STORE": str(root / "store"), "AGE_CACHE": str(root / "cache")}
    env |= {"AGE_LABELS": str(sample.labels), "AGE_RECIPE": "demo", "PYTHONWARNINGS": "ignore"}
    made = shared / "airflow-home"
    once(shared / "airflow-database", lambda: _make_database(env | {"AIRFLOW_HOME": str(made)}))
    (root / "home").mkdir()
    for file in (*made.glob("airflow.db"), *made.glob("prepared-*")):
        shutil.copy(file, root / "home")
    return env


@pytest.fixture(scope="session")
def airflow_process(airflow: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowProcess]:
    """One process for all tests of a worker: starting Airflow takes longer than most of them."""
    process = AirflowProcess(airflow, tmp_path_factory.mktemp("airflow-process") / "output.log")
    yield process
    process.stop()


def _make_database(env: dict[str, str]) -> None:
    done = airflow_command(env, "version")
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture
def place(tmp_path: Path, sample: Sample, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store and cache of this test's own, and the drawn labels."""
    point_at(monkeypatch, tmp_path, sample.labels)
    return tmp_path


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A real S3 server; the variables that reach it."""
    try:
        with serve_s3(tmp_path_factory.mktemp("s3")) as variables:
            yield variables
    except NotPossibleHere as error:
        pytest.skip(str(error))


@pytest.fixture
def s3(s3_server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The S3 server, and no other: a person's own AWS variables, which could lead elsewhere, are hidden."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture(params=["file", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind."""
    if request.param == "file":
        return FileStore(tmp_path / "store")
    request.getfixturevalue("s3")
    return open_store(f"s3://age/{tmp_path.name}")
