"""A finished run that a test may go on from."""

import shutil
from pathlib import Path

import pytest

from age_tasks.environment import Locations
from age_tasks.runs.run import Workspace
from tests.support.settings import point_at


@pytest.fixture
def copied(finished: Workspace, sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Locations:
    """A copy of the finished run's store and cache."""
    point_at(monkeypatch, tmp_path, sample.labels)
    shutil.copytree(finished.store.where("runs").removesuffix("runs"), tmp_path / "store")
    shutil.copytree(finished.cache, tmp_path / "cache")
    return Locations.from_env()
