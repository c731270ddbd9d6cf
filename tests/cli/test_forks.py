"""Commands forked from a server that has imported what they need."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from age_tasks.cli.forks import ADDRESS, FORKS, forked, start_server
from age_tasks.environment import PROJECT
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(not FORKS, reason="stages are forked only where that is safe")
COMMAND = [sys.executable, "-m", "age_tasks"]
START = "import sys; from age_tasks.cli.forks import start_server; print(*start_server(['json']).values())"
START += "; sys.stdout.flush(); sys.stdin.read()"


@pytest.fixture
def starter() -> Iterator["subprocess.Popen[str]"]:
    """A process that has started a server without imports, and lives until its input is closed."""
    with subprocess.Popen(
        [sys.executable, "-c", START], cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process


@pytest.fixture
def waiting() -> dict[str, str]:
    """The environment in which every command prints the number of its process, and waits."""
    return {**os.environ, **start_server(["tests.programs.waiting_command"])}


def test_a_forked_command_prints_and_ends_as_one_that_is_not(tmp_path: Path):
    env = {**os.environ, "AGE_STORE": str(tmp_path / "store"), "AGE_LOG_TIMES": "false"}
    served = {**env, **start_server(["age_tasks.cli.app"])}
    for arguments in (["gate", "--run", "none"], ["split", "--no-such-option"], ["settings"]):
        ours, theirs = (
            subprocess.run([*COMMAND, *arguments], cwd=PROJECT, env=each, capture_output=True, text=True, check=False)
            for each in (served, env)
        )
        assert (ours.returncode, ours.stdout, ours.stderr) == (theirs.returncode, theirs.stdout, theirs.stderr)


def test_a_command_without_a_server_is_not_forked(tmp_path: Path):
    assert forked(["gate"], {}) is None
    assert forked(["gate"], {ADDRESS: str(tmp_path / "ended")}) is None


def test_a_forked_process_ends_with_the_command_that_waits_for_it(waiting: dict[str, str]):
    with subprocess.Popen([*COMMAND, "gate"], cwd=PROJECT, env=waiting, stdout=subprocess.PIPE, text=True) as command:
        number, *arguments = command.stdout.readline().split()
        assert (arguments, int(number) != command.pid) == (["gate"], True)
        command.terminate()
    wait_until(lambda: not psutil.pid_exists(int(number)))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 128 + signal.SIGINT)])
def test_a_forked_process_is_ended_before_the_command_that_waits_for_it(
    number: signal.Signals, code: int, waiting: dict[str, str]
):
    with subprocess.Popen(
        [*COMMAND, "gate"], cwd=PROJECT, env=waiting, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as command:
        forked_process = int(command.stdout.readline().split()[0])
        command.send_signal(number)
        assert command.wait() == code
        assert not psutil.pid_exists(forked_process)
        assert command.stderr.read() == ""


def test_a_command_ends_by_the_signal_that_ended_its_process(waiting: dict[str, str]):
    with subprocess.Popen([*COMMAND, "gate"], cwd=PROJECT, env=waiting, stdout=subprocess.PIPE, text=True) as command:
        os.kill(int(command.stdout.readline().split()[0]), signal.SIGKILL)
        assert command.wait() == -signal.SIGKILL


def test_a_server_ends_with_the_process_that_started_it_and_leaves_nothing(starter: "subprocess.Popen[str]"):
    path = Path(starter.stdout.readline().strip())
    assert path.exists()
    assert path.parent.stat().st_mode & 0o077 == 0
    starter.stdin.close()
    wait_until(lambda: not path.parent.exists())
