"""The tasks of stages as each runtime makes them, described for tests."""

import json
import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from age_retraining_plugin.form import FORM_MACROS
from age_retraining_plugin.stage_task import shared_work, stage_task
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization
from kubernetes.client import ApiClient

import docker

RUN_ID = "manual__2026-11-22T10:15"
PARAMS = {"recipe": "demo", "settings": {}, "labels": "$(touch x)", "images": None, "again": False}


def describe(runtime: str) -> dict[str, Any]:
    """The tasks `snapshot` and `finetune` in a runtime, their pools, the DAG as Airflow stores it, and two shares.

    The shares are the tasks of two workers that compute features.
    """
    os.environ |= {"AGE_RUNTIME": runtime, "AGE_WORKERS": "2"}
    with DAG("age_retraining", schedule=None, user_defined_macros=FORM_MACROS) as dag:
        for stage in ("snapshot", "finetune"):
            stage_task(stage, from_form=stage == "snapshot")
    with DAG("age_retraining", schedule=None, user_defined_macros=FORM_MACROS) as shared:
        (features,) = shared_work("features")
    found: dict[str, Any] = {
        "pools": {task.task_id: task.pool for task in dag.tasks},
        "dag": json.dumps([DagSerialization.to_dict(each) for each in (dag, shared)]),
    }
    describe_task: Callable[[Any], dict[str, Any]] = _container if runtime == "docker" else _pod
    for task in dag.tasks:
        found[task.task_id] = describe_task(_rendered(task, dag))
    shares = [features.unmap({"env": env}) for env in features.expand_input.value["env"]]
    return found | {"shares": [describe_task(_rendered(share, shared)) for share in shares]}


def _rendered(task: Any, dag: DAG) -> Any:
    """The task as it is executed in a run."""
    task, run = task.prepare_for_execution(), SimpleNamespace(triggering_user_name="ann")
    task.render_template_fields({"params": PARAMS, "run_id": RUN_ID, "dag_run": run, "dag": dag})
    return task


class Engine(docker.APIClient):
    """A Docker engine that is never connected; it returns what it is asked to create."""

    def create_container(self, **asked: Any) -> dict[str, Any]:
        return asked


def _container(task: Any) -> dict[str, Any]:
    found = {
        "image": task.image,
        "command": task.command,
        "name": task.container_name,
        "shown": task.environment,
        "hidden": task.inherited_env() | task.hidden_env,
        "gpus": task.device_requests,
        "mounts": task.mounts,
        "user": task.user,
        "memory": task.mem_limit,
        "shm": task.shm_size,
        "tmp": task.mount_tmp_dir,
        "remove": task.auto_remove,
        "network": task.network_mode,
    }
    if all(mount["Type"] == "volume" for mount in task.mounts):  # else, folders of this machine would be created
        task.__dict__["hook"] = SimpleNamespace(api_client=Engine(version="1.43"))
        found["host"] = task.create_container()["host_config"]
    return found


def _pod(task: Any) -> dict[str, Any]:
    pod = task.build_pod_request_obj(dry_run=True)
    described: dict[str, Any] = ApiClient().sanitize_for_serialization(pod)
    return described
