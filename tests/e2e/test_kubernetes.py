"""A whole retraining in pods, with data on S3, while the cluster fails as clusters do."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from age_tasks.demo.synthetic_faces import draw_sample
from age_tasks.environment import Locations
from age_tasks.pipeline import STAGES
from age_tasks.runs.run import open_run
from age_tasks.store import open_store
from tests.support.airflow import AirflowProcess
from tests.support.kubernetes_api import Cluster, Pod, kubernetes_api
from tests.support.settings import QUICK

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

AWAY_SECONDS = 30
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@pytest.fixture
def cluster(tmp_path: Path, s3: dict[str, str]) -> Iterator[Cluster]:
    with kubernetes_api(tmp_path / "cluster") as cluster:
        cluster.secrets["age-keys"] = {name: s3[name] for name in KEYS}
        yield cluster


def upload(folder: Path) -> None:
    """Labels and images to s3://age/faces."""
    store = open_store("s3://age/faces")
    for path in folder.rglob("*.*"):
        store.put(path.relative_to(folder).as_posix(), path.read_bytes())


def at_work(stage: str) -> Callable[[Pod], bool]:
    """Whether a pod of a stage trains."""
    return lambda pod: pod.name.startswith(f"age-{stage}-") and any(b"epoch" in line.lower() for _, line in pod.lines)


def fail(cluster: Cluster) -> None:
    """The API is away while `baseline` trains; the pod of `finetune` is evicted."""
    cluster.wait_for(at_work("baseline"), 600)
    cluster.go_away()
    time.sleep(AWAY_SECONDS)
    cluster.come_back()
    cluster.evict(cluster.wait_for(at_work("finetune"), 600))


def test_a_retraining_survives_an_absent_api_and_an_eviction(
    cluster: Cluster, s3: dict[str, str], airflow_process: AirflowProcess, tmp_path: Path
):
    draw_sample(tmp_path / "faces", 110, seed=3)
    upload(tmp_path / "faces")
    env = dict(s3) | {
        "AGE_RUNTIME": "kubernetes",
        "AGE_STORE": "s3://age/store",
        "AGE_LABELS": "s3://age/faces/labels.csv",
        "AGE_CACHE_VOLUME": "age-cache",
        "AGE_KUBERNETES_SECRET": "age-keys",
        "AIRFLOW_CONN_KUBERNETES_DEFAULT": cluster.connection,
    }
    threading.Thread(target=fail, args=[cluster], daemon=True).start()
    conf = {"recipe": "demo", "settings": QUICK}
    run = airflow_process.call("runs.run_dag", env, dag_id="age_retraining", conf=conf, retry_seconds=1)
    assert run["tasks"] == dict.fromkeys([*STAGES, "approve"], "success"), airflow_process.output()[-4000:]
    started = [pod.name.split("-")[1] for pod in cluster.created]
    assert started == [stage for stage in STAGES for _ in range(2 if stage == "finetune" else 1)]
    assert cluster.names() == []
    said = airflow_process.output() + json.dumps([pod.manifest for pod in cluster.created])
    assert not [name for name in KEYS if s3[name] in said]
    (key,) = {name.split("/")[1] for name in open_store("s3://age/store").list("runs/")}
    with open_run(key, Locations.from_env(env)) as opened:
        assert [opened.record(stage).status for stage in STAGES] == ["done"] * len(STAGES)
