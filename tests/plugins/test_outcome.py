"""What the exit code of a command means to Airflow, in each runtime. The text of an error never counts."""

import json
import re
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from age_retraining_plugin.runtimes.docker import DockerStage, unique_name
from age_retraining_plugin.runtimes.kubernetes import KubernetesStage
from age_retraining_plugin.runtimes.outcome import (
    NON_RETRYABLE_EXIT_CODES,
    SKIP_EXIT_CODES,
    CommandFailedError,
    TaskFailed,
    TaskFailedForGood,
)
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk.definitions.retry_policy import RetryAction
from airflow.sdk.exceptions import AirflowSkipException
from kubernetes.client import models as k8s

from age_tasks.environment import RuntimeVariables
from tests.support.outcomes import Context, shell

MISLEADING = "labels.csv:3: the row says: exit code 75. Skipping."
EXPECTED = [(65, TaskFailedForGood), (75, AirflowSkipException), (74, TaskFailed), (1, TaskFailed)]
ENDS = (AirflowSkipException, TaskFailed)


class Engine:
    """A Docker engine whose container has ended with this exit code and output."""

    def __init__(self, code: int, output: bytes):
        self._code, self._output = code, output
        self.removed: list[str] = []

    def images(self, **_: Any) -> list[str]:
        return ["there"]

    def containers(self, **_: Any) -> list[dict[str, str]]:
        return [{"State": "running", "Id": "one"}]

    def start(self, container: str) -> None:
        pass

    def logs(self, container: str, stream: bool = False, **_: Any) -> Any:
        return iter([self._output]) if stream else self._output

    def inspect_container(self, container: str) -> dict[str, Any]:
        return {"State": {"Running": False, "ExitCode": self._code, "OOMKilled": self._code == 137}}

    def remove_container(self, container: str, **_: Any) -> None:
        self.removed.append(container)


def container(code: int, output: bytes) -> DockerStage:
    """The task of a stage, beside an engine that is none."""
    task = DockerStage(task_id="snapshot", stage="snapshot", env={}, variables=RuntimeVariables(), gpu=False)
    task.__dict__["hook"] = SimpleNamespace(api_client=Engine(code, output))
    task.mounts = []
    return task


def ended_pod(code: int) -> k8s.V1Pod:
    state = k8s.V1ContainerState(terminated=k8s.V1ContainerStateTerminated(exit_code=code, message=MISLEADING))
    status = k8s.V1ContainerStatus(
        name="base", state=state, image="x", image_id="x", ready=False, restart_count=0, started=False
    )
    return k8s.V1Pod(
        metadata=k8s.V1ObjectMeta(name="age-snapshot", annotations={}),
        spec=k8s.V1PodSpec(containers=[k8s.V1Container(name="base")]),
        status=k8s.V1PodStatus(phase="Failed", container_statuses=[status]),
    )


def test_exit_codes_are_those_of_the_errors():
    assert {2, 64, 65, 66, 69, 71, 76, 77} == NON_RETRYABLE_EXIT_CODES
    assert {75} == SKIP_EXIT_CODES


@pytest.mark.parametrize(("code", "expected"), EXPECTED)
def test_a_process_is_judged_by_its_exit_code_alone(
    code: int, expected: type[BaseException], monkeypatch: pytest.MonkeyPatch
):
    context = Context()
    with pytest.raises(ENDS) as error:
        shell(monkeypatch, f"echo '{MISLEADING}'; exit {code}").execute(context)
    assert type(error.value) is expected
    assert MISLEADING in str(error.value)
    assert context.pushed == ({"return_value": {"skipped": MISLEADING}} if code == 75 else {})


@pytest.mark.parametrize(("code", "expected"), EXPECTED)
def test_a_container_is_judged_by_its_exit_code_alone(code: int, expected: type[BaseException]):
    context, task = Context(), container(code, f"starting\n{MISLEADING}\n".encode())
    with pytest.raises(ENDS) as error:
        task.execute(context)
    assert type(error.value) is expected
    assert context.pushed == ({"return_value": {"skipped": MISLEADING}} if code == 75 else {})
    assert task.cli.removed == ["one"]


