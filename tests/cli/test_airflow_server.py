"""`age-tasks up` when something is in the way, and that no process stays behind. A stand-in takes Airflow's place."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from age_tasks.cli import airflow, airflow_server
from age_tasks.cli.app import main
from age_tasks.environment import PROJECT
from age_tasks.errors import AgeTasksError, AirflowError, DiskFullError, SettingsError
from tests.support.ports import free_ports
from tests.support.small_disk import NotPossibleHere, filled, small_disk

STAND_IN = "tests.programs.airflow_stand_in"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    (port,) = free_ports(1)
    given = {name: value for name, value in os.environ.items() if not name.startswith(("AGE_", "AIRFLOW_"))}
    return given | {"AIRFLOW_HOME": str(tmp_path / "home"), "AGE_PORT": str(port), "STAND_IN": "serves"}


@pytest.fixture
def here(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The same variables in this process, where Airflow's database exists."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(airflow, "prepare", lambda _: 0)
    return env


@contextlib.contextmanager
def started(env: dict[str, str], until: str = "Paused") -> Iterator[subprocess.Popen[str]]:
    """`age-tasks up` in a process, from the moment when it has printed something."""
    command = [sys.executable, "-m", STAND_IN, "up"]
    with subprocess.Popen(
        command, env=env, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            assert process.stdout is not None
            process.printed = ""  # type: ignore[attr-defined]
            while until not in process.printed:  # type: ignore[attr-defined]
                line = process.stdout.readline()
                assert line, process.stderr and process.stderr.read()
                process.printed += line  # type: ignore[attr-defined]
            yield process
        finally:
            process.terminate()


def processes_of(env: dict[str, str]) -> list[str]:
    """The processes that have this `AIRFLOW_HOME`."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            ours = process.environ().get("AIRFLOW_HOME") == env["AIRFLOW_HOME"] and process.pid != os.getpid()
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
    return found


