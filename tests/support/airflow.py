"""Airflow for tests: its commands with a database of its own, and a whole one as `make up` starts it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from age_tasks.cli.airflow import environment, prepare
from age_tasks.environment import PROJECT
from tests.support.ports import free_ports

PASSWORD = "only-for-this-test"
STARTUP_SECONDS = 600
PATIENCE_SECONDS = 300  # machines may be busy: a bound for what must happen at last, no measurement


class Standalone:
    """`airflow standalone`, its REST API, and what is needed to stop it and start it again.

    Args:
        home: a folder for its database, logs and passwords.
        variables: what its environment holds besides, such as `AGE_LABELS`.
    """

    def __init__(self, home: Path, variables: dict[str, str]):
        home.mkdir(parents=True)
        port, *log_ports = free_ports(3)
        self.url = f"http://localhost:{port}"
        self.log = home / "standalone.log"
        given = {name: value for name, value in os.environ.items() if not name.startswith(("AGE_", "AIRFLOW_"))}
        given |= {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(log_ports[0]),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(log_ports[1]),
            "PYTHONWARNINGS": "ignore",
            "no_proxy": "localhost,127.0.0.1",
        }
        self.env = environment(given | variables)
        passwords = Path(self.env["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
        passwords.touch(mode=0o600)
        passwords.write_text(json.dumps({"admin": PASSWORD}))
        self._process: subprocess.Popen | None = None
        self._token = ""

    def start(self) -> None:
        """Start it, and wait until every part of it is healthy."""
        assert prepare(self.env) == 0
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.programs.airflow_standalone"],
                env=self.env,
                cwd=PROJECT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait("a healthy Airflow", self._healthy, STARTUP_SECONDS)
        self._open(f"{self.url}/execution/health")  # built lazily; the first task need not wait for it
        self._token = self._open(f"{self.url}/auth/token", {"username": "admin", "password": PASSWORD})["access_token"]

    def stop(self) -> None:
        """Stop it as Ctrl-C does, with all it has started."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(60)
        with contextlib.suppress(ProcessLookupError):  # the group is ours alone
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def api(self, path: str, body: dict | None = None, method: str | None = None) -> Any:
        """The answer of the REST API at `/api/v2/{path}`; with a body a POST, unless another method is given."""
        return self._open(f"{self.url}/api/v2/{path}", body, method)

    def runs(self, dag: str) -> list[dict]:
        """The DAG's runs, oldest first."""
        return self.api(f"dags/{dag}/dagRuns?limit=100&order_by=run_after")["dag_runs"]

    def tasks(self, dag: str, run: str) -> dict[str, str]:
        """The state of each task of a run."""
        found = self.api(f"dags/{dag}/dagRuns/{urllib.parse.quote(run, safe='')}/taskInstances")
        return {task["task_id"]: task["state"] for task in found["task_instances"]}

    def wait(self, what: str, ask: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
        """The first true answer.

        Raises:
            AssertionError: none in that time.
        """
        deadline = time.monotonic() + seconds
        while not (answer := ask()):
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                raise AssertionError(f"no {what} after {seconds:g} s; the end of {self.log}:\n{self._tail()}")
            time.sleep(0.25)
        return answer

    def _healthy(self) -> bool:
        try:
            parts = self._open(f"{self.url}/api/v2/monitor/health")
        except OSError:
            return False
        return all(
            parts[part]["status"] == "healthy" for part in ("metadatabase", "scheduler", "triggerer", "dag_processor")
        )

    def _open(self, url: str, body: dict | None = None, method: str | None = None) -> Any:
        headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {self._token}"} if self._token else {}
        )
        data = None if body is None else json.dumps(body).encode()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(
            urllib.request.Request(url, data, headers, method=method), timeout=STARTUP_SECONDS
        ) as response:
            return json.load(response)

    def _tail(self) -> str:
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""


def airflow_command(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """An airflow command, as `age-tasks airflow` executes it."""
    command = [sys.executable, "-m", "age_tasks", "airflow", *arguments]
    return subprocess.run(command, env=env, cwd=PROJECT, capture_output=True, text=True, timeout=580)


def run_program(env: dict[str, str], name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A program of `tests.programs` with the settings of our Airflow."""
    command = [sys.executable, "-m", f"tests.programs.{name}", *arguments]
    return subprocess.run(command, env=_with_plugins(env), cwd=PROJECT, capture_output=True, text=True, timeout=580)


class AirflowProcess:
    """A process that has imported Airflow, and executes functions of `tests.programs` one after the other.

    Args:
        env: its environment; `AIRFLOW_HOME` and what else Airflow reads once hold for all calls.
        log: the file for what it prints.
    """

    def __init__(self, env: dict[str, str], log: Path):
        self._env, self._log = env, log
        self._process: subprocess.Popen[str] | None = None

    def call(self, function: str, env: Mapping[str, str] | None = None, **arguments: Any) -> Any:
        """The result of a function such as `runs.run_dag`, which must be JSON.

        Args:
            function: its module in `tests.programs`, and its name.
            env: variables for the time of this call, beside those of the process.
            arguments: keyword arguments, JSON.

        Raises:
            AssertionError: the function raised, or the process ended; with the end of what it printed.
        """
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        given = {"call": function, "arguments": arguments, "env": _with_plugins({**self._env, **(env or {})})}
        process.stdin.write(json.dumps(given) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        answer = json.loads(line) if line else {"error": "the process ended"}
        if "error" in answer:
            raise AssertionError(f"{function}: {answer['error']}\nthe end of its output:\n{self.output()[-4000:]}")
        return answer["result"]

    @property
    def pid(self) -> int | None:
        """The process; None before the first call."""
        return self._process.pid if self._process else None

    def output(self) -> str:
        """What it has printed so far: Airflow's logs, and those of the tasks."""
        return self._log.read_text(errors="replace")

    def stop(self) -> None:
        """End the process, if it was started."""
        if self._process:
            self._process.communicate(timeout=60)
            self._process = None

    def _start(self) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "tests.programs.airflow_server"]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                command,
                env=_with_plugins(self._env),
                cwd=PROJECT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        return self._process


def _with_plugins(env: Mapping[str, str]) -> dict[str, str]:
    """The environment of our Airflow; the plugin can be imported before Airflow has put its folder on the path."""
    return environment({**env, "PYTHONPATH": str(PROJECT / "plugins")})
