"""Settings of the runtimes, and the same stage as a process, a container and a pod, by a real Airflow."""

import json
import os

import pytest

from age_tasks.environment import RuntimeVariables
from age_tasks.errors import SettingsError
from tests.support.airflow import python

INSPECT = """
import json, os, types
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization
from age_retraining_plugin.stage_task import stage_task

params = {"recipe": "demo", "settings": {}, "labels": "$(touch x)", "images": None, "again": False}

def described(runtime, describe, **env):
    os.environ.update(AGE_RUNTIME=runtime, **env)
    with DAG("age_retraining") as dag:
        for stage in ("snapshot", "finetune"):
            stage_task(stage, from_form=stage == "snapshot")
    found = {"pools": {task.task_id: task.pool for task in dag.tasks}, "dag": json.dumps(DagSerialization.to_dict(dag))}
    for task in dag.tasks:
        task = task.prepare_for_execution()
        run = types.SimpleNamespace(triggering_user_name="ann")
        run_id = "manual__2026-11-22T10:15"
        task.render_template_fields({"params": params, "run_id": run_id, "dag_run": run, "dag": dag})
        found[task.task_id] = describe(task)
    return found

def container(task):
    return {"image": task.image, "command": task.command, "name": task.container_name, "shown": task.environment,
            "hidden": task._inherited() | task._places, "gpus": task.device_requests, "mounts": task.mounts,
            "user": task.user, "memory": task.mem_limit, "shm": task.shm_size, "tmp": task.mount_tmp_dir,
            "remove": task.auto_remove, "network": task.network_mode}

def without_machine(task):  # what the engine is asked to create, where nothing of this machine is mounted
    import docker
    class Engine(docker.APIClient):
        def create_container(self, **asked):
            return asked
    task.__dict__["hook"] = types.SimpleNamespace(api_client=Engine(version="1.43"))  # never connected
    return container(task) | {"host": task._created()["host_config"]}

def pod(task):
    return to_dict(task.build_pod_request_obj(dry_run=True))

def to_dict(pod):
    from kubernetes.client import ApiClient
    return ApiClient().sanitize_for_serialization(pod)

docker = described("docker", container, AGE_GPUS="2", AGE_MEMORY="8g")
volume = described("docker", without_machine, AGE_GPUS="0", AGE_CACHE_VOLUME="age-cache", AGE_STORE="s3://age/store",
                   AGE_DOCKER_NETWORK="age-training", AGE_LABELS="s3://age/faces/labels.csv")
kubernetes = described("kubernetes", pod, AGE_GPUS="all", AGE_KUBERNETES_SECRET="age-keys",
                       AGE_KUBERNETES_NAMESPACE="ml", AGE_KUBERNETES_NODE_SELECTOR="gpu=a10,pool=training")
print(json.dumps({"docker": docker, "volume": volume, "kubernetes": kubernetes}))
"""


@pytest.fixture(scope="module")
def tasks(bare_airflow: dict[str, str]) -> dict:
    env = bare_airflow | {"AWS_SECRET_ACCESS_KEY": "hush"}
    env |= {"AIRFLOW_CONN_KUBERNETES_DEFAULT": '{"conn_type": "kubernetes"}'}
    env |= {"AGE_LABELS": "/data/faces/labels.csv", "AGE_STORE": "/data/store", "AGE_CACHE": "/data/cache"}
    done = python(env, INSPECT)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_container_gets_gpus_memory_and_a_name_of_its_run_and_task(tasks: dict):
    stage = tasks["docker"]["finetune"]
    assert stage["command"] == ["python", "-m", "age_tasks", "finetune"]
    (request,) = stage["gpus"]
    assert (request["Driver"], request["Count"], request["Capabilities"]) == ("nvidia", 2, [["gpu"]])
    assert (stage["memory"], stage["shm"], stage["remove"], stage["tmp"]) == ("8g", "1g", "force", False)
    assert stage["name"].startswith("age_retraining.manual__2026-11-22T10:15.finetune.")
    assert stage["name"].rpartition(".")[2] != tasks["volume"]["finetune"]["name"].rpartition(".")[2]


def test_only_trainings_ask_for_a_gpu_and_wait_for_each_other(tasks: dict):
    assert tasks["docker"]["snapshot"]["gpus"] is None
    assert tasks["volume"]["finetune"]["gpus"] == []
    for runtime in ("docker", "volume", "kubernetes"):
        assert tasks[runtime]["pools"] == {"snapshot": "default_pool", "finetune": "gpu"}


