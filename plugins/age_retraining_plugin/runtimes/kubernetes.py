"""A stage in a Kubernetes pod."""

import contextlib
import hashlib
import json
import math
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import tenacity
from airflow.providers.cncf.kubernetes.kubernetes_helper_functions import PodLaunchFailedException, generic_api_retry
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.secret import Secret
from airflow.providers.cncf.kubernetes.utils.pod_manager import (
    PodLaunchTimeoutException,
    PodLoggingStatus,
    PodManager,
    parse_log_line,
)
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException
from kubernetes.client import ApiException
from kubernetes.client import models as k8s
from urllib3.exceptions import HTTPError

from age_retraining_plugin.runtimes.kubernetes_pod import STAGE, stage_env, stage_pod
from age_retraining_plugin.runtimes.outcome import CommandFailedError, Outcome
from age_tasks.environment import RuntimeVariables
from age_tasks.runs.printed_summary import read_summary_line

IMAGE_AND_NODE_SECONDS = 1800  # to start a node and pull an image of gigabytes
API_AWAY_SECONDS = 300
# The state of the pod holds the end of this file, see `SUMMARY_BYTES`. So the summary needs no second container that
# waits to be asked for it, no right to execute commands in pods, and outlives the node.
SUMMARY_FILE = "/dev/termination-log"


def _patient(method: Any) -> Any:
    """A call of the provider that is tried again for longer: an API server is away for minutes while it is upgraded."""
    return method.retry_with(stop=tenacity.stop_after_delay(API_AWAY_SECONDS))


class Pods(PodManager):
    """The provider's access to pods."""

    create_pod = _patient(PodManager.create_pod)
    delete_pod = _patient(PodManager.delete_pod)
    read_pod = _patient(PodManager.read_pod)
    read_pod_logs = _patient(PodManager.read_pod_logs)

    def run_pod_async(self, pod: k8s.V1Pod, **options: Any) -> k8s.V1Pod:
        """Create the pod, or find the one that an earlier request created whose answer was lost."""
        try:
            return self._client.create_namespaced_pod(pod.metadata.namespace, pod, **options)
        except ApiException as error:
            if _reason(error) == "AlreadyExists":
                return self.read_pod(pod)
            raise

    def fetch_container_logs(self, pod: k8s.V1Pod, container_name: str, **options: Any) -> PodLoggingStatus:
        """Log what a container prints until it ends, also where it ended while the API was away."""
        status = super().fetch_container_logs(pod, container_name, **options)
        with contextlib.suppress(ApiException, HTTPError):
            self._log_rest(pod, container_name)
        return status

    def _log_rest(self, pod: k8s.V1Pod, container: str) -> None:
        """Log the lines after the last one that was seen."""
        name, namespace = pod.metadata.name, pod.metadata.namespace
        since, seen = {}, self.container_log_times.get((namespace, name, container))
        if seen:
            since["since_seconds"] = math.ceil((datetime.now(UTC) - seen).total_seconds()) + 1
        answer = self._client.read_namespaced_pod_log(
            name, namespace, container=container, timestamps=True, _preload_content=False, **since
        )
        for line in answer.data.decode(errors="replace").splitlines():
            at, message = parse_log_line(line)
            if message and at and (seen is None or at > seen):
                self.log.info("[%s] %s", container, message)


