"""A stage in a pod, against an API over HTTP that starts the pod's command as a process and fails as clusters do."""

import json
import multiprocessing
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.programs.kubernetes_stage import RUNNING, execute
from tests.support.kubernetes_api import Cluster, Json, Pod, Refusal, Request, kubernetes_api
from tests.support.metrics import judged_summary

DONE = """echo '{"seconds": 1}'"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster, and the variables that reach it. No pod may be there after a test."""
    with kubernetes_api(tmp_path / "cluster") as cluster:
        cluster.secrets["age-keys"] = {"AWS_SECRET_ACCESS_KEY": "hush"}
        given = {"AGE_RUNTIME": "kubernetes", "AGE_STORE": "s3://age/store", "AGE_KUBERNETES_SECRET": "age-keys"}
        for name, value in {**given, "AIRFLOW_CONN_KUBERNETES_DEFAULT": cluster.connection}.items():
            monkeypatch.setenv(name, value)
        yield cluster
        assert cluster.names() == []


def in_background(script: str, state: dict[str, Any] | None = None) -> Future[dict[str, Any]]:
    pool = ThreadPoolExecutor(1)
    future = pool.submit(execute, script, state=state)
    pool.shutdown(wait=False)
    return future


def says(text: str) -> Callable[[Pod], bool]:
    """Whether a pod has logged this."""
    return lambda pod: any(text in line.decode() for _, line in pod.lines)


def followed(cluster: Cluster) -> bool:
    """Whether a log is read: Airflow then knows the pod."""
    return any(request.path.endswith("/log") for request in cluster.asked)


def once(matches: Callable[[Request], bool], refusal: Refusal) -> Callable[[Request], None]:
    """Refuse the first request of a kind."""
    left = [refusal]

    def plan(request: Request) -> None:
        if left and matches(request):
            raise left.pop()

    return plan


def test_what_a_stage_prints_is_its_summary_and_keys_come_from_the_secret(cluster: Cluster):
    script = """echo going on >&2; echo '{"shown": "'$SHOWN'", "key": "'$AWS_SECRET_ACCESS_KEY'"}'"""
    found = execute(script)
    assert found["summary"] == {"shown": "yes", "key": "hush"} == found["pushed"]["return_value"]
    (pod,) = cluster.created
    assert "hush" not in json.dumps(pod.manifest)
    assert [line for _, line in pod.lines] == [b"going on"]
    assert not [request for request in cluster.asked if "exec" in request.path]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (65, "TaskFailedForGood"),
        (75, "AirflowSkipException"),
        (74, "TaskFailed"),
        (67, "TaskFailed"),
    ],
)
def test_exit_codes_mean_the_same_as_elsewhere(code: int, error: str, cluster: Cluster):
    found = execute(f"echo first >&2; echo 'labels.csv:3: exit code 0' >&2; exit {code}")
    assert found["error"] == error
    assert found["text"] == "labels.csv:3: exit code 0" + (f" (exit code {code})" if code != 75 else "")


def test_running_out_of_memory_is_called_by_its_name(cluster: Cluster):
    found = in_background("echo going on >&2; sleep 60")
    cluster.wait_for(says("going on")).end(stateReason="OOMKilled")
    assert found.result(60)["error"] == "TaskFailed"
    assert "snapshot: out of memory (the limit is AGE_MEMORY" in found.result()["text"]


def test_an_evicted_pod_is_retried_whatever_its_exit_code(cluster: Cluster):
    """The stage's own processes are killed first; it may then say that the images can't be read."""
    for script in ("sleep 60", "trap 'exit 65' TERM; sleep 60 & wait"):
        found = in_background(f"echo going on >&2; {script}")
        cluster.evict(cluster.wait_for(lambda pod: says("going on")(pod) and not pod.ended))
        assert found.result(60)["error"] == "TaskFailed"
        assert "was ended by the cluster: TerminationByKubelet: The node was low on" in found.result()["text"]
    assert execute(DONE)["summary"] == {"seconds": 1}


def test_a_pod_that_is_gone_is_retried(cluster: Cluster):
    found = in_background("echo going on >&2; sleep 60")
    cluster.lose(cluster.wait_for(says("going on")))
    assert found.result(60)["error"] == "TaskFailed"
    assert found.result()["text"].endswith("is gone: it was deleted, evicted or preempted, or its node was lost")


