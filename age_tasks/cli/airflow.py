"""Airflow in the checkout: `age-tasks airflow …` is any airflow command with these settings."""

import fcntl
import json
import os
import secrets
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from age_tasks.cli.command import AIRFLOW, command
from age_tasks.environment import PROJECT
from age_tasks.resources import state_folder

HOME = state_folder(".airflow")
# The pool that limits how many trainings run at a time; created once, so that slots added for more GPUs stay.
PREPARE = """
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
    """The environment of Airflow's processes: the project's values for variables that the user has not set."""
    home = Path(given.get("AIRFLOW_HOME", HOME))
    port = given.get("AIRFLOW__API__PORT", "8080")
    settings = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",  # each idle worker is a process
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://localhost:{port}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(home / "bundles"),
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(PROJECT), given.get("PYTHONPATH")])),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), given.get("PATH", os.defpath)]),
    }
    ours = {"PYTHONPATH", "PATH"}
    return {**given, **{key: value for key, value in settings.items() if key in ours or key not in given}}


def exec_airflow(arguments: Sequence[str]) -> int:
    """Replace this process by an airflow command; Airflow's database is created on first use.

    Returns:
        The exit code, if the database can't be created; else it does not return.
    """
    env = environment()
    if code := prepare(env):
        return code
    if list(arguments[:2]) == ["dags", "test"]:
        env.pop("AGE_DEADLINE_HOURS", None)  # `dags test` of a DAG with a deadline fails at its end
    os.execvpe(sys.executable, [sys.executable, "-m", "airflow", *arguments], env)


def serve() -> int:
    """Start Airflow with its UI, print where to log in once it answers, and wait until it stops.

    Returns:
        The exit code of `airflow standalone`.
    """
    env = environment()
    if code := prepare(env):
        return code
    address = f"http://localhost:{env.get('AIRFLOW__API__PORT', '8080')}"
    log = Path(env["AIRFLOW_HOME"]) / "standalone.log"
    print(f"Airflow is starting; its log is {log}", flush=True)
    with log.open("w") as file:
        server = subprocess.Popen([sys.executable, "-m", "airflow", "standalone"], env=env, stdout=file, stderr=file)
        threading.Thread(target=_welcome, args=(server, address, admin_password(env)), daemon=True).start()
        try:
            return server.wait()
        except KeyboardInterrupt:  # the terminal sent it to Airflow too
            return server.wait()


def prepare(env: Mapping[str, str]) -> int:
    """Create Airflow's database and the pool of trainings, once.

    Returns:
        0, or the exit code of the command that failed; its output is printed.
    """
    home = Path(env["AIRFLOW_HOME"])
    home.mkdir(parents=True, exist_ok=True)
    done = home / f"prepared-{version('apache-airflow')}"
    with (home / "prepare.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists():
            return 0
        print(f"creating Airflow's database in {home}", file=sys.stderr)
        result = subprocess.run([sys.executable, "-c", PREPARE], env=env, capture_output=True, text=True)
        if result.returncode:
            print(result.stdout[-4000:], result.stderr[-4000:], file=sys.stderr)
            return result.returncode
        done.touch()
    return 0


def _welcome(server: subprocess.Popen[bytes], address: str, password: str) -> None:
    while server.poll() is None and not _answers(f"{address}/api/v2/monitor/health"):
        time.sleep(1)
    if server.poll() is None:
        _answers(f"{address}/execution/health")  # built on the first request; the first task would wait for it
        print(f"Open {address} and log in as admin with the password {password}. Ctrl-C stops it.", flush=True)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=20) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def admin_password(env: Mapping[str, str]) -> str:
    """The password of `admin`, drawn once; Airflow's simple auth manager reads it from the same file."""
    path = Path(env["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(json.dumps({"admin": secrets.token_urlsafe(12)}))
    return str(json.loads(path.read_text())["admin"])
