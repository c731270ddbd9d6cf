"""The same stage as a process, a container and a pod, as a real Airflow makes them."""

import json
import os
from typing import Any

import pytest

from age_tasks.environment import RuntimeVariables
from age_tasks.errors import SettingsError
from tests.support.airflow import AirflowProcess

BASE = {
    "AGE_LABELS": "/data/faces/labels.csv",
    "AGE_STORE": "/data/store",
    "AGE_CACHE": "/data/cache",
    "AGE_MEMORY": "8g",
    "AIRFLOW_CONN_KUBERNETES_DEFAULT": '{"conn_type": "kubernetes"}',
    "AWS_SECRET_ACCESS_KEY": "hush",
    "AWS_CA_BUNDLE": "",  # of the machine of the tests
}
ON_S3 = {"AGE_STORE": "s3://age/store", "AGE_CACHE_VOLUME": "age-cache"}
DOCKER = {"AGE_GPUS": "2", "AGE_IMAGES": "/data/shards/*.tar", "AGE_UNLABELLED": "/data/new/a.tar"}
VOLUME = {**ON_S3, "AGE_GPUS": "0", "AGE_DOCKER_NETWORK": "age-training", "AGE_LABELS": "s3://age/faces/labels.csv"}
KUBERNETES = {**ON_S3, "AGE_LABELS": "s3://age/faces/labels.csv", "AGE_KUBERNETES_SECRET": "age-keys"}

PODS = {"AGE_RUNTIME": "kubernetes", "AGE_STORE": "s3://age/store"}

Tasks = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def tasks(airflow_process: AirflowProcess) -> Tasks:
    """Tasks in Docker with folders of this machine, in Docker with a volume, and in Kubernetes; see the program."""
    cases = {"docker": ("docker", DOCKER), "volume": ("docker", VOLUME), "kubernetes": ("kubernetes", KUBERNETES)}
    return {
        name: airflow_process.call("runtimes.describe", BASE | env, runtime=runtime)
        for name, (runtime, env) in cases.items()
    }


def test_a_container_gets_gpus_memory_and_the_name_of_its_run_and_task(tasks: Tasks):
    stage = tasks["docker"]["finetune"]
    assert stage["command"] == ["python", "-m", "age_tasks", "finetune"]
    (request,) = stage["gpus"]
    assert (request["Driver"], request["Count"], request["Capabilities"]) == ("nvidia", 2, [["gpu"]])
    assert (stage["memory"], stage["shm"], stage["remove"], stage["tmp"]) == ("8g", 2**30, "force", False)
    assert stage["name"].startswith("age_retraining.manual__2026-11-22T10:15.finetune.")
    assert stage["name"].rpartition(".")[2] != tasks["volume"]["finetune"]["name"].rpartition(".")[2]


def test_only_gpu_stages_ask_for_a_gpu_and_wait_for_each_other(tasks: Tasks):
    assert tasks["docker"]["snapshot"]["gpus"] is None
    assert tasks["volume"]["finetune"]["gpus"] == []
    for runtime in ("docker", "volume", "kubernetes"):
        assert tasks[runtime]["pools"] == {"snapshot": "default_pool", "finetune": "gpu"}


def test_workers_that_share_work_are_tasks_of_the_same_runtime(tasks: Tasks):
    first, second = tasks["docker"]["shares"]
    assert first["command"] == ["python", "-m", "age_tasks", "features"]
    assert first["gpus"] == tasks["docker"]["finetune"]["gpus"]
    assert first["name"] != second["name"]  # else the second would follow the first one's container
    assert [each["shown"]["AGE_SHARE"] for each in (first, second)] == ["1/2", "2/2"]
    assert first["shown"]["AGE_RUN"] == "manual__2026-11-22T10:15"
    for number, pod in enumerate(tasks["kubernetes"]["shares"], start=1):
        (container,) = pod["spec"]["containers"]
        assert container["args"] == ["exec python -m age_tasks features > /dev/termination-log"]
        assert {"name": "AGE_SHARE", "value": f"{number}/2"} in container["env"]
        assert "nvidia.com/gpu" in container["resources"]["limits"]


def test_a_container_has_labels_store_and_cache_at_their_own_paths(tasks: Tasks):
    stage = tasks["docker"]["snapshot"]
    mounts = {mount["Target"]: (mount["Source"], mount["ReadOnly"]) for mount in stage["mounts"]}
    assert mounts["/data/faces"] == ("/data/faces", True)
    assert mounts["/data/shards"] == ("/data/shards", True)
    assert mounts["/data/new"] == ("/data/new", True)
    assert mounts["/data/store"] == ("/data/store", False)
    assert mounts["/data/cache"] == ("/data/cache", False)
    assert stage["user"] == f"{os.getuid()}:{os.getgid()}"
    assert stage["shown"]["AGE_LABELS"] == "$(touch x)"  # what the form says is passed on, and never mounted