def test_a_pod_whose_creation_was_not_answered_is_found(cluster: Cluster):
    created: list[str] = []

    def plan(request: Request) -> Json | None:
        if request.method == "POST" and not created:
            created.append(request.body["metadata"]["name"])
            cluster.answer(request)
            raise Refusal(504, "Timeout", "request did not complete within the allotted timeout")
        return None

    cluster.plan = plan
    assert execute("sleep 2; " + DONE)["summary"] == {"seconds": 1}
    assert [pod.name for pod in cluster.created] == created


@pytest.mark.parametrize(
    ("method", "part", "refusal"),
    [
        ("POST", "/pods", Refusal(409, "Conflict", "the object has been modified; please apply your changes")),
        ("POST", "/pods", Refusal(429, "TooManyRequests", "try again")),
        ("GET", "/events", Refusal(410, "Expired", "too old resource version: 1 (2)")),
        ("GET", "/log", Refusal(401, "Unauthorized", "the token has expired")),
        ("GET", "/log", Refusal(500, "InternalError", "the kubelet does not answer")),
        ("DELETE", "/pods", Refusal(503, "ServiceUnavailable", "etcdserver: leader changed")),
        ("PATCH", "/pods", Refusal(409, "Conflict", "the object has been modified")),
    ],
)
def test_a_refusal_that_passes_fails_nothing(method: str, part: str, refusal: Refusal, cluster: Cluster):
    cluster.plan = once(lambda request: request.method == method and part in request.path, refusal)
    assert execute(DONE)["summary"] == {"seconds": 1}
    assert len(cluster.created) == 1


@pytest.mark.parametrize("lasts", [4, 2])
def test_an_api_that_is_away_fails_nothing_and_no_line_is_lost(
    lasts: int, cluster: Cluster, capfd: pytest.CaptureFixture[str]
):
    """It is away for 3 seconds; the stage goes on after that, or ends before."""
    found = in_background(f"echo line 1 >&2; sleep 1; echo line 2 >&2; sleep {lasts - 1}; echo line 3 >&2; {DONE}")
    cluster.wait_for(says("line 1"))
    cluster.go_away()
    time.sleep(3)
    cluster.come_back()
    assert found.result(60)["summary"] == {"seconds": 1}
    assert len(cluster.created) == 1
    lines = re.findall(r"\[base\] line (\d)", capfd.readouterr().out)
    assert list(dict.fromkeys(lines)) == ["1", "2", "3"]


def test_an_api_that_is_away_at_the_start_fails_nothing(cluster: Cluster):
    state: dict[str, Any] = {}
    assert execute(DONE, state=state)["summary"] == {"seconds": 1}
    cluster.go_away()  # the next try of the task first asks for the pod of this one
    found = in_background(DONE, state)
    time.sleep(2)
    cluster.come_back()
    assert found.result(60)["summary"] == {"seconds": 1}
    assert len(cluster.created) == 2


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (
            Refusal(403, "Forbidden", 'pods "x" is forbidden: User "system:serviceaccount:ml:age" cannot create'),
            'refused (403 Forbidden) in namespace default (AGE_KUBERNETES_NAMESPACE): pods "x" is forbidden: User',
        ),
        (Refusal(404, "NotFound", 'namespaces "default" not found'), 'namespaces "default" not found'),
        (
            Refusal(422, "Invalid", "must be less than\nor equal to memory limit"),
            "must be less than or equal to memory",
        ),
    ],
)
def test_a_refusal_that_stays_is_told_in_one_line(refusal: Refusal, said: str, cluster: Cluster):
    cluster.plan = once(lambda request: request.method == "POST", refusal)
    found = execute(DONE)
    assert found["error"] == "TaskFailed"
    assert said in found["text"]
    assert "\n" not in found["text"]


def test_a_template_that_the_namespace_refuses_is_told(cluster: Cluster, tmp_path: Path, monkeypatch: Any):
    (tmp_path / "pod.yaml").write_text("spec: {hostNetwork: true, volumes: [{name: x, hostPath: {path: /}}]}")
    monkeypatch.setenv("AGE_KUBERNETES_POD_TEMPLATE", str(tmp_path / "pod.yaml"))
    assert 'violates PodSecurity "restricted:v1.34": Host Namespaces, HostPath' in execute(DONE)["text"]


