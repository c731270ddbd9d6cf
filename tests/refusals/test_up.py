"""`age-tasks up` and `age-tasks airflow`, where something is in the way."""

import fcntl
import json
import os
import shlex
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from age_tasks.cli import airflow, airflow_server
from tests.support.ports import free_ports
from tests.support.refusals import walks
from tests.support.walks import Walk, command

ROOM, SERVER = "cli/airflow.py", "cli/airflow_server.py"
UP = command("up")
Patch = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: Patch) -> Path:
    """A folder for Airflow, which exists as a stand-in only: it starts and ends at once."""
    for name in [name for name in os.environ if name.startswith(("AGE_", "AIRFLOW_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AGE_PORT", str(free_ports(1)[0]))
    monkeypatch.setattr(airflow, "prepare", lambda env: 0)
    monkeypatch.setattr(airflow_server, "serve", lambda env, password: 0)
    monkeypatch.setattr(airflow_server, "free_memory", lambda: 10**10)
    monkeypatch.setattr(airflow_server, "LOCK_SECONDS", 0.1)
    monkeypatch.setattr(os, "execvpe", lambda *_: None)
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.mark.parametrize(
    ("wrong", "says", "right"),
    [
        pytest.param({"AGE_PORT": "", "AIRFLOW__API__PORT": "0"}, ["AIRFLOW__API__PORT='0'", "a port from 1 to 65535"],
                     {"AIRFLOW__API__PORT": "9000"}, marks=walks(ROOM, "expected a port from 1 to 65535")),
        pytest.param({"AGE_PORT": "9000", "AIRFLOW__API__PORT": "9001"}, ["AGE_PORT=9000", "set one of them"],
                     {"AGE_PORT": ""}, marks=walks(ROOM, "name two ports: set one of them")),
        pytest.param({"AIRFLOW__API__HOST": "192.0.2.1"}, ["AIRFLOW__API__HOST='192.0.2.1'", "correct or unset it"],
                     {"AIRFLOW__API__HOST": ""}, marks=walks(SERVER, "is no address of this machine")),
        pytest.param({"AIRFLOW_HOME": "/dev/null/x"}, ["AIRFLOW_HOME='/dev/null/x'", "choose another folder"],
                     {"AIRFLOW_HOME": "{tmp}/x"}, marks=walks(SERVER, "database and logs can't be written there")),
    ],
)  # fmt: skip
def test_a_variable_that_is_corrected(
    refused: Walk, monkeypatch: Patch, tmp_path: Path, wrong: dict[str, str], says: list[str], right: dict[str, str]
):
    monkeypatch.setattr(airflow_server, "_answers", lambda host, port: False)
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    again = refused(UP, *says)
    for name, value in right.items():
        monkeypatch.setenv(name, value.format(tmp=tmp_path))
    again()


@walks(SERVER, "is taken{}: end that program, or choose another port")
def test_a_port_that_is_taken(refused: Walk, monkeypatch: Patch):
    with socket.create_server(("127.0.0.1", int(os.environ["AGE_PORT"]))):
        again = refused(UP, f"port {os.environ['AGE_PORT']} is taken", f"process {os.getpid()}", "AGE_PORT=")
        monkeypatch.setenv("AGE_PORT", refused.message.rpartition("AGE_PORT=")[2])
        again()


@walks(SERVER, "this user can't open that port")
def test_a_port_that_needs_root(refused: Walk, monkeypatch: Patch):
    def bind(host: str, port: int) -> None:
        if port < 1024:
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(airflow_server, "_bind", bind)
    monkeypatch.setattr(airflow_server, "_answers", lambda host, port: False)
    monkeypatch.setenv("AGE_PORT", "80")
    again = refused(UP, "AGE_PORT=80", "choose one above 1023")
    monkeypatch.setenv("AGE_PORT", "1024")
    again()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["up"], "kill 4711"),
        (["airflow", "scheduler"], "another AIRFLOW_HOME"),
    ],
)
@walks(SERVER, "_lock: {}{}")
def test_an_airflow_that_runs_already(
    refused: Walk, home: Path, monkeypatch: Patch, tmp_path: Path, words: list[str], says: str
):
    with (home / "up.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(json.dumps({"pid": 4711, "address": "http://localhost:8080"}))
        lock.flush()
        again = refused(command(*words), home, "http://localhost:8080", "Ctrl-C in its terminal stops it", says)
        with monkeypatch.context() as patch:
            patch.setenv("AIRFLOW_HOME", str(tmp_path / "other"))
            again()
    again()  # it was stopped


@walks(SERVER, "still run: {}; end them: kill {}")
def test_parts_of_an_earlier_airflow(refused: Walk, home: Path, tmp_path: Path):
    program = tmp_path / "airflow"
    program.write_text("import time; print('ready', flush=True); time.sleep(100)")
    with subprocess.Popen([sys.executable, program, "scheduler"], stdout=subprocess.PIPE) as left:
        left.stdout.readline()
        again = refused(UP, home, f"scheduler ({left.pid})", f"kill {left.pid}")
        subprocess.run(shlex.split(refused.message.rpartition("end them: ")[2]), check=True)
        left.wait()
    again()


@walks(SERVER, "too little memory: {} GB are free")
def test_too_little_memory(refused: Walk, monkeypatch: Patch):
    with monkeypatch.context() as patch:
        patch.setattr(airflow_server, "free_memory", lambda: 6 * 10**8)
        again = refused(UP, "0.6 GB are free", "end other programs")
    again()


@walks(SERVER, "is damaged: restore it, or move {} away")
def test_a_damaged_database(refused: Walk, home: Path, tmp_path: Path):
    (home / "airflow.db").write_text("no database at all" * 100)
    again = refused(UP, home / "airflow.db", "is damaged", f"or move {home} away", "labels, runs and models are not")
    shutil.move(home, tmp_path / "away")
    again()


@walks(SERVER, "is locked by another process{}: end it")
def test_a_locked_database(refused: Walk, home: Path):
    with sqlite3.connect(home / "airflow.db", isolation_level=None) as holds:
        holds.execute("BEGIN EXCLUSIVE")
        again = refused(UP, home / "airflow.db", "is locked", "end it, then start again")
        holds.execute("ROLLBACK")
    again()


@pytest.mark.parametrize(
    ("said", "says"),
    [
        pytest.param("disk I/O error", "check the disk, or choose another AIRFLOW_HOME",
                     marks=walks(SERVER, "can't be read: {}; check the disk")),
        pytest.param("unable to open database file", "let this user write there, or choose another folder",
                     marks=walks(SERVER, "its database can't be opened for writing")),
    ],
)  # fmt: skip
def test_a_database_that_can_t_be_opened(
    refused: Walk, home: Path, tmp_path: Path, monkeypatch: Patch, said: str, says: str
):
    (home / "airflow.db").touch()

    def fails(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError(said)

    monkeypatch.setattr(sqlite3, "connect", fails)
    again = refused(UP, home, said, says)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "other"))
    again()


