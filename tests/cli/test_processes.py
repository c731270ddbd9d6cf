"""Commands in child processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path

import psutil
import pytest

from age_tasks.cli.app import main
from age_tasks.cli.processes import FORKS, PRELOADED, preload, run_isolated
from age_tasks.environment import PROJECT
from age_tasks.pipeline import PIPELINE
from tests.support.waiting import wait_until

IS_LOADED = 42  # an exit code that no failure has


@pytest.fixture(autouse=True)
def no_preloaded_process() -> Iterator[None]:
    """No process in which an earlier test has loaded libraries."""
    forkserver.set_forkserver_preload([])
    forkserver._forkserver._stop()
    yield
    forkserver._forkserver._stop()


def test_every_stage_with_tensorflow_is_forked_from_the_preloaded_process():
    assert {name for name, stage in PIPELINE.items() if stage.tensorflow} <= set(PRELOADED)
    assert PIPELINE[PRELOADED[0]].tensorflow


@pytest.mark.parametrize("command", ["snapshot", "gate"])
def test_a_command_has_its_own_environment_and_returns_its_exit_code(
    command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    env = dict(os.environ, AGE_STORE=str(tmp_path / "store"), AGE_LABELS=str(tmp_path / "none.csv"))
    assert run_isolated(main, [command, "--run", "mine"], env) > 0
    shown = capfd.readouterr()
    assert f"{command}: " in shown.err
    assert str(tmp_path) in shown.err
    assert os.environ.get("AGE_STORE") != env["AGE_STORE"]


def test_stdout_of_a_command_is_discarded(capfd: pytest.CaptureFixture[str]):
    assert run_isolated(_print, ["snapshot"], os.environ) == 3
    assert capfd.readouterr().out == ""


@pytest.mark.slow
@pytest.mark.skipif(not FORKS, reason="libraries are preloaded only where a fork is safe afterwards")
def test_a_training_starts_with_tensorflow_loaded():
    preload()
    assert run_isolated(_is_tensorflow_loaded, ["finetune"], os.environ) == IS_LOADED


def test_a_killed_command_returns_its_signal():
    assert run_isolated(_kill_itself, [PRELOADED[0]], os.environ) == -signal.SIGKILL


def waiting(command: str) -> "subprocess.Popen[str]":
    """A process whose child process executes a command that waits."""
    program = [sys.executable, "-m", "tests.programs.isolated_command", command]
    return subprocess.Popen(
        program, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def has_ended(number: int) -> bool:
    """Whether a process is gone, or what is left of it waits for its number to be read."""
    return not psutil.pid_exists(number) or psutil.Process(number).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("command", ["snapshot", PRELOADED[0]])
def test_a_command_is_terminated_before_the_process_that_waits_for_it(command: str):
    with waiting(command) as parent:
        child = int(parent.stderr.readline())
        parent.terminate()
        assert parent.stdout.read() == f"{-signal.SIGTERM}\n"
        assert has_ended(child)


@pytest.mark.parametrize("command", ["snapshot", PRELOADED[0]])
@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["one", "both"])
def test_a_command_is_interrupted_before_the_process_that_waits_for_it(command: str, send: object):
    with waiting(command) as parent:
        child = int(parent.stderr.readline())
        send(parent.pid, signal.SIGINT)
        assert parent.wait() == -signal.SIGINT
        assert has_ended(child)


@pytest.mark.parametrize("command", ["snapshot", PRELOADED[0]])
def test_a_command_ends_with_the_process_that_waits_for_it_whatever_ends_that(command: str):
    with waiting(command) as parent:
        child = int(parent.stderr.readline())
        parent.kill()
        wait_until(lambda: has_ended(child))


def _print(arguments: list[str]) -> int:
    print(*arguments)
    return 3


def _is_tensorflow_loaded(arguments: list[str]) -> int:
    return IS_LOADED if "tensorflow" in sys.modules else 0


def _kill_itself(arguments: list[str]) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0
