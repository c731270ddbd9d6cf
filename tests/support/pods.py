"""Pods of stages, as the operator renders them."""

from age_retraining_plugin.runtimes.kubernetes import KubernetesStage
from kubernetes.client import ApiClient

from age_tasks.environment import RuntimeVariables
from age_tasks.pipeline import PIPELINE, SHARED_WORK
from tests.support.pod_security import Pod

MINIMAL = {"AGE_RUNTIME": "kubernetes", "AGE_STORE": "s3://age/store"}


def pod_of(stage: str, env: dict[str, str]) -> Pod:
    """The pod as it is sent to the API."""
    variables, gpu = RuntimeVariables.from_env(env), (PIPELINE | SHARED_WORK)[stage].gpu
    task = KubernetesStage(stage=stage, task_id=stage, env={"AGE_RUN": "x"}, variables=variables, gpu=gpu)
    pod: Pod = ApiClient().sanitize_for_serialization(task.build_pod_request_obj(dry_run=True))
    return pod