def problem(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that was printed for an error."""
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_all_processes_also_stages_that_ignore_it(
    env: dict[str, str], number: signal.Signals, code: int, monkeypatch: pytest.MonkeyPatch
):
    with started(env) as process:
        assert len(processes_of(env)) >= 4
        assert f"http://localhost:{env['AGE_PORT']} and log in as admin" in process.printed  # type: ignore[attr-defined]
        process.send_signal(number)
        assert process.wait(40) == code
    assert processes_of(env) == []


def test_what_the_dags_do_is_said(env: dict[str, str]):
    with started(env) as process:
        printed = process.printed  # type: ignore[attr-defined]
    assert "age_rollback.py can't be read: ValueError: no such thing" in printed
    assert "Paused: age_retraining. New labels and the schedule start nothing until" in printed
    assert "age-tasks airflow dags unpause age_retraining" in printed


def test_a_second_one_is_refused_with_the_address_of_the_first(
    here: dict[str, str], capsys: pytest.CaptureFixture[str]
):
    with started(here) as process:
        expected = f"at http://localhost:{here['AGE_PORT']}; Ctrl-C in its terminal stops it, or: kill {process.pid}"
        assert main(["up"]) == AirflowError.exit_code
        assert expected in problem(capsys)
        for command in (["dags", "test", "age_retraining"], ["scheduler"], ["standalone"]):
            assert main(["airflow", *command]) == AirflowError.exit_code
            line = problem(capsys)
            assert expected in line
            assert "both would execute the same tasks" in line


def test_nothing_starts_beside_a_test_of_a_dag(
    here: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """The lock is that of the program which takes this process' place: here a shell, in place of Airflow."""
    script = "from age_tasks.cli import airflow as a; from age_tasks.cli.app import main; import os, sys\n"
    script += "a.prepare = lambda _: 0; execute = os.execvpe\n"
    script += "os.execvpe = lambda *_: execute('sh', ['sh', '-c', 'echo ready; exec sleep 100'], os.environ)\n"
    command = [sys.executable, "-c", f"{script}main(['airflow', 'dags', 'test', 'age_retraining'])"]
    with subprocess.Popen(command, env=here, cwd=PROJECT, stdout=subprocess.PIPE, start_new_session=True) as tested:
        try:
            assert tested.stdout is not None
            tested.stdout.readline()
            expected = (
                f"`airflow dags test` runs in {here['AIRFLOW_HOME']}; wait for its end, or end it: kill {tested.pid}"
            )
            for words in (["up"], ["airflow", "dags", "test", "age_retraining"]):
                assert main(words) == AirflowError.exit_code
                assert expected in problem(capsys)
        finally:
            os.killpg(tested.pid, signal.SIGKILL)
    started_later: list[object] = []
    monkeypatch.setattr(os, "execvpe", lambda *words: started_later.append(words))
    main(["airflow", "dags", "test", "age_retraining"])
    assert started_later


def test_a_stale_lock_file_is_no_obstacle(env: dict[str, str]):
    home = Path(env["AIRFLOW_HOME"])
    home.mkdir()
    (home / "up.lock").write_text('{"pid": 1, "address": "http://localhost:1"}')
    (home / "airflow-scheduler.pid").write_text("1")
    with started(env, "log in as admin"):
        pass


def test_parts_of_an_earlier_airflow_are_named(
    here: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    program = tmp_path / "airflow"
    program.write_text("import time; print('ready', flush=True); time.sleep(100)")
    with subprocess.Popen([sys.executable, program, "scheduler"], env=here, stdout=subprocess.PIPE) as left:
        try:
            assert left.stdout is not None
            left.stdout.readline()
            assert main(["up"]) == AirflowError.exit_code
            assert f"still run: scheduler ({left.pid}); end them: kill {left.pid}" in problem(capsys)
        finally:
            left.kill()


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("ends", "Airflow has ended (exit code 1): airflow.exceptions.AirflowConfigException: nonsense in [core]"),
        (
            "part ends",
            "Airflow's scheduler has ended (the others were stopped): scheduler  | sqlalchemy.exc.Operational",
        ),
    ],
)
def test_an_end_is_told_with_its_reason(env: dict[str, str], what: str, message: str):
    with started(env | {"STAND_IN": what}, "starting") as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == AirflowError.exit_code
    assert message in errors
    assert len(errors.splitlines()) == 1
    assert processes_of(env) == []


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_a_port_that_is_taken_is_named_with_its_holder_and_a_free_one(
    address: str, here: dict[str, str], capsys: pytest.CaptureFixture[str]
):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.bind((address, int(here["AGE_PORT"])))
        except OSError as error:
            pytest.skip(f"no such address here: {error}")
        other.listen()
        assert main(["up"]) == AirflowError.exit_code
        line = problem(capsys)
    assert f"port {here['AGE_PORT']} is taken by " in line
    assert f"(process {os.getpid()})" in line
    suggested = line.rpartition("AGE_PORT=")[2]
    with socket.socket() as free:
        free.bind(("127.0.0.1", int(suggested)))