class KubernetesStage(Outcome, KubernetesPodOperator):
    """`python -m age_tasks <stage>` in a pod; its stdout, the summary, becomes the termination message.

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
        pod, secret = stage_pod(stage, variables, gpu), variables.kubernetes_secret
        super().__init__(
            name=f"age-{stage}",
            namespace=variables.kubernetes_namespace,
            # Several Airflows may share a namespace. Their runs may have equal names, their stores have not.
            labels={"age-store": hashlib.sha256(variables.store.encode()).hexdigest()[:16]},
            image=variables.trainer_image,
            cmds=["sh", "-c"],
            arguments=[f"exec python -m age_tasks {stage} > {SUMMARY_FILE}"],
            env_vars=stage_env(pod, variables) | env,
            secrets=[Secret("env", None, secret)] if secret else [],
            pod_template_dict=pod,
            base_container_name=STAGE,
            startup_timeout_seconds=IMAGE_AND_NODE_SECONDS,
            termination_message_policy="FallbackToLogsOnError",  # an error then ends with the last lines of the log
            log_pod_spec_on_failure=False,
            log_events_on_failure=True,
            deferrable=False,
            **options,
        )

    @cached_property
    def pod_manager(self) -> Pods:
        """What the operator reaches pods with."""
        return Pods(kube_client=self.client, callbacks=self.callbacks)

    find_pod = _patient(KubernetesPodOperator.find_pod)

    def _get_pod_from_task_state_store(self, context: Context) -> k8s.V1Pod | None:
        return _patient(generic_api_retry(super()._get_pod_from_task_state_store))(context)

    def is_istio_enabled(self, pod: k8s.V1Pod) -> bool:
        """Whether the container of the stage decides when a pod is done, and not all containers: it always does.

        The cluster may inject containers that never end, of a service mesh or a vault, and the template may have some.
        """
        return True

    def execute_sync(self, context: Context) -> Any:
        """Run the pod; returns the summary.

        Raises:
            CommandFailedError: the stage failed.
            AirflowException: the pod could not be started, was evicted or deleted, or has no summary.
        """
        try:
            super().execute_sync(context)
        except (ApiException, HTTPError) as error:
            raise AirflowException(self._not_run(self.pod, error) if self.pod else self._refused(error)) from None
        summary = self._summary()
        context["ti"].xcom_push(key="return_value", value=summary)  # `do_xcom_push` would add a container
        return summary

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
            AirflowException: the pod failed for another reason, which a retry may help.
        """
        try:
            super().cleanup(pod, remote_pod, xcom_result, context)
        except AirflowException as error:
            if disrupted := _disruption(remote_pod):
                raise AirflowException(f"the pod {pod.metadata.name} was ended by the cluster: {disrupted}") from None
            ended = _ended(remote_pod)
            if ended and ended.exit_code:
                known = ""
                if ended.reason == "OOMKilled":
                    known = "out of memory (the limit is AGE_MEMORY; without it, the memory of the node)"
                raise CommandFailedError(ended.exit_code, (ended.message or "").splitlines(), known) from None
            raise AirflowException(self._not_run(pod, error.__context__)) from None

    def _summary(self) -> Any:
        """The last line that the stage printed, a JSON object, packed or not."""
        pod = self.remote_pod
        ended = _ended(pod)
        message = ((ended and ended.message) or "").strip()
        try:
            return read_summary_line(message.splitlines()[-1])
        except (IndexError, ValueError):
            raise AirflowException(
                f"the pod {pod and pod.metadata.name} succeeded, but its termination message holds no summary: "
                f"{message[-200:]!r}"
            ) from None

    def _not_run(self, pod: k8s.V1Pod, error: BaseException | None) -> str:
        """Why a pod has no exit code."""
        name = pod.metadata.name
        if isinstance(error, PodLaunchFailedException | PodLaunchTimeoutException):
            said = " ".join(str(error).split())
            return f"the pod {name} did not start (image {self.image}): {said}; its events are above"
        if isinstance(error, ApiException) and error.status == 404:
            return f"the pod {name} is gone: it was deleted, evicted or preempted, or its node was lost"
        if isinstance(error, ApiException | HTTPError):
            return self._refused(error)
        return f"the pod {name} ended without an exit code" + (f": {error}" if error else "")

    def _refused(self, error: Exception) -> str:
        """What the Kubernetes API said, in a line."""
        if not isinstance(error, ApiException):
            return f"the Kubernetes API did not answer for {API_AWAY_SECONDS} s: {error}"
        said = _status(error).get("message") or error.reason
        return (
            f"the Kubernetes API refused ({error.status} {_reason(error) or error.reason}) in namespace "
            f"{self.namespace} (AGE_KUBERNETES_NAMESPACE): {' '.join(str(said).split())}"
        )


def _ended(pod: k8s.V1Pod) -> k8s.V1ContainerStateTerminated | None:
    """How the stage's container ended; None where it has not."""
    for status in (pod and pod.status and pod.status.container_statuses) or []:
        if status.name == STAGE and status.state:
            return status.state.terminated
    return None


def _disruption(pod: k8s.V1Pod) -> str:
    """Why the cluster ended a pod that was not done; empty where it did not. Its exit code says nothing then."""
    status = pod.status
    for condition in (status and status.conditions) or []:
        if condition.type == "DisruptionTarget" and condition.status == "True":
            return f"{condition.reason}: {condition.message or status.message or ''}"
    return f"Evicted: {status.message or ''}" if status and status.reason == "Evicted" else ""


def _status(error: ApiException) -> dict[str, Any]:
    """The Status object that the API answers with; empty where something else answered."""
    try:
        said = json.loads(error.body or "")
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _reason(error: ApiException) -> str:
    return str(_status(error).get("reason") or "")
