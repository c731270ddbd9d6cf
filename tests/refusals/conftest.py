"""Fixtures of the walks through refusals."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.refusals import matching
from tests.support.settings import point_at
from tests.support.walks import Walk


@pytest.fixture
def refused(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Iterator[Walk]:
    """What a test that is marked with `walks` walks with."""
    marks = list(request.node.iter_markers("refusal"))
    walk = Walk([each for mark in marks for each in matching(*mark.args)], capsys)
    yield walk
    if walk.message:
        assert walk.worked, f"the way out was not walked: {walk.message}"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an empty store and cache, which the `AGE_*` variables name."""
    point_at(monkeypatch, tmp_path, tmp_path / "labels.csv")
    return tmp_path
