"""The compose stack in tests: docker-compose.yaml with stand-ins for what comes from registries of images."""

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import requests

from age_tasks.environment import PROJECT

FILES = ("docker-compose.yaml", "docker/cpu.yaml", "docker/behind-proxy.yaml", "tests/docker/stand-ins.yaml")
TIMEOUT = 15  # seconds of one request
ENDED = frozenset({"success", "failed"})


class Stack:
    """A running stack of its own: project name, ports and passwords are not those of another on this engine.

    Args:
        name: of the compose project.
        env: what is in `.env`.
        folder: `.env` is written there.
        host: the address that its ports are published on.
    """

    def __init__(self, name: str, env: dict[str, str], folder: Path, host: str) -> None:
        self.name, self.env, self.host = name, env, host
        self.began = time.monotonic()
        self._env_file = folder / ".env"
        self._env_file.write_text("".join(f"{key}={value}\n" for key, value in env.items()))
        self._address = f"http://{host}:{env.get('AGE_PORT') or env['STACK_PORT']}"

    def compose(self, *arguments: str, files: Sequence[str] = FILES, timeout: float = 900) -> str:
        """Run `docker compose`; its output.

        Raises:
            AssertionError: it failed; with the output.
        """
        chosen = [each for file in files for each in ("--file", str(PROJECT / file))]
        command = ["docker", "compose", "--project-name", self.name, "--env-file", str(self._env_file), *chosen]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=timeout)
        assert done.returncode == 0, f"docker compose {' '.join(arguments)}:\n{(done.stdout + done.stderr)[-4000:]}"
        return done.stdout

    def container(self, service: str) -> str:
        """The name of a service's container."""
        return f"{self.name}-{service}-1"

    def hostname(self, service: str) -> str:
        """What a service's container calls itself, as Airflow shows it."""
        return self.execute(service, "hostname").stdout.strip()

    def execute(self, service: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the container of a service."""
        return docker("exec", self.container(service), *command, check=False)

    def restart(self, *services: str, kill: bool = False) -> None:
        """Restart services as an engine does: after a signal and 10 seconds, or at once."""
        names = [self.container(service) for service in services]
        if kill:
            docker("kill", *names)
            docker("start", *names)
        else:
            docker("restart", "--time", "10", *names)

    def api(self, method: str, path: str, json: dict[str, Any] | None = None) -> Any:
        """What the UI's API answers; asked again while the server is not there.

        Raises:
            AssertionError: the answer is an error.
        """
        for number in range(60):
            with contextlib.suppress(requests.RequestException):
                url = f"{self._address}/api/v2/{path}"
                answer = requests.request(method, url, json=json, headers=self._login(), timeout=TIMEOUT)
                if answer.status_code == 409 and number > 0:
                    return None  # the request before has arrived, its answer has not
                if answer.status_code < 500:
                    assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
                    return answer.json() if answer.content else None
            time.sleep(2)
        raise AssertionError(f"the API server does not answer: {self.compose('ps', '-a')}")

    def page(self, path: str, login: bool) -> requests.Response:
        """A page of the UI, as somebody who has logged in or has not."""
        headers = self._login() if login else {}
        return requests.get(f"{self._address}/{path}", headers=headers, timeout=TIMEOUT, allow_redirects=login)

    def _login(self) -> dict[str, str]:
        person = {"username": "admin", "password": self.env["ADMIN_PASSWORD"]}
        token = requests.post(f"{self._address}/auth/token", json=person, timeout=TIMEOUT)
        return {"Authorization": f"Bearer {token.json()['access_token']}"}

    def turn_on(self, dag: str) -> None:
        """Unpause a DAG, once it has been parsed."""
        wait_for(lambda: dag in {each["dag_id"] for each in self.api("GET", "dags?limit=50")["dags"]}, 180)
        self.api("PATCH", f"dags/{dag}", {"is_paused": False})

    def trigger(self, dag: str, conf: dict[str, Any], run: str) -> str:
        """Start a run; its id."""
        self.api("POST", f"dags/{dag}/dagRuns", {"dag_run_id": run, "logical_date": None, "conf": conf})
        return run

    def state(self, dag: str, run: str) -> str:
        """The state of a run."""
        return self.api("GET", f"dags/{dag}/dagRuns/{run}")["state"]

    def tasks(self, dag: str, run: str) -> dict[str, dict[str, Any]]:
        """The newest try of each task of a run, by its name."""
        found = self.api("GET", f"dags/{dag}/dagRuns/{run}/taskInstances")["task_instances"]
        return {each["task_id"]: each for each in found}

    def wait_for_task(self, dag: str, run: str, task: str, states: set[str], seconds: float) -> None:
        """Wait until a task has one of the states.

        Raises:
            AssertionError: it has not in time, or the run ended before.
        """

        def reached() -> bool:
            tasks = self.tasks(dag, run)
            if task in tasks and tasks[task]["state"] in states:
                return True
            now = {name: each["state"] for name, each in tasks.items()}
            assert self.state(dag, run) not in ENDED, f"{now}\n{self.log(dag, run, 'gate')[-1500:]}"
            return False

        wait_for(reached, seconds)

    def wait_for_runs(self, dag: str, number: int, seconds: float) -> list[str]:
        """Wait until a DAG has had that many runs; their ids, the oldest first."""
        found: list[str] = []

        def enough() -> bool:
            runs = self.api("GET", f"dags/{dag}/dagRuns?limit=100&order_by=run_after")["dag_runs"]
            found[:] = [each["dag_run_id"] for each in runs]
            return len(found) >= number

        wait_for(enough, seconds)
        return found

    def answer(self, dag: str, run: str, task: str, option: str, comment: str) -> None:
        """Answer the question that a task asks."""
        given = {"chosen_options": [option], "params_input": {"comment": comment}}
        self.api("PATCH", f"dags/{dag}/dagRuns/{run}/taskInstances/{task}/-1/hitlDetails", given)

    def log(self, dag: str, run: str, task: str, number: int = 1) -> str:
        """The log of a try."""
        found = self.api("GET", f"dags/{dag}/dagRuns/{run}/taskInstances/{task}/logs/{number}")
        return "\n".join(str(each.get("event", each)) for each in found["content"])

    def result(self, dag: str, run: str, task: str) -> dict[str, Any]:
        """The summary of a task that succeeded."""
        entry = f"dags/{dag}/dagRuns/{run}/taskInstances/{task}/xcomEntries/return_value?stringify=false"
        summary: dict[str, Any] = self.api("GET", entry)["value"]
        return summary

    def wait_for_run(self, dag: str, run: str, seconds: float) -> dict[str, dict[str, Any]]:
        """Wait until a run has ended; its tasks.

        Raises:
            AssertionError: it has not ended in time, or failed; with the logs of what failed.
        """
        wait_for(lambda: self.state(dag, run) in ENDED, seconds)
        tasks = self.tasks(dag, run)
        if self.state(dag, run) != "success":
            failed = [name for name, task in tasks.items() if task["state"] == "failed"]
            logs = [self.log(dag, run, name, tasks[name]["try_number"])[-3000:] for name in failed]
            raise AssertionError(f"{run}: {failed} failed\n" + "\n".join(logs))
        return tasks


def docker(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the engine's command line.

    Raises:
        AssertionError: it failed, with what it printed; if `check`.
    """
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=180)
    assert not check or done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done


def wait_for(done: Callable[[], bool], seconds: float) -> None:
    """Wait until `done` returns true.

    Raises:
        AssertionError: it does not in time.
    """
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        time.sleep(1)


@contextlib.contextmanager
def running(stack: Stack) -> Iterator[Stack]:
    """The stack from `up` to `down`; its volumes go too.

    Raises:
        AssertionError: it does not come up; with what prepared it.
    """
    stack.began = time.monotonic()
    try:
        try:
            stack.compose("up", "--detach", "--no-build", "--wait", "--wait-timeout", "300")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{stack.compose('logs', '--tail', '30', 'airflow-init')}") from None
        yield stack
    finally:
        stack.compose("down", "--volumes", "--timeout", "5")