def test_an_image_that_can_t_be_pulled_is_named(cluster: Cluster):
    waiting = {"reason": "ErrImagePull", "message": "manifest unknown"}
    about = {"name": "base", "image": "x", "imageID": "", "ready": False, "restartCount": 0}

    def plan(request: Request) -> Json | None:
        name = request.path.rpartition("/")[2]
        if request.method == "GET" and name in cluster.names():
            (pod,) = cluster.created
            state = {"phase": "Pending", "containerStatuses": [about | {"state": {"waiting": waiting}}]}
            return pod.manifest | {"status": state}
        return None

    cluster.plan = plan
    found = execute("sleep 60")
    assert found["error"] == "TaskFailed"
    assert "did not start (image age-trainer:" in found["text"]
    assert "unable to start: ErrImagePull manifest unknown" in found["text"]


def test_a_container_that_the_cluster_adds_and_that_never_ends_is_not_waited_for(cluster: Cluster):
    def plan(request: Request) -> Json | None:
        pod = next((pod for pod in cluster.created if request.path.endswith(pod.name)), None)
        if request.method == "GET" and pod and pod.ended:
            return pod.manifest | {"status": pod.status | {"phase": "Running"}}
        return None

    cluster.plan = plan
    assert execute(DONE)["summary"] == {"seconds": 1}
    assert execute("exit 65")["error"] == "TaskFailedForGood"


def test_a_summary_that_was_cut_or_is_none_is_told(cluster: Cluster):
    found = execute("""printf '{"long": "%05000d"}' 0""")
    assert found["error"] == "TaskFailed"
    assert "succeeded, but its termination message holds no summary: '000" in found["text"]
    assert "holds no summary: ''" in execute("true")["text"]


@pytest.mark.parametrize("slices", [0, 5, 30, 300])
def test_the_gate_s_summary_with_a_champion_fits_into_the_termination_message(slices: int, cluster: Cluster):
    judged = judged_summary(slices)
    program = "from age_tasks.runs.printed_summary import *; from tests.support.metrics import *; "
    found = execute(f"exec python -c '{program} print_summary(judged_summary({slices}))'", stage="gate")
    summary = found["summary"]
    assert summary["rules"] == judged["rules"]
    assert summary["champion"]["bins"] == judged["champion"]["bins"]
    assert summary.get("shortened", False) is (slices > 5)
    (state,) = [each["state"] for each in cluster.created[0].status["containerStatuses"]]
    assert len(state["terminated"]["message"]) <= 12 * 1024 / 4  # of a pod with four containers


def test_lines_before_the_summary_are_no_part_of_it(cluster: Cluster):
    assert execute("echo Downloading data; " + DONE)["summary"] == {"seconds": 1}


def test_airflows_that_share_a_namespace_do_not_follow_each_other_s_pods(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
):
    first = in_background("echo going on >&2; sleep 2; " + DONE)
    cluster.wait_for(says("going on"))
    monkeypatch.setenv("AGE_STORE", "s3://age/other")
    assert execute("""echo '{"mine": 1}'""")["summary"] == {"mine": 1}
    assert first.result(60)["summary"] == {"seconds": 1}


def test_a_pod_that_outlived_its_worker_is_followed(cluster: Cluster):
    script = 'echo going on >&2; sleep 4; echo \'{"run": "the first"}\''
    worker = multiprocessing.get_context("fork").Process(target=execute, args=[script])
    worker.start()
    try:
        cluster.wait_for(says("going on"))
    finally:
        worker.kill()
        worker.join()
    assert execute("""echo '{"run": "the second"}'""")["summary"] == {"run": "the first"}
    assert len(cluster.created) == 1


def test_a_pod_goes_with_a_task_that_is_stopped(cluster: Cluster):
    found = in_background("echo going on >&2; sleep 60")
    pod = cluster.wait_for(lambda pod: says("going on")(pod) and followed(cluster))
    RUNNING[-1].on_kill()
    assert pod.removed
    assert "error" in found.result(60)
