"""A whole DAG run on hostile labels, with a canary in every secret that there is."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from age_tasks.demo.synthetic_faces import Sample
from age_tasks.environment import PROJECT, Locations
from age_tasks.pipeline import STAGES
from age_tasks.runs.run import open_run
from age_tasks.store import open_store
from age_tasks.store.base import Store
from tests.faults.tally import Tally
from tests.support.hostile import CANARIES, HUSH, files_with
from tests.support.settings import QUICK

pytestmark = [pytest.mark.faults, pytest.mark.timeout(2400)]
NAME = "=<img src=x onerror=alert(1)>.jpg"


@pytest.fixture
def env(s3: dict[str, str], sample: Sample, tmp_path: Path) -> dict[str, str]:
    """An Airflow whose store is in S3, with nobody at the tracking server's and the mail server's address."""
    shutil.copytree(sample.images, tmp_path / "images")
    shutil.move(tmp_path / "images" / "00020.jpg", tmp_path / "images" / NAME)
    (tmp_path / "labels.csv").write_text(sample.labels.read_text().replace("00020.jpg", NAME))
    env = {name: value for name, value in os.environ.items() if not name.startswith("AGE_")} | s3 | CANARIES
    env |= {"AIRFLOW_HOME": str(tmp_path / "home"), "AGE_STORE": "s3://age/hostile", "AGE_RECIPE": "demo"}
    env |= {
        "AGE_CACHE": str(tmp_path / "cache"),
        "AGE_LABELS": str(tmp_path / "labels.csv"),
        "PYTHONWARNINGS": "ignore",
    }
    env |= {"MLFLOW_TRACKING_URI": f"http://team:{HUSH}@127.0.0.1:1", "AGE_NOTIFY_EMAIL": "ann@example.org"}
    return env


def test_secrets_are_nowhere_but_in_the_environment(env: dict[str, str], tmp_path: Path, tally: Tally):
    """Not in the store, the cache, Airflow's database and logs, or what is printed: well or ill, as runs go."""
    assert HUSH in env["AWS_SECRET_ACCESS_KEY"]
    dag = ["airflow", "dags", "test", "age_retraining", "-c"]
    strict = {"settings": {"validate.max_quarantine_fraction": 0.01}}  # fails, and tells ann
    said = [
        age_tasks(env, *dag, json.dumps({"settings": QUICK})),
        age_tasks(env, *dag, json.dumps(strict)),
        age_tasks(env | {"AWS_SECRET_ACCESS_KEY": f"{HUSH}-wrong"}, "snapshot"),
        age_tasks(env | {"AWS_ENDPOINT_URL": f"http://me:{HUSH}@127.0.0.1:1"}, "snapshot"),
        age_tasks(env | {"AGE_STORE": f"s3://me:{HUSH}@age/x"}, "snapshot"),
    ]
    assert [done.returncode for done in said] == [0, 1, 77, 74, 64], said[0].stdout[-3000:]
    store = open_store("s3://age/hostile")
    for key in store.list():
        store.fetch(key, tmp_path / "store" / key)
    for number, done in enumerate(said):
        (tmp_path / f"said-{number}").write_text(done.stdout + done.stderr)
    found = files_with(HUSH, tmp_path)
    for number in range(len(said)):  # printed by one of the commands, or in a place that they share
        with contextlib.suppress(AssertionError), tally.attempt("secrets searched for in whole runs"):
            assert not [path for path in found if path == f"said-{number}" or not path.startswith("said-")]
    assert found == []
    assert "MLflow (http://127.0.0.1:1) is unreachable" in said[0].stdout + said[0].stderr  # with a token
    the_hostile_name_went_all_the_way(env, store)


def the_hostile_name_went_all_the_way(env: dict[str, str], store: Store) -> None:
    (key,) = {name.removeprefix("reports/").removesuffix(".html") for name in store.list("reports/")}
    with open_run(key, Locations.from_env(env)) as run:
        assigned = "".join(run.input("split", f"{name}.csv").read_text() for name in ("train", "val", "test"))
        assert NAME in assigned
        for stage in STAGES:
            for name in run.require_record(stage).outputs:
                if name.endswith(".html"):
                    assert "<img src=x" not in run.read(stage, name).decode()
                if name in {"predictions.csv", "labels_to_look_at.csv"}:
                    assert f'"{NAME}' not in run.read(stage, name).decode()
        assert f"\"'{NAME}" in run.read("evaluate", "labels_to_look_at.csv").decode()


def age_tasks(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "age_tasks", *arguments]
    return subprocess.run(command, env=env, cwd=PROJECT, capture_output=True, text=True, timeout=1100)