def test_with_a_volume_and_s3_no_folder_of_the_machine_is_mounted(tasks: Tasks):
    stage = tasks["volume"]["finetune"]
    (mount,) = stage["mounts"]
    assert (mount["Type"], mount["Source"], mount["Target"]) == ("volume", "age-cache", "/cache")
    assert (stage["user"], stage["network"]) == (None, "age-training")


def test_keys_reach_the_container_and_no_page_or_database(tasks: Tasks):
    stage = tasks["docker"]["finetune"]
    assert stage["hidden"]["AWS_SECRET_ACCESS_KEY"] == "hush"
    assert stage["hidden"]["AGE_STORE"].endswith("/data/store")
    assert stage["hidden"]["MPLCONFIGDIR"] == "/data/cache/matplotlib"  # where it may write
    assert "hush" not in json.dumps(stage["shown"])
    for runtime in ("docker", "volume", "kubernetes"):
        assert "hush" not in tasks[runtime]["dag"]
    assert "hush" not in json.dumps(tasks["kubernetes"])


def test_a_stage_writes_only_to_its_own_folders_and_gains_no_rights(tasks: Tasks):
    container = tasks["volume"]["finetune"]["host"]
    assert (container["ReadonlyRootfs"], container["Tmpfs"]) == (True, {"/tmp": ""})
    assert (container["CapDrop"], container["SecurityOpt"]) == (["ALL"], ["no-new-privileges"])
    assert not container.get("Privileged")
    assert "docker.sock" not in json.dumps(tasks["docker"]) + json.dumps(tasks["volume"])


def test_stages_run_in_processes_by_default():
    settings = RuntimeVariables.from_env({"AGE_RUNTIME": "", "AGE_GPUS": ""})
    assert (settings.runtime, settings.gpu_count) == ("local", -1)


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"AGE_RUNTIME": "podman"}, "AGE_RUNTIME='podman' is invalid: expected 'local', 'docker' or 'kubernetes'"),
        ({"AGE_GPUS": "-1"}, "AGE_GPUS='-1' is invalid: expected a number of GPUs or 'all'"),
        ({"AGE_TRAINER_IMAGE": "age-trainer:latest"}, "with its tag, not latest"),
        ({"AGE_TRAINER_IMAGE": "registry:5000/age-trainer"}, "with its tag, not latest"),
        ({"AGE_MEMORY": "16Gi"}, "such as 16g"),
        ({"AGE_KUBERNETES_NODE_SELECTOR": "gpu"}, "such as gpu=a10,pool=training"),
        ({"AGE_RUNTIME": "kubernetes", "AGE_STORE": "/data/store"}, "pods can't reach it; expected s3://bucket/prefix"),
        (PODS | {"AGE_LABELS": "/data/labels.csv"}, "AGE_LABELS='/data/labels.csv' is invalid: pods can't reach it"),
        (PODS | {"AGE_LABELS": "labels.xlsx"}, "AGE_LABELS='labels.xlsx' is invalid: pods can't reach it"),
        (
            PODS | {"AGE_IMAGES": "file:///data/a%20b"},
            "AGE_IMAGES='file:///data/a%20b' is invalid: pods can't reach it",
        ),
        (PODS | {"AGE_LABELS": "s3://age/labels.csv", "AGE_IMAGES": "/data"}, "AGE_IMAGES='/data' is invalid: pods"),
        (PODS | {"AGE_SCORE_IMAGES": "/data/new"}, "AGE_SCORE_IMAGES='/data/new' is invalid: pods can't reach it"),
        (PODS | {"AGE_SCORE_OUT": "ages.csv"}, "AGE_SCORE_OUT='ages.csv' is invalid: pods can't reach it"),
        (PODS | {"AGE_KUBERNETES_LIGHT_CPUS": "0"}, "AGE_KUBERNETES_LIGHT_CPUS='0' is invalid: expected a number of"),
        (
            PODS | {"AGE_KUBERNETES_LIGHT_MEMORY": "1Gi"},
            "AGE_KUBERNETES_LIGHT_MEMORY='1Gi' is invalid: expected a size",
        ),
        (
            {"AGE_RUNTIME": "docker", "AGE_CACHE_VOLUME": "cache", "AGE_STORE": "/data/store"},
            "AGE_CACHE_VOLUME='cache' is invalid with AGE_STORE='/data/store'",
        ),
    ],
)
def test_invalid_variables_are_refused_with_what_is_valid(env: dict[str, str], said: str):
    with pytest.raises(SettingsError) as error:
        RuntimeVariables.from_env(env)
    assert said in str(error.value)
