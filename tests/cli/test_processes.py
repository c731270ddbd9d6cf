"""Commands in processes of their own."""

import os
import signal
import sys
from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path

import pytest

from age_tasks.cli import processes
from age_tasks.cli.processes import FORKS, LOADED, load_ahead, run_command

IS_LOADED = 42  # an exit code that no failure has


@pytest.fixture(autouse=True)
def none_loaded() -> Iterator[None]:
    """No process that an earlier test had libraries loaded in."""
    forkserver.set_forkserver_preload([])
    forkserver._forkserver._stop()
    yield
    forkserver._forkserver._stop()


@pytest.mark.parametrize("command", ["snapshot", "gate"])
def test_a_command_has_its_own_environment_and_tells_its_exit_code(
    command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    env = dict(os.environ, AGE_STORE=str(tmp_path / "store"), AGE_LABELS=str(tmp_path / "none.csv"))
    assert run_command([command, "--run", "mine"], env) > 0
    said = capfd.readouterr()
    assert f"{command}: " in said.err
    assert str(tmp_path) in said.err
    assert said.out == ""
    assert os.environ.get("AGE_STORE") != env["AGE_STORE"]


@pytest.mark.slow
@pytest.mark.skipif(not FORKS, reason="libraries are loaded ahead only where a fork is safe afterwards")
def test_a_training_begins_with_tensorflow_loaded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(processes, "_command", _tell_tensorflow)
    load_ahead()
    assert run_command(["finetune"], dict(os.environ)) == IS_LOADED


def test_a_command_that_is_killed_has_failed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(processes, "_command", _die)
    assert run_command([LOADED[0]], dict(os.environ)) == -signal.SIGKILL


def _tell_tensorflow(arguments: list[str], env: dict[str, str]) -> None:
    sys.exit(IS_LOADED if "tensorflow" in sys.modules else 0)


def _die(arguments: list[str], env: dict[str, str]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
