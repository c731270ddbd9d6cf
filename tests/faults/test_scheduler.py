"""Airflow's scheduler killed in the middle of a run, on PostgreSQL; another takes over."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest

from age_tasks.demo.synthetic_faces import draw_sample
from age_tasks.environment import PROJECT
from age_tasks.registry.promotions import history
from age_tasks.runs.keys import safe_run_key
from age_tasks.store import open_store
from tests.faults.killed_processes import SMALL, finished
from tests.faults.tally import Tally
from tests.support.airflow import Standalone
from tests.support.ports import free_ports

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]

RUN_SECONDS = 1800
# The task at work when the scheduler is killed, and whether all that it has started is killed with it.
KILLS = (("validate", True), ("baseline", True), ("finetune", False))
NOTICES_SOON = {
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "60",  # seconds; beats come late on a busy machine
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
}


@pytest.fixture
def postgres() -> Iterator[str]:
    """The address of an empty PostgreSQL database, whose server ends with the test."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        pytest.skip("there is no PostgreSQL server (Debian: apt-get install postgresql)")
    owner = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}  # it refuses to be root's
    with tempfile.TemporaryDirectory(prefix="age-postgres-") as folder:
        if owner:
            shutil.chown(folder, **owner)
        (port,) = free_ports(1)
        data = ["-D", f"{folder}/data"]
        initialise = [found[-1] / "initdb", *data, "-U", "age", "-A", "trust"]
        subprocess.run(initialise, check=True, capture_output=True, **owner)
        # Workers that outlive their scheduler keep its connection open, and with that the locks of its transaction.
        settings = ["-c", "fsync=off", "-c", "idle_in_transaction_session_timeout=30s"]
        command = [found[-1] / "postgres", *data, "-p", str(port), "-k", folder, *settings]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **owner) as server:
            try:
                made = [found[-1] / "createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "age", "airflow"]
                while subprocess.run(made, capture_output=True).returncode:
                    assert server.poll() is None
                yield f"postgresql+psycopg2://age@127.0.0.1:{port}/airflow"
            finally:
                server.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    server.wait(5)
                server.kill()


@pytest.fixture
def airflow(postgres: str, tmp_path: Path) -> Iterator[Standalone]:
    draw_sample(tmp_path / "faces", 110, seed=3)
    places = {"AGE_LABELS": "faces/labels.csv", "AGE_STORE": "store", "AGE_CACHE": "cache"}
    airflow = Standalone(
        tmp_path / "home",
        {name: str(tmp_path / place) for name, place in places.items()}
        | NOTICES_SOON
        | {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": postgres,
            "AGE_SCHEDULE": "none",
            "AGE_SETTLE_SECONDS": "1000000",  # runs start by hand only
        },
    )
    try:
        airflow.start()
        yield airflow
    finally:
        airflow.stop()


class Schedulers:
    """The scheduler of an Airflow: the first is its own, later ones are started here."""

    def __init__(self, airflow: Standalone, standalone: psutil.Process):
        self._airflow = airflow
        (self._now,) = (each for each in standalone.children() if "scheduler" in each.cmdline())
        self._seen: set[psutil.Process] = set()

    def kill(self, with_all: bool) -> None:
        started = self._now.children(recursive=True)
        self._seen |= {self._now, *started}
        for each in [self._now, *(started if with_all else [])]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()

    def start(self) -> None:
        with self._airflow.log.open("a") as log:
            command = [sys.executable, "-m", "airflow", "scheduler"]
            process = subprocess.Popen(command, env=self._airflow.env, cwd=PROJECT, stdout=log, stderr=log)
        self._now = psutil.Process(process.pid)

    def stop(self) -> None:
        self.kill(with_all=True)
        for each in self._seen:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()


def at_work(airflow: Standalone, run: str, task: str) -> bool:
    return airflow.tasks("age_retraining", run)[task] == "running"


def test_a_run_continues_after_its_scheduler_was_killed(airflow: Standalone, tally: Tally):
    with tally.attempt("scheduler_kills", len(KILLS)):
        schedulers = Schedulers(airflow, psutil.Process(airflow._process.pid))
        with contextlib.suppress(OSError):  # it may be there
            airflow.api("pools", {"name": "gpu", "slots": 1})
        form = {"recipe": "demo", "settings": SMALL}
        airflow.wait("DAG", lambda: airflow.api("dags?dag_id_pattern=age_retraining")["dags"])
        run = airflow.api("dags/age_retraining/dagRuns", {"logical_date": None, "conf": form})["dag_run_id"]
        try:
            for task, with_all in KILLS:
                airflow.wait(f"{task} at work", partial(at_work, airflow, run, task), RUN_SECONDS)
                schedulers.kill(with_all)
                schedulers.start()
            path = f"dags/age_retraining/dagRuns/{quote(run, safe='')}"
            airflow.wait("end of the run", lambda: airflow.api(path)["state"] in {"success", "failed"}, RUN_SECONDS)
            states = airflow.tasks("age_retraining", run)
        finally:
            schedulers.stop()
        assert set(states.values()) == {"success"}, states
        store = open_store(airflow.env["AGE_STORE"])
        assert len(finished(store, safe_run_key(run))) == 8
        assert [entry.run for entry in history(store)] == [safe_run_key(run)]
