"""A stage in a Kubernetes pod."""

from typing import Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.secret import Secret
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException
from kubernetes.client import models as k8s

from age_retraining_plugin.runtimes.outcome import CommandFailedError, Outcome
from age_tasks.environment import RuntimeVariables

CACHE = "/cache"
IMAGE_USER = 50000  # the user of the image
IMAGE_AND_NODE_SECONDS = 1800  # to start a node and pull an image of gigabytes


class KubernetesStage(Outcome, KubernetesPodOperator):
    """`python -m age_tasks <stage>` in a pod; its stdout, the summary, is written into the XCom file.

    A pod outlives a worker that dies; the next try of the task finds it (`durable`).

    Args:
        stage: the sub-command.
        env: variables of the stage, shown in Airflow; templated.
        variables: the image, the namespace, and what the pod may use.
        gpu: whether it gets a GPU.
        options: of the operator, such as `retries`.
    """

    def __init__(
        self, *, stage: str, env: dict[str, str], variables: RuntimeVariables, gpu: bool, **options: Any
    ) -> None:
        places = {"AGE_STORE": variables.store, "AGE_CACHE": CACHE}
        places |= {"KERAS_HOME": f"{CACHE}/keras", "MPLCONFIGDIR": f"{CACHE}/matplotlib"}
        secret = variables.kubernetes_secret
        super().__init__(
            name=f"age-{stage}",
            namespace=variables.kubernetes_namespace,
            image=variables.trainer_image,
            cmds=["sh", "-c"],
            arguments=[f"exec python -m age_tasks {stage} > /airflow/xcom/return.json"],
            env_vars={**places, **env},
            secrets=[Secret("env", None, secret)] if secret else [],
            container_resources=_resources(variables, gpu),
            node_selector=_node_selector(variables) if gpu else {},
            volumes=[_cache(variables.cache_volume), _shared_memory(variables.shm), _scratch()],
            volume_mounts=[
                k8s.V1VolumeMount(name="cache", mount_path=CACHE),
                k8s.V1VolumeMount(name="shm", mount_path="/dev/shm"),
                k8s.V1VolumeMount(name="tmp", mount_path="/tmp"),
            ],
            security_context=k8s.V1PodSecurityContext(
                run_as_user=IMAGE_USER,
                run_as_non_root=True,
                fs_group=IMAGE_USER,
                seccomp_profile=k8s.V1SeccompProfile(type="RuntimeDefault"),
            ),
            container_security_context=k8s.V1SecurityContext(
                allow_privilege_escalation=False,
                capabilities=k8s.V1Capabilities(drop=["ALL"]),
                read_only_root_filesystem=True,
            ),
            automount_service_account_token=False,
            do_xcom_push=True,
            startup_timeout_seconds=IMAGE_AND_NODE_SECONDS,
            termination_message_policy="FallbackToLogsOnError",  # the error then ends with the last lines of the log
            log_pod_spec_on_failure=False,
            log_events_on_failure=True,
            **options,
        )

    def cleanup(
        self,
        pod: k8s.V1Pod,
        remote_pod: k8s.V1Pod,
        xcom_result: dict[str, Any] | None = None,
        context: Context | None = None,
    ) -> None:
        """End the work on a pod.

        Raises:
            CommandFailedError: the stage failed; its exit code is read from the state of its container.
            AirflowException: the pod failed for another reason.
        """
        try:
            super().cleanup(pod, remote_pod, xcom_result, context)
        except AirflowException as error:
            if code := _exit_code(remote_pod, self.base_container_name):
                raise CommandFailedError(code, f"exit code {code}. {error}") from None
            raise


def _exit_code(pod: k8s.V1Pod, container: str) -> int | None:
    """The exit code of a container of a pod that ended; None where there is none."""
    for status in (pod.status and pod.status.container_statuses) or []:
        if status.name == container and status.state and status.state.terminated:
            return int(status.state.terminated.exit_code)
    return None


def _resources(variables: RuntimeVariables, gpu: bool) -> k8s.V1ResourceRequirements:
    limits = {"memory": _quantity(variables.memory)} if variables.memory else {}
    if gpu and variables.gpu_count:
        limits["nvidia.com/gpu"] = str(abs(variables.gpu_count))
    return k8s.V1ResourceRequirements(requests={"cpu": f"{variables.cpus:g}"}, limits=limits)


def _quantity(size: str) -> str:
    """A size such as `16g` as Kubernetes writes it: `16Gi`."""
    return f"{size[:-1]}{size[-1].upper()}i"


def _node_selector(variables: RuntimeVariables) -> dict[str, str]:
    return dict(pair.split("=") for pair in variables.kubernetes_node_selector.split(",") if pair)


def _cache(claim: str) -> k8s.V1Volume:
    """The claim; without one, each stage computes its features again."""
    if claim:
        return k8s.V1Volume(
            name="cache", persistent_volume_claim=k8s.V1PersistentVolumeClaimVolumeSource(claim_name=claim)
        )
    return k8s.V1Volume(name="cache", empty_dir=k8s.V1EmptyDirVolumeSource())


def _shared_memory(size: str) -> k8s.V1Volume:
    return k8s.V1Volume(name="shm", empty_dir=k8s.V1EmptyDirVolumeSource(medium="Memory", size_limit=_quantity(size)))


def _scratch() -> k8s.V1Volume:
    return k8s.V1Volume(name="tmp", empty_dir=k8s.V1EmptyDirVolumeSource())
