"""Airflow in the checkout: `age-tasks airflow …` is any airflow command with these settings."""

import fcntl
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from age_tasks.cli.command import AIRFLOW, command
from age_tasks.cli.forks import start_server
from age_tasks.environment import PROJECT, InterfaceVariables
from age_tasks.errors import SettingsError
from age_tasks.resources import state_folder

HOME = state_folder(".airflow")
DEFAULT_PORT = 8080
PROXIES = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
# The pool that limits how many trainings run at a time; created once, so that slots added for more GPUs stay.
PREPARE = """
from age_tasks.garbage_collection import collect_rarely
collect_rarely()
from airflow.cli.cli_parser import get_parser
for words in (["db", "migrate"], ["pools", "set", "gpu", "1", "trainings at a time"]):
    arguments = get_parser().parse_args(words)
    arguments.func(arguments)
"""


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""

    @command(app, "up", AIRFLOW)
    def up() -> int:
        """Start Airflow with its UI in this checkout, and print where to log in."""
        return serve()

    # `main` hands all of its arguments to Airflow before they are parsed here; this is its line in the help.
    @command(app, "airflow", AIRFLOW, add_help_option=False)
    def airflow(
        arguments: Annotated[list[str] | None, typer.Argument(metavar="ARGS...", help="Any airflow command.")] = None,
    ) -> int:
        """Run any airflow command with this checkout's settings, such as `dags list` or `tasks test`."""
        return exec_airflow(arguments or [])


def environment(given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of Airflow's processes: the project's values for variables that the user has not set.

    Raises:
        SettingsError: the port of `AGE_PORT` or `AIRFLOW__API__PORT` is invalid.
    """
    home = Path(given.get("AIRFLOW_HOME", "").strip() or HOME).expanduser().absolute()
    port = _port(given)
    address = f"http://localhost:{port}"
    settings = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": address,  # of the links in notices; Airflow has no default
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",  # each idle worker is a process
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(home / "bundles"),
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(PROJECT), given.get("PYTHONPATH")])),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), given.get("PATH", os.defpath)]),
    }
    ours = {"AIRFLOW_HOME", "AIRFLOW__API__PORT", "PYTHONPATH", "PATH"}
    if any(given.get(name) for name in PROXIES):  # tasks talk to the server of this machine
        for name in ("no_proxy", "NO_PROXY"):
            settings[name] = ",".join(filter(None, [given.get(name), "localhost", "127.0.0.1"]))
            ours.add(name)
    return {**given, **{key: value for key, value in settings.items() if key in ours or key not in given}}


def _port(given: Mapping[str, str]) -> int:
    ours, airflows = InterfaceVariables.from_env(given).port, given.get("AIRFLOW__API__PORT", "").strip()
    if not airflows:
        return ours or DEFAULT_PORT
    if not airflows.isascii() or not airflows.isdigit() or not 1 <= int(airflows) <= 65535:
        raise SettingsError(f"AIRFLOW__API__PORT={airflows!r} is invalid: expected a port from 1 to 65535")
    if ours and ours != int(airflows):
        raise SettingsError(f"AGE_PORT={ours} and AIRFLOW__API__PORT={airflows} name two ports: set one of them")
    return int(airflows)


def exec_airflow(arguments: Sequence[str]) -> int:
    """Replace this process by an airflow command; Airflow's database is created on first use.

    Returns:
        The exit code, if the database can't be created; else it does not return.
    """
    from age_tasks.cli.airflow_server import SERVING, only_one_from_now_on, require_writable

    env = environment()
    home, whole_dag = Path(env["AIRFLOW_HOME"]), list(arguments[:2]) == ["dags", "test"]
    require_writable(home)
    if whole_dag or arguments[:1] in (["standalone"], ["scheduler"]):
        only_one_from_now_on(home, arguments[: 2 if arguments[0] == "dags" else 1])
    if whole_dag:
        env.pop("AGE_DEADLINE_HOURS", None)  # `dags test` of a DAG with a deadline fails at its end
        env |= start_server()
    if code := prepare(env):
        return code
    # Only commands that soon end: in a process that stays, garbage would pile up.
    program = ["airflow"] if SERVING & set(arguments) else ["age_tasks.garbage_collection", "airflow"]
    os.execvpe(sys.executable, [sys.executable, "-m", *program, *arguments], env)


def serve() -> int:
    """Start Airflow with its UI, print where to log in once it answers, and wait until it is told to stop.

    Returns:
        The exit code: 0 after Ctrl-C.

    Raises:
        AirflowError: something is in the way, or Airflow has ended by itself.
    """
    from age_tasks.cli import airflow_server

    env = environment()
    home, address = Path(env["AIRFLOW_HOME"]), f"http://localhost:{env['AIRFLOW__API__PORT']}"
    airflow_server.require_writable(home)
    with airflow_server.only_one(home, address):
        airflow_server.refuse_what_is_in_the_way(env)
        return prepare(env) or airflow_server.serve(env, admin_password(env))


def prepare(env: Mapping[str, str]) -> int:
    """Create Airflow's database and the pool of trainings, once.

    Returns:
        0, or the exit code of the command that failed; the reason is printed.

    Raises:
        AgeTasksError: the command failed for one of the usual reasons.
    """
    home = Path(env["AIRFLOW_HOME"])
    home.mkdir(parents=True, exist_ok=True)
    done, database = home / f"prepared-{version('apache-airflow')}", home / "airflow.db"
    with (home / "prepare.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists() and (database.exists() or done.read_text() != database.name):
            return 0
        print(f"creating Airflow's database in {home}", file=sys.stderr)
        result = subprocess.run([sys.executable, "-c", PREPARE], env=env, capture_output=True, text=True)
        if result.returncode:
            return _explain(result, env)
        done.write_text(database.name if database.exists() else "")
    return 0


def _explain(failed: "subprocess.CompletedProcess[str]", env: Mapping[str, str]) -> int:
    from age_tasks.cli.airflow_server import known_problem, last_error

    output = f"{failed.stdout}\n{failed.stderr}"
    if problem := known_problem(output, env):
        raise problem
    log = Path(env["AIRFLOW_HOME"]) / "prepare.log"
    log.write_text(output)
    print(f"Airflow's database can't be created: {last_error(output)}; the whole output is {log}", file=sys.stderr)
    return failed.returncode


def admin_password(env: Mapping[str, str]) -> str:
    """The password of `admin`, drawn once; Airflow's simple auth manager reads it from the same file."""
    path = Path(env["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(json.dumps({"admin": secrets.token_urlsafe(12)}))
    return str(json.loads(path.read_text())["admin"])
