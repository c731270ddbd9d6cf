"""A stage in a pod of its own."""

from typing import Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.secret import Secret
from kubernetes.client import models as k8s

from age_retraining_plugin.stage_task import SKIPPED_ON, Outcome
from age_tasks.environment import RuntimeVariables

CACHE = "/cache"
IMAGE_USER = 50000  # the image's own
IMAGE_AND_NODE_SECONDS = 1800  # an image of gigabytes, on a node that may have to be started first


class KubernetesStage(Outcome, KubernetesPodOperator):
    """`python -m age_tasks <stage>` in a pod; what it prints on stdout, the summary, goes into the XCom file.

    A pod outlives a worker that dies; the operator finds it again on the next try (`durable`).
    """

    def __init__(
        self, *, stage: str, env: dict[str, str], settings: RuntimeVariables, gpu: bool, **options: Any
    ) -> None:
        places = {"AGE_STORE": settings.store, "AGE_CACHE": CACHE}
        places |= {"KERAS_HOME": f"{CACHE}/keras", "MPLCONFIGDIR": f"{CACHE}/matplotlib"}
        secret = settings.kubernetes_secret
        super().__init__(
            name=f"age-{stage}",
            namespace=settings.kubernetes_namespace,
            image=settings.trainer_image,
            cmds=["sh", "-c"],
            arguments=[f"exec python -m age_tasks {stage} > /airflow/xcom/return.json"],
            env_vars={**places, **env},
            secrets=[Secret("env", None, secret)] if secret else [],
            container_resources=_resources(settings, gpu),
            node_selector=_node_selector(settings) if gpu else {},
            volumes=[_cache(settings.cache_volume), _shared_memory(settings.shm), _scratch()],
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
            termination_message_policy="FallbackToLogsOnError",  # the error then ends with the last lines
            log_pod_spec_on_failure=False,
            log_events_on_failure=True,
            skip_on_exit_code=SKIPPED_ON,
            **options,
        )


def _resources(settings: RuntimeVariables, gpu: bool) -> k8s.V1ResourceRequirements:
    limits = {"memory": _quantity(settings.memory)} if settings.memory else {}
    if gpu and settings.gpu_count:
        limits["nvidia.com/gpu"] = str(abs(settings.gpu_count))
    return k8s.V1ResourceRequirements(requests={"cpu": f"{settings.cpus:g}"}, limits=limits)


def _quantity(size: str) -> str:
    """`16g` as Kubernetes writes it."""
    return f"{size[:-1]}{size[-1].upper()}i"


def _node_selector(settings: RuntimeVariables) -> dict[str, str]:
    return dict(pair.split("=") for pair in settings.kubernetes_node_selector.split(",") if pair)


def _cache(claim: str) -> k8s.V1Volume:
    """Without a claim, each stage computes its features anew."""
    if claim:
        return k8s.V1Volume(
            name="cache", persistent_volume_claim=k8s.V1PersistentVolumeClaimVolumeSource(claim_name=claim)
        )
    return k8s.V1Volume(name="cache", empty_dir=k8s.V1EmptyDirVolumeSource())


def _shared_memory(size: str) -> k8s.V1Volume:
    return k8s.V1Volume(name="shm", empty_dir=k8s.V1EmptyDirVolumeSource(medium="Memory", size_limit=_quantity(size)))


def _scratch() -> k8s.V1Volume:
    return k8s.V1Volume(name="tmp", empty_dir=k8s.V1EmptyDirVolumeSource())