def test_another_airflow_that_was_faster_is_not_announced_as_ours(env: dict[str, str]):
    """The port was free at the check; what answers there is no process that was started here."""
    with socket.socket() as other, subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as server:
        other.bind(("127.0.0.1", 0))
        other.listen()
        assert not airflow_server._listens(server, other.getsockname()[1])
        server.kill()


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"AGE_PORT": "http"}, "AGE_PORT='http' is invalid: expected a port from 1 to 65535"),
        ({"AGE_PORT": "65536"}, "AGE_PORT='65536' is invalid: expected a port from 1 to 65535"),
        ({"AGE_PORT": "", "AIRFLOW__API__PORT": "0"}, "AIRFLOW__API__PORT='0' is invalid: expected a port from 1"),
        ({"AGE_PORT": "9000", "AIRFLOW__API__PORT": "9001"}, "name two ports: set one of them"),
        ({"AIRFLOW__API__HOST": "192.0.2.1"}, "AIRFLOW__API__HOST='192.0.2.1' is no address of this machine"),
        ({"AIRFLOW_HOME": "/dev/null/x"}, "AIRFLOW_HOME='/dev/null/x': Airflow's database and logs can't be written"),
    ],
)
def test_nonsense_in_a_variable_is_refused_by_name(
    variables: dict[str, str],
    message: str,
    here: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert main(["up"]) == SettingsError.exit_code
    assert message in problem(capsys)


def test_either_variable_sets_the_port():
    for name in ("AGE_PORT", "AIRFLOW__API__PORT"):
        env = airflow.environment({name: " 9000 "})
        assert env["AIRFLOW__API__PORT"] == "9000"
        assert env["AIRFLOW__API__BASE_URL"] == "http://localhost:9000"
        assert airflow.environment(env)["AIRFLOW__API__PORT"] == "9000"  # of a command inside
    assert airflow.environment({})["AIRFLOW__API__PORT"] == "8080"


def test_links_in_notices_have_a_host():
    assert airflow.environment({})["AIRFLOW__API__BASE_URL"] == "http://localhost:8080"
    given = {"AIRFLOW__API__BASE_URL": "https://ages.example.org", "AGE_PORT": "9000"}
    assert airflow.environment(given)["AIRFLOW__API__BASE_URL"] == "https://ages.example.org"


def test_a_relative_home_is_the_same_for_all_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert airflow.environment({"AIRFLOW_HOME": "home"})["AIRFLOW_HOME"] == str(tmp_path / "home")
    assert airflow.environment({"AIRFLOW_HOME": " "})["AIRFLOW_HOME"] == str(airflow.HOME)


def test_tasks_reach_the_server_of_this_machine_past_a_proxy():
    env = airflow.environment({"https_proxy": "", "HTTP_PROXY": "http://proxy:3128", "no_proxy": "example.org"})
    assert env["no_proxy"] == "example.org,localhost,127.0.0.1"
    assert env["NO_PROXY"] == "localhost,127.0.0.1"
    assert "no_proxy" not in airflow.environment({})


def test_too_little_memory_is_said(
    here: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.setattr(airflow_server, "free_memory", lambda: 600_000_000)
    assert main(["up"]) == AirflowError.exit_code
    assert "too little memory: 0.6 GB are free, Airflow needs 1.1 GB" in problem(capsys)


def test_the_memory_of_a_container_counts(tmp_path: Path):
    machine = airflow_server.free_memory(tmp_path, tmp_path / "none")
    assert machine > 0
    limits = {
        "0::/a/b": ("a", "memory.max", "memory.current", "inactive_file"),
        "5:cpu,memory:/x": ("memory/x", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        "5:memory:/invisible": ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    }
    for number, (line, (folder, limit, used, file)) in enumerate(limits.items()):
        root = tmp_path / str(number)
        (root / folder).mkdir(parents=True)
        (root / folder / limit).write_text("3000000")
        (root / folder / used).write_text("2500000")
        (root / folder / "memory.stat").write_text(f"anon 1\n{file} 1000000\n")
        (root / "mine").write_text(f"4:pids:/\n{line}\n")
        assert airflow_server.free_memory(root, root / "mine") == 1_500_000
        (root / folder / limit).write_text("max")
        assert airflow_server.free_memory(root, root / "mine") > 1_500_000


def test_a_full_disk_is_said(here: dict[str, str], capsys: pytest.CaptureFixture[str]):
    try:
        with small_disk(Path(here["AIRFLOW_HOME"]), 110) as disk, filled(disk, 1_000_000):
            assert main(["up"]) == DiskFullError.exit_code
    except NotPossibleHere as reason:
        pytest.skip(str(reason))
    assert "AIRFLOW_HOME" in problem(capsys)


@pytest.mark.parametrize(
    ("output", "kind", "message"),
    [
        (
            "Can't locate revision identified by 'abc123'",
            AirflowError,
            "is of another version of Airflow (revision abc123)",
        ),
        ("sqlite3.DatabaseError: file is not a database", AirflowError, "airflow.db is damaged: restore it, or move"),
        (
            "sqlite3.OperationalError: unable to open database file",
            SettingsError,
            "AIRFLOW_HOME='/x': its database can't",
        ),
        ("sqlite3.OperationalError: attempt to write a readonly database", SettingsError, "let this user write there"),
        ("sqlite3.OperationalError: database or disk is full", DiskFullError, "no space left on the disk of /x"),
        ("bind on address ('0.0.0.0', 9000): address already in use", AirflowError, "port 9000 is taken"),
        ("OSError: [Errno 12] Cannot allocate memory", AirflowError, "no memory is left; Airflow needs 1.1 GB"),
    ],
)
def test_usual_reasons_have_a_cure(output: str, kind: type[AgeTasksError], message: str):
    env = {"AIRFLOW_HOME": "/x", "AIRFLOW__API__PORT": "9000"}
    found = airflow_server.known_problem(f"Traceback\n{output}\n(Background on this error at: …)", env)
    assert type(found) is kind
    assert message in str(found)


def test_a_locked_database_is_told_with_the_process_that_holds_it(
    here: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(airflow_server, "LOCK_SECONDS", 0.1)
    path = Path(here["AIRFLOW_HOME"]) / "airflow.db"
    path.parent.mkdir()
    locker = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('pragma journal_mode=wal')"
    locker += "; c.execute('begin exclusive'); print(1, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", locker, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert main(["up"]) == AirflowError.exit_code
        other.kill()
    line = problem(capsys)
    assert f"the database {path} is locked by another process" in line
    assert f"process {other.pid}" in line


def test_a_damaged_database_is_told_at_once(here: dict[str, str], capsys: pytest.CaptureFixture[str]):
    path = Path(here["AIRFLOW_HOME"]) / "airflow.db"
    path.parent.mkdir()
    path.write_text("no database at all" * 100)
    assert main(["up"]) == AirflowError.exit_code
    assert f"the database {path} is damaged: restore it, or move" in problem(capsys)


def test_the_servers_of_logs_are_no_reason(tmp_path: Path):
    """Another Airflow of this machine has their ports; only the port of the UI matters."""
    log = tmp_path / "standalone.log"
    in_use = (
        "scheduler  | 2026Z [error    ] [Errno 98] error while attempting to bind on address ('0.0.0.0', 8793): address"
    )
    log.write_text(f"{in_use} already in use [uvicorn.error]\nscheduler  | Starting the scheduler\n")
    env = {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__API__PORT": "879"}
    found = airflow_server._ended("Airflow's scheduler", "scheduler", "…", log, env)
    assert "it gives no reason" in str(found)


def test_the_reason_is_the_last_error_of_the_log():
    log = "scheduler  | Traceback (most recent call last):\nscheduler  | KeyError: 'x'\napi-server | fine\n"
    assert airflow_server.last_error(log) == "scheduler  | KeyError: 'x'"
    assert airflow_server.last_error("nothing\nspecial\n") == "special"
    assert airflow_server.last_error("nothing\nspecial\n", "killed") == "killed"
    assert airflow_server.last_error("") == "it printed nothing"


def test_a_database_that_was_removed_is_created_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    created = []

    def create(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
        created.append(True)
        (tmp_path / "airflow.db").touch()
        return subprocess.CompletedProcess([], 0, "", "")

    monkeypatch.setattr(subprocess, "run", create)
    env = {"AIRFLOW_HOME": str(tmp_path)}
    assert [airflow.prepare(env), airflow.prepare(env)] == [0, 0]
    assert len(created) == 1
    (tmp_path / "airflow.db").unlink()
    assert airflow.prepare(env) == 0
    assert len(created) == 2
