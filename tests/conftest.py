"""A small drawn set, a finished run on it, and both kinds of store."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from age_tasks.cli.app import main
from age_tasks.demo.synthetic_faces import Sample, draw_sample
from age_tasks.environment import Locations
from age_tasks.runs.run import Workspace, open_run
from age_tasks.store import open_store
from age_tasks.store.base import Store
from age_tasks.store.files import FileStore
from tests.support.s3_server import NotPossibleHere, serve_s3
from tests.support.settings import QUICK, overrides, point_at


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """150 faces and every fault."""
    return draw_sample(tmp_path_factory.mktemp("sample"), 150, seed=3, faults=True)


@pytest.fixture(scope="session")
def finished(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """All stages of the demo recipe, quickly, each as `python -m age_tasks <stage>` would."""
    root = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        point_at(patch, root, sample.labels)
        patch.setenv("AGE_RUN", "finished")
        for stage in ("snapshot", "validate", "split", "baseline", "finetune", "evaluate", "gate", "publish"):
            given = ["--recipe", "demo", *overrides(QUICK)] if stage == "snapshot" else []
            assert main([stage, *given]) == 0
        locations = Locations.from_env()
    with open_run("finished", locations) as run:
        yield run


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