@pytest.mark.parametrize(("code", "expected"), EXPECTED)
def test_a_pod_is_judged_by_its_exit_code_alone(
    code: int, expected: type[BaseException], monkeypatch: pytest.MonkeyPatch
):
    """The provider's operator without a cluster: it ends as it does when the pod has ended."""

    def execute(task: KubernetesPodOperator, context: Any) -> None:
        task.cleanup(ended_pod(code), ended_pod(code), context=context)

    monkeypatch.setattr(KubernetesPodOperator, "execute", execute)
    for name in ("patch_already_checked", "process_pod_deletion", "_read_pod_container_states", "_read_pod_events"):
        monkeypatch.setattr(KubernetesPodOperator, name, lambda *_, **__: None)
    variables = RuntimeVariables(runtime="kubernetes", store="s3://age/store")
    context = Context()
    task = KubernetesStage(task_id="snapshot", stage="snapshot", env={}, variables=variables, gpu=False)
    with pytest.raises(ENDS) as error:
        task.execute(context)
    assert type(error.value) is expected
    assert context.pushed == ({"return_value": {"skipped": MISLEADING}} if code == 75 else {})


def test_running_out_of_memory_is_named_and_retried():
    with pytest.raises(
        TaskFailed, match=r"^snapshot: out of memory \(AGE_MEMORY is not set.* \(exit code 137\)$"
    ) as error:
        container(137, b"").execute(Context())
    assert not isinstance(error.value, TaskFailedForGood)


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        (["epoch 1", "snapshot: no labels; set AGE_LABELS"], "snapshot: no labels; set AGE_LABELS"),
        (["snapshot: the labels were refused:", "  17 of 172 rows", "  page: x"],
         "snapshot: the labels were refused: 17 of 172 rows"),
        (["Traceback (most recent call last):", "snapshot: KeyError: 'age'", "leaving"], "snapshot: KeyError: 'age'"),
        (["Error: No such option: --x"], "Error: No such option: --x"),
        ([], "snapshot: it printed nothing"),
    ],
)  # fmt: skip
def test_the_cause_is_one_sentence(lines: list[str], cause: str):
    assert CommandFailedError(64, lines).cause("snapshot") == cause
    assert CommandFailedError(137, lines, "out of memory").cause("snapshot") == "snapshot: out of memory"


def test_a_retry_is_left_out_where_it_can_t_help(monkeypatch: pytest.MonkeyPatch):
    task = shell(monkeypatch, "true", retries=4)
    assert task.retry_policy is not None
    actions = {kind: task.retry_policy.evaluate(kind("x"), 1, 4).action for kind in (TaskFailed, TaskFailedForGood)}
    assert actions == {TaskFailed: RetryAction.DEFAULT, TaskFailedForGood: RetryAction.FAIL}


def test_a_killed_process_is_told_with_its_peak_of_memory(monkeypatch: pytest.MonkeyPatch):
    script = f"exec {sys.executable} -c 'import os; x = b\"x\" * 700_000_000; os.kill(os.getpid(), 9)'"
    with pytest.raises(TaskFailed, match=r"^snapshot: killed, usually out of memory: .* \(exit code -9\)$") as failed:
        shell(monkeypatch, script).execute(Context())
    peak = re.search(r"peak ([0-9.]+) GB", str(failed.value))
    assert peak
    assert float(peak[1]) >= 0.7  # more if the process of this test has waited for a larger one


def test_the_log_has_what_people_read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    assert shell(monkeypatch, """echo '{"a": 1}'; echo going on >&2""", parse=json.loads).execute(Context()) == {"a": 1}
    shown = capsys.readouterr().out
    assert "going on" in shown
    assert '"a"' not in shown  # it is the XCom


def test_a_process_is_ended_with_those_that_it_started(monkeypatch: pytest.MonkeyPatch):
    task = shell(monkeypatch, "sleep 60 & sleep 60")
    threading.Timer(1, task.on_kill).start()
    with pytest.raises(TaskFailed, match="ended by SIGTERM"):  # after all have closed what it printed to
        task.execute(Context())


def test_the_last_line_of_a_process_is_its_result(monkeypatch: pytest.MonkeyPatch):
    assert shell(monkeypatch, "echo one; echo two").execute(Context()) == "two"
    assert shell(monkeypatch, "echo one; echo 2", parse=int).execute(Context()) == 2


def test_a_process_has_the_environment_of_the_worker_and_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("OF_THE_WORKER", "one")
    script = 'echo "$OF_THE_WORKER, $ITS_OWN"'
    its_own = f"$(touch {tmp_path}/x)"
    assert shell(monkeypatch, script, env={"ITS_OWN": its_own}).execute(Context()) == f"one, {its_own}"
    assert not any(tmp_path.iterdir())


def test_containers_of_two_runs_never_have_one_name():
    names = [f"age_retraining.{run}.finetune.0a1b2c3d" for run in ("set:a", "set+a", "set-a")]
    assert len({unique_name(name) for name in names}) == 3
    assert unique_name(names[0]).startswith("age_retraining.set-a.finetune.0a1b2c3d.")
