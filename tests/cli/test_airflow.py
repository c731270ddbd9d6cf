"""Airflow in the checkout: its environment and its commands. Nothing of Airflow runs here."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from age_tasks.cli import airflow
from age_tasks.cli.app import main
from age_tasks.cli.forks import ADDRESS
from age_tasks.environment import PROJECT
from tests.support.ports import free_ports


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, str]]]:
    """The programs that would have replaced this process, with their environments; Airflow's database exists."""
    programs: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    (tmp_path / f"prepared-{airflow.version('apache-airflow')}").touch()
    monkeypatch.setattr(os, "execvpe", lambda _, arguments, env: programs.append((arguments, env)))
    monkeypatch.setattr(airflow, "start_server", lambda: {ADDRESS: "a socket"})
    return programs


def test_variables_of_the_user_are_kept():
    env = airflow.environment({"AIRFLOW__CORE__PARALLELISM": "16", "PATH": "/bin", "HOME": "/home/x"})
    assert env["AIRFLOW__CORE__PARALLELISM"] == "16"
    assert env["HOME"] == "/home/x"
    assert env["PATH"].endswith(os.pathsep + "/bin")


def test_airflow_finds_the_dags_and_the_package_of_the_checkout():
    env = airflow.environment({"AIRFLOW__API__PORT": "9000", "PYTHONPATH": "/elsewhere"})
    assert env["AIRFLOW__CORE__DAGS_FOLDER"] == str(PROJECT / "dags")
    assert env["PYTHONPATH"].split(os.pathsep) == [str(PROJECT), "/elsewhere"]
    assert env["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://localhost:9000/execution/"


@pytest.mark.parametrize("arguments", [["dags", "list", "--help"], ["tasks", "test", "a", "b", "2026-01-01"]])
def test_all_arguments_are_handed_to_airflow(arguments: list[str], started: list):
    main(["airflow", *arguments])
    ((command, _),) = started
    assert command[1:] == ["-m", "age_tasks.garbage_collection", "airflow", *arguments]


def test_a_process_that_stays_is_airflow_s_own(started: list):
    main(["airflow", "triggerer"])
    ((command, _),) = started
    assert command[1:] == ["-m", "airflow", "triggerer"]


def test_a_test_of_a_dag_has_no_deadline_and_forks_its_stages(started: list, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AGE_DEADLINE_HOURS", "12")
    main(["airflow", "dags", "test", "age_retraining"])
    main(["airflow", "dags", "list"])
    (_, tested), (_, listed) = started
    assert "AGE_DEADLINE_HOURS" not in tested
    assert (tested[ADDRESS], listed.get(ADDRESS)) == ("a socket", None)
    assert listed["AGE_DEADLINE_HOURS"] == "12"


@pytest.mark.parametrize("command", [["airflow", "dags", "list"], ["up"]])
def test_a_database_that_cannot_be_created_ends_the_command(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AGE_PORT", str(free_ports(1)[0]))
    failed = subprocess.CompletedProcess([], 3, "", "no such database")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    assert main(command) == 3
    assert "no such database" in capsys.readouterr().err


def test_the_password_is_drawn_once_and_readable_by_its_owner_only(tmp_path: Path):
    path = tmp_path / "passwords.json"
    env = {"AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(path)}
    password = airflow.admin_password(env)
    assert airflow.admin_password(env) == password
    assert json.loads(path.read_text()) == {"admin": password}
    assert path.stat().st_mode & 0o777 == 0o600