def test_a_container_sees_labels_store_and_cache_at_their_own_paths(tasks: dict):
    stage = tasks["docker"]["snapshot"]
    mounts = {mount["Target"]: (mount["Source"], mount["ReadOnly"]) for mount in stage["mounts"]}
    assert mounts["/data/faces"] == ("/data/faces", True)
    assert mounts["/data/store"] == ("/data/store", False)
    assert mounts["/data/cache"] == ("/data/cache", False)
    assert stage["user"] == f"{os.getuid()}:{os.getgid()}"
    assert stage["shown"]["AGE_LABELS"] == "$(touch x)"  # what the form says is read, and no reason to mount it


def test_with_a_volume_and_s3_nothing_of_the_machine_is_mounted(tasks: dict):
    stage = tasks["volume"]["finetune"]
    (mount,) = stage["mounts"]
    assert (mount["Type"], mount["Source"], mount["Target"]) == ("volume", "age-cache", "/cache")
    assert (stage["user"], stage["network"]) == (None, "age-training")


def test_keys_reach_the_container_and_no_page_or_database(tasks: dict):
    stage = tasks["docker"]["finetune"]
    assert stage["hidden"]["AWS_SECRET_ACCESS_KEY"] == "hush"
    assert stage["hidden"]["AGE_STORE"].endswith("/data/store")
    assert stage["hidden"]["MPLCONFIGDIR"] == "/data/cache/matplotlib"  # where it may write
    assert "hush" not in json.dumps(stage["shown"])
    for runtime in ("docker", "volume", "kubernetes"):
        assert "hush" not in tasks[runtime]["dag"]
    assert "hush" not in json.dumps(tasks["kubernetes"])


def test_a_pod_asks_for_a_gpu_on_the_nodes_named_and_takes_keys_from_a_secret(tasks: dict):
    pod = tasks["kubernetes"]["finetune"]
    spec, (stage, sidecar) = pod["spec"], pod["spec"]["containers"]
    assert pod["metadata"]["namespace"] == "ml"
    assert pod["metadata"]["name"].startswith("age-finetune-")
    assert stage["args"] == ["exec python -m age_tasks finetune > /airflow/xcom/return.json"]
    assert sidecar["name"] == "airflow-xcom-sidecar"
    assert stage["resources"]["limits"] == {"memory": "8Gi", "nvidia.com/gpu": "1"}
    assert spec["nodeSelector"] == {"gpu": "a10", "pool": "training"}
    assert stage["envFrom"] == [{"secretRef": {"name": "age-keys"}}]
    env = {entry["name"]: entry["value"] for entry in stage["env"]}
    assert (env["AGE_STORE"], env["AGE_CACHE"], env["AGE_WHO"]) == ("s3://age/store", "/cache", "ann")
    assert spec["automountServiceAccountToken"] is False
    cache, shm, _ = [volume for volume in spec["volumes"] if volume["name"] != "xcom"]
    assert cache["persistentVolumeClaim"] == {"claimName": "age-cache"}
    assert shm["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Gi"}
    snapshot = tasks["kubernetes"]["snapshot"]["spec"]
    assert "nvidia.com/gpu" not in snapshot["containers"][0]["resources"]["limits"]
    assert not snapshot.get("nodeSelector")


def test_a_stage_writes_to_its_own_places_only_and_gains_no_rights(tasks: dict):
    container = tasks["volume"]["finetune"]["host"]
    assert (container["ReadonlyRootfs"], container["Tmpfs"]) == (True, {"/tmp": ""})
    assert (container["CapDrop"], container["SecurityOpt"]) == (["ALL"], ["no-new-privileges"])
    assert not container.get("Privileged")
    assert "docker.sock" not in json.dumps(tasks["docker"]) + json.dumps(tasks["volume"])
    pod = tasks["kubernetes"]["finetune"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    stage = pod["containers"][0]
    assert stage["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    written = {mount["mountPath"] for mount in stage["volumeMounts"]}
    assert written == {"/cache", "/dev/shm", "/tmp", "/airflow/xcom"}


def test_stages_run_in_processes_unless_told_otherwise():
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
        (
            {"AGE_RUNTIME": "docker", "AGE_CACHE_VOLUME": "cache", "AGE_STORE": "/data/store"},
            "AGE_CACHE_VOLUME='cache' is invalid with AGE_STORE='/data/store'",
        ),
    ],
)
def test_nonsense_is_refused_with_what_would_do(env: dict[str, str], said: str):
    with pytest.raises(SettingsError) as error:
        RuntimeVariables.from_env(env)
    assert said in str(error.value)
