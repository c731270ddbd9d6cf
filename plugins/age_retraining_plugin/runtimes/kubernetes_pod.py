"""The pod of a stage: what a stage needs, what the cluster wants beside (the pod template), and what variables say."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from kubernetes.client import ApiClient

from age_tasks.environment import RuntimeVariables, StageVariables, inherited_variables, working_folder
from age_tasks.errors import SettingsError
from age_tasks.pipeline import PIPELINE, SHARED_WORK

CACHE = "/cache"
STAGE = "base"  # the name of the stage's container, as Airflow calls it
SUMMARY_BYTES = (
    3072  # of a termination message: 4096 are kept, and 12 KiB of all containers of a pod, of which some have four
)
IMAGE_USER = 50000  # the user of the image
LIGHT = frozenset(
    [
        *(name for name, stage in PIPELINE.items() if not stage.tensorflow),
        *(name for name, work in SHARED_WORK.items() if not PIPELINE[work.before].tensorflow),
    ]
)
HEAVY_MEMORY = "4g"
TEMPLATE = RuntimeVariables.variable("kubernetes_pod_template")
GPU = "nvidia.com/gpu"


def stage_pod(stage: str, variables: RuntimeVariables, gpu: bool) -> dict[str, Any]:
    """The pod of a stage without its image, command and environment, as the Kubernetes API takes it.

    The template of the deployment goes over what is usual, and variables that are set go over the template.

    Args:
        stage: its name.
        variables: what the pod may use.
        gpu: whether it gets a GPU.

    Raises:
        SettingsError: the template is no pod.
    """
    template = _template(variables.kubernetes_pod_template)
    usual, asked_for = _usual(stage, variables, gpu), _asked_for(stage, variables, gpu)
    replaced = {volume["name"] for volume in template.get("spec", {}).get("volumes", [])}  # a volume has one source
    usual["spec"]["volumes"] = [volume for volume in usual["spec"]["volumes"] if volume["name"] not in replaced]
    pod: dict[str, Any] = _merged(_merged(usual, template), asked_for)
    given = [_container(part).get("resources", {}) for part in (template, asked_for)]
    resources = _container(pod)["resources"]
    for name in resources.get("limits", {}):  # a limit is a request too, unless there is a smaller one
        if not any(name in each.get("requests", {}) for each in given):
            resources["requests"].pop(name, None)
    return pod


def stage_env(pod: Mapping[str, Any], variables: RuntimeVariables) -> dict[str, str]:
    """The variables that every stage reads: where its data is, and what is set where Airflow runs.

    Keys and passwords are not among them, since pods are shown to many people; these come from the Secret. What the
    template sets, stays.

    Args:
        pod: of the stage.
        variables: with the address of the store.
    """
    of_template = {entry["name"] for entry in _container(pod).get("env", [])}
    names = inherited_variables(secrets=False)
    found = {name: value for name in names if (value := os.environ.get(name, "").strip())}
    found |= {"AGE_STORE": variables.store, "AGE_CACHE": CACHE}
    found[StageVariables.variable("summary_bytes")] = str(SUMMARY_BYTES)
    found |= {"KERAS_HOME": f"{CACHE}/keras", "MPLCONFIGDIR": f"{CACHE}/matplotlib"}
    return {name: value for name, value in found.items() if name not in of_template}


def _usual(stage: str, variables: RuntimeVariables, gpu: bool) -> dict[str, Any]:
    """What holds where neither the template nor a variable says otherwise: no rights, resources by kind of stage."""
    light = stage in LIGHT
    cpus = variables.kubernetes_light_cpus if light else variables.cpus
    memory = variables.kubernetes_light_memory if light else HEAVY_MEMORY
    container = {
        "name": STAGE,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "resources": {
            "requests": {"cpu": f"{cpus:g}", "memory": _quantity(memory), "ephemeral-storage": "1Gi"},
            "limits": {},
        },
        "volumeMounts": [
            {"name": "cache", "mountPath": CACHE},
            {"name": "shm", "mountPath": "/dev/shm"},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    spec = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,  # a Service named `age` would set AGE_* variables
        "securityContext": {
            "runAsUser": IMAGE_USER,
            "runAsNonRoot": True,
            "fsGroup": IMAGE_USER,
            "fsGroupChangePolicy": "OnRootMismatch",  # else each start changes the owner of each file of the cache
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            _cache(variables.cache_volume),
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": _quantity(variables.shm)}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }
    if gpu and variables.gpu_count:
        spec["tolerations"] = [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": spec}


def _asked_for(stage: str, variables: RuntimeVariables, gpu: bool) -> dict[str, Any]:
    """What variables say that are set."""
    light = stage in LIGHT
    requests: dict[str, str] = {}
    limits = {"memory": _quantity(variables.memory)} if variables.memory else {}
    if light:
        if "kubernetes_light_cpus" in variables.model_fields_set:
            requests["cpu"] = f"{variables.kubernetes_light_cpus:g}"
        if variables.memory or "kubernetes_light_memory" in variables.model_fields_set:
            sizes = filter(None, (variables.kubernetes_light_memory, variables.memory))
            requests["memory"] = _quantity(min(sizes, key=_bytes))
    elif "cpus" in variables.model_fields_set:
        requests["cpu"] = f"{variables.cpus:g}"
    if gpu and variables.gpu_count:
        limits[GPU] = str(abs(variables.gpu_count))
    spec: dict[str, Any] = {"containers": [{"name": STAGE, "resources": {"requests": requests, "limits": limits}}]}
    if gpu and variables.kubernetes_node_selector:
        spec["nodeSelector"] = dict(pair.split("=") for pair in variables.kubernetes_node_selector.split(","))
    return {"spec": spec}


def _cache(claim: str) -> dict[str, Any]:
    """The claim; without one, each stage computes its features again."""
    return {"name": "cache", **({"persistentVolumeClaim": {"claimName": claim}} if claim else {"emptyDir": {}})}


def _quantity(size: str) -> str:
    """A size such as `16g` as Kubernetes writes it: `16Gi`."""
    return f"{size[:-1]}{size[-1].upper()}i"


def _bytes(size: str) -> int:
    return int(size[:-1]) << {"m": 20, "g": 30}[size[-1]]


def _container(pod: Mapping[str, Any]) -> dict[str, Any]:
    """The container of the stage; empty where the pod names none."""
    return next((each for each in pod.get("spec", {}).get("containers", []) if each["name"] == STAGE), {})


def _merged(below: Any, above: Any) -> Any:
    """Two pods or parts of pods as one, as Kubernetes patches them: lists by the names of their entries."""
    if isinstance(below, dict) and isinstance(above, dict):
        return {**below, **{name: _merged(below.get(name), value) for name, value in above.items()}}
    if not (isinstance(below, list) and isinstance(above, list)):
        return below if above is None else above
    if not all(isinstance(entry, dict) and "name" in entry for entry in (*below, *above)):
        return [*below, *(entry for entry in above if entry not in below)]
    named = {entry["name"]: entry for entry in below}
    return list((named | {entry["name"]: _merged(named.get(entry["name"]), entry) for entry in above}).values())


def _template(name: str) -> dict[str, Any]:
    """The pod in the file that the variable names; empty without one.

    Raises:
        SettingsError: the file can't be read, or holds something that is no part of a pod.
    """
    if not name:
        return {}
    try:
        given = yaml.safe_load((working_folder() / Path(name).expanduser()).read_text())
    except (OSError, RuntimeError, ValueError) as error:
        raise _wrong(
            name, f"can't be read ({getattr(error, 'strerror', None) or error}); check the path and its permissions"
        ) from None
    except yaml.YAMLError as error:
        raise _wrong(name, f"is not YAML ({' '.join(str(error).split())}); correct it") from None
    if not isinstance(given, dict) or given.get("kind", "Pod") != "Pod" or not isinstance(given.get("spec", {}), dict):
        raise _wrong(name, "is no pod; expected a YAML file with kind: Pod, and in spec what the cluster wants")
    spec = {"containers": [{"name": STAGE}], **given.get("spec", {})}
    try:
        if unnamed := [each for each in spec["containers"] if isinstance(each, dict) and "name" not in each]:
            raise _wrong(name, f"has a container without a name, {unnamed[0]}; the stage's is called {STAGE}")
        parsed = PodGenerator.deserialize_model_dict({**given, "spec": spec})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _wrong(name, f"is no pod ({' '.join(str(error).split())}); correct it") from None
    if unknown := _left_out(given, ApiClient().sanitize_for_serialization(parsed)):
        raise _wrong(name, f"has {unknown}, which pods do not have; check its spelling and its place")
    return given


def _left_out(given: Any, known: Any, path: str = "") -> str:
    """The path of the first field that Kubernetes does not know; empty if it knows all."""
    if isinstance(given, dict):
        for name, value in given.items():
            if value is None:
                continue
            place = f"{path}.{name}" if path else str(name)
            if not isinstance(known, dict) or name not in known:
                return place
            if found := _left_out(value, known[name], place):
                return found
    if isinstance(given, list):
        for number, (value, of_known) in enumerate(zip(given, known or [], strict=False)):
            if found := _left_out(value, of_known, f"{path}[{number}]"):
                return found
    return ""


def _wrong(name: str, why: str) -> SettingsError:
    return SettingsError(f"{TEMPLATE}={name!r} {why}")