@pytest.mark.parametrize(
    ("output", "says"),
    [
        pytest.param("Can't locate revision identified by 'abc123'", ["revision abc123", "choose another AIRFLOW_HOME"],
                     marks=walks(SERVER, "is of another version of Airflow")),
        pytest.param("OSError: [Errno 12] Cannot allocate memory", ["no memory is left", "end other programs"],
                     marks=walks(SERVER, "no memory is left; Airflow needs")),
    ],
)  # fmt: skip
def test_the_creation_of_the_database_fails(
    refused: Walk, home: Path, tmp_path: Path, monkeypatch: Patch, output: str, says: list[str]
):
    def prepare(env: dict[str, str]) -> int:
        if Path(env["AIRFLOW_HOME"]) == home:
            raise airflow_server.known_problem(output, env)
        return 0

    monkeypatch.setattr(airflow, "prepare", prepare)
    again = refused(UP, *says)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "other"))
    again()


@pytest.mark.parametrize(
    ("program", "says"),
    [
        pytest.param("import sys; print('some.Error: boom'); sys.exit(3)", ["exit code 3", "some.Error: boom"],
                     marks=walks(SERVER, "{} has ended ({}): {}; its log is {}")),
        pytest.param("import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', '', 'scheduler'])\n"
                     "time.sleep(60)",
                     ["Airflow's ", "has ended (the others were stopped)", "start it again"],
                     marks=walks(SERVER, "_watch: Airflow's {}")),
        pytest.param("import time; time.sleep(60)", ["did not answer", "start it again"],
                     marks=walks(SERVER, "Airflow did not answer at")),
    ],
)  # fmt: skip
def test_an_airflow_that_does_not_come_up(
    refused: Walk, home: Path, monkeypatch: Patch, program: str, says: list[str], real_serve: Callable[..., int]
):
    monkeypatch.setattr(airflow_server, "STANDALONE", [sys.executable, "-c", program])
    monkeypatch.setattr(airflow_server, "GIVE_UP_SECONDS", 0)
    with monkeypatch.context() as patch:
        patch.setattr(airflow_server, "serve", real_serve)
        again = refused(UP, *says, home / "standalone.log")
    again()


@pytest.fixture(scope="module")
def real_serve() -> Callable[..., int]:
    return airflow_server.serve
