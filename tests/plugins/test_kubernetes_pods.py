"""The pods of all stages, as the Kubernetes API takes them: valid, without rights, with what each stage needs."""

import copy
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from age_retraining_plugin.runtimes.kubernetes_pod import LIGHT

from age_tasks.errors import SettingsError
from age_tasks.pipeline import PIPELINE, SHARED_WORK
from tests.support.pod_security import RULES, Pod, violations
from tests.support.pods import MINIMAL, pod_of

TASKS = PIPELINE | SHARED_WORK
MAXIMAL = MINIMAL | {
    "AGE_LABELS": "s3://age/faces/labels.csv",
    "AGE_IMAGES": "s3://age/faces/images",
    "AGE_TRAINER_IMAGE": f"registry.example:5000/ml/age-trainer@sha256:{'0' * 64}",
    "AGE_GPUS": "2",
    "AGE_CPUS": "7.5",
    "AGE_MEMORY": "32g",
    "AGE_SHM": "8g",
    "AGE_CACHE_VOLUME": "age-cache",
    "AGE_KUBERNETES_NAMESPACE": "ml",
    "AGE_KUBERNETES_SECRET": "age-keys",
    "AGE_KUBERNETES_NODE_SELECTOR": "gpu=a10,pool=training",
    "AGE_KUBERNETES_LIGHT_CPUS": "0.25",
    "AGE_KUBERNETES_LIGHT_MEMORY": "768m",
}
TEMPLATE = """
apiVersion: v1
kind: Pod
metadata:
  annotations: {sidecar.istio.io/inject: "false"}
  labels: {cost-centre: ml}
spec:
  serviceAccountName: age
  priorityClassName: batch
  runtimeClassName: nvidia
  imagePullSecrets: [{name: registry}]
  tolerations: [{key: dedicated, operator: Equal, value: training, effect: NoSchedule}]
  nodeSelector: {kubernetes.io/arch: amd64}
  securityContext: {fsGroup: 2000, supplementalGroups: [3000]}
  initContainers:
    - name: certificates
      image: certificates:1
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
  containers:
    - name: base
      resources: {requests: {ephemeral-storage: 20Gi}, limits: {ephemeral-storage: 40Gi}}
      env: [{name: AWS_ENDPOINT_URL, value: "http://minio.storage:9000"}]
      volumeMounts: [{name: certificates, mountPath: /etc/ssl/certs, readOnly: true}]
  volumes:
    - {name: certificates, configMap: {name: certificates}}
    - name: tmp
      ephemeral:
        volumeClaimTemplate:
          spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 50Gi}}, storageClassName: local-ssd}
"""


@pytest.fixture
def template(tmp_path: Path) -> dict[str, str]:
    """All settings, and a template with what clusters want."""
    (tmp_path / "pod.yaml").write_text(TEMPLATE)
    return MAXIMAL | {"AGE_KUBERNETES_POD_TEMPLATE": str(tmp_path / "pod.yaml")}


def container(pod: Pod) -> dict[str, Any]:
    (only,) = pod["spec"]["containers"]
    return only


def resources(pod: Pod) -> tuple[dict[str, str], dict[str, str]]:
    """Requests and limits."""
    asked = container(pod)["resources"]
    return asked["requests"], asked["limits"]


def env_of(pod: Pod) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container(pod)["env"]}


@pytest.mark.parametrize("stage", TASKS)
def test_every_pod_is_valid_and_keeps_the_restricted_standard(stage: str, template: dict[str, str]):
    for env in (MINIMAL, MAXIMAL, template):
        pod = pod_of(stage, env)
        for version in ("1.30", "1.37"):
            kubernetes_validate.validate(pod, version, strict=True)
        assert violations(pod) == []


BROKEN: dict[str, list[tuple[str, Any]]] = {
    "HostProcess": [("securityContext.windowsOptions", {"hostProcess": True})],
    "Host Namespaces": [("hostNetwork", True), ("hostPID", True), ("hostIPC", True)],
    "Privileged Containers": [("containers.0.securityContext.privileged", True)],
    "HostPath Volumes": [("volumes.0", {"name": "x", "hostPath": {"path": "/"}})],
    "Host Ports": [("containers.0.ports", [{"containerPort": 1, "hostPort": 1}])],
    "Host Probes / Lifecycle Hooks": [
        ("containers.0.livenessProbe", {"httpGet": {"host": "169.254.169.254", "port": 80}}),
        ("containers.0.lifecycle", {"preStop": {"tcpSocket": {"host": "10.0.0.1", "port": 80}}}),
    ],
    "AppArmor": [("containers.0.securityContext.appArmorProfile", {"type": "Unconfined"})],
    "SELinux": [
        ("securityContext.seLinuxOptions", {"type": "spc_t"}),
        ("securityContext.seLinuxOptions", {"user": "x"}),
    ],
    "/proc Mount Type": [("containers.0.securityContext.procMount", "Unmasked")],
    "Sysctls": [("securityContext.sysctls", [{"name": "kernel.msgmax", "value": "1"}])],
    "Volume Types": [("volumes.0", {"name": "x", "nfs": {"server": "x", "path": "/"}})],
    "Privilege Escalation": [
        ("containers.0.securityContext.allowPrivilegeEscalation", None),
        ("initContainers", [{"name": "x", "securityContext": {"capabilities": {"drop": ["ALL"]}}}]),
    ],
    "Running as Non-root": [
        ("securityContext.runAsNonRoot", None),
        ("containers.0.securityContext.runAsNonRoot", False),
    ],
    "Running as Non-root user": [("securityContext.runAsUser", 0), ("containers.0.securityContext.runAsUser", 0)],
    "Seccomp": [
        ("securityContext.seccompProfile", {"type": "Unconfined"}),
        ("securityContext.seccompProfile", None),
        ("containers.0.securityContext.seccompProfile", {"type": "Unconfined"}),
    ],
    "Capabilities": [
        ("containers.0.securityContext.capabilities", {}),
        ("containers.0.securityContext.capabilities.add", ["NET_ADMIN"]),
        ("initContainers", [{"name": "x", "securityContext": {"allowPrivilegeEscalation": False}}]),
    ],
}


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_of_the_standard_is_checked(rule: str):
    for path, value in BROKEN[rule]:
        pod = copy.deepcopy(pod_of("finetune", MAXIMAL))
        *above, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        place: Any = pod["spec"]
        for part in above:
            place = place[part]
        place[last] = value
        assert rule in violations(pod), path


def test_stages_that_compute_with_the_network_ask_for_more_than_others():
    asked = {stage: resources(pod_of(stage, MINIMAL)) for stage in TASKS}
    assert {"probe", "snapshot", "validate", "split", "gate"} == LIGHT
    for stage, (requests, limits) in asked.items():
        memory, cpu = ("1Gi", "0.5") if stage in LIGHT else ("4Gi", "1")
        assert requests == {"cpu": cpu, "memory": memory, "ephemeral-storage": "1Gi"}
        assert limits == ({"nvidia.com/gpu": "1"} if TASKS[stage].gpu else {})


def test_variables_say_what_stages_ask_for(template: dict[str, str]):
    requests, limits = resources(pod_of("finetune", MAXIMAL))
    assert requests == {"cpu": "7.5", "ephemeral-storage": "1Gi"}  # a limit is a request too
    assert limits == {"memory": "32Gi", "nvidia.com/gpu": "2"}
    requests, limits = resources(pod_of("validate", MAXIMAL))
    assert (requests, limits) == (
        {"cpu": "0.25", "memory": "768Mi", "ephemeral-storage": "1Gi"},
        {"memory": "32Gi"},
    )
    requests, limits = resources(pod_of("validate", MINIMAL | {"AGE_MEMORY": "512m"}))
    assert (requests["memory"], limits["memory"]) == ("512Mi", "512Mi")
    requests, limits = resources(pod_of("publish", template))
    assert requests == {"cpu": "7.5", "ephemeral-storage": "20Gi"}
    assert limits == {"memory": "32Gi", "ephemeral-storage": "40Gi"}


def test_only_gpu_stages_go_to_the_gpu_nodes():
    assert (TASKS["features"].gpu, TASKS["probe"].gpu) == (True, False)
    for stage in TASKS:
        spec = pod_of(stage, MAXIMAL)["spec"]
        gpu = TASKS[stage].gpu
        assert spec.get("nodeSelector", {}) == ({"gpu": "a10", "pool": "training"} if gpu else {})
        tolerated = [each["key"] for each in spec.get("tolerations", [])]
        assert tolerated == (["nvidia.com/gpu"] if gpu else [])
    spec = pod_of("finetune", MINIMAL | {"AGE_GPUS": "0"})["spec"]
    assert not spec.get("tolerations")
    assert "nvidia.com/gpu" not in container({"spec": spec})["resources"]["limits"]


def test_a_template_adds_what_the_cluster_wants(template: dict[str, str]):
    pod = pod_of("finetune", template)
    spec, usual = pod["spec"], pod_of("finetune", MAXIMAL)["spec"]
    assert (spec["serviceAccountName"], spec["priorityClassName"], spec["runtimeClassName"]) == (
        "age",
        "batch",
        "nvidia",
    )
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert [each["key"] for each in spec["tolerations"]] == ["nvidia.com/gpu", "dedicated"]
    assert spec["nodeSelector"] == {"kubernetes.io/arch": "amd64", "gpu": "a10", "pool": "training"}
    assert spec["securityContext"] == usual["securityContext"] | {"fsGroup": 2000, "supplementalGroups": [3000]}
    assert spec["automountServiceAccountToken"] is False
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes["tmp"]["ephemeral"]["volumeClaimTemplate"]["spec"]["storageClassName"] == "local-ssd"
    assert [mount["name"] for mount in container(pod)["volumeMounts"]] == ["cache", "shm", "tmp", "certificates"]
    assert pod["metadata"]["annotations"] == {"sidecar.istio.io/inject": "false"}
    assert pod["metadata"]["labels"]["cost-centre"] == "ml"
    assert pod["metadata"]["name"].startswith("age-finetune-")


def test_a_template_s_limit_takes_the_place_of_the_usual_request(tmp_path: Path):
    file = tmp_path / "pod.yaml"
    file.write_text("spec: {containers: [{name: base, resources: {limits: {memory: 2Gi, cpu: 4}}}]}")
    requests, limits = resources(pod_of("baseline", MINIMAL | {"AGE_KUBERNETES_POD_TEMPLATE": str(file)}))
    assert (requests, limits["memory"], limits["cpu"]) == ({"ephemeral-storage": "1Gi"}, "2Gi", "4")


def test_a_template_can_replace_the_volume_of_the_cache_and_the_user(tmp_path: Path):
    file = tmp_path / "pod.yaml"
    file.write_text(
        "spec: {securityContext: {runAsUser: 1000650000}, volumes: [{name: cache, csi: {driver: fast.example}}]}"
    )
    spec = pod_of("baseline", MINIMAL | {"AGE_KUBERNETES_POD_TEMPLATE": str(file)})["spec"]
    cache = next(volume for volume in spec["volumes"] if volume["name"] == "cache")
    assert cache == {"name": "cache", "csi": {"driver": "fast.example"}}
    assert spec["securityContext"]["runAsUser"] == 1000650000
    assert spec["securityContext"]["runAsNonRoot"] is True


def test_a_template_can_add_a_container_and_its_order_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("age_retraining_plugin.runtimes.kubernetes_pod.working_folder", Path.cwd)
    Path("pod.yaml").write_text(
        "spec: {containers: [{name: proxy, image: proxy:1}, {name: base, image: other:1, args: [x], ports: null}]}"
    )
    pod = pod_of("baseline", MINIMAL | {"AGE_KUBERNETES_POD_TEMPLATE": "pod.yaml"})
    stage, proxy = pod["spec"]["containers"]
    assert (stage["name"], proxy) == ("base", {"name": "proxy", "image": "proxy:1"})
    assert stage["image"].startswith("age-trainer:")
    assert stage["args"] == ["exec python -m age_tasks baseline > /dev/termination-log"]
    assert set(violations(pod)) == {"Privilege Escalation", "Capabilities"}  # of the container that was added


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "can't be read (No such file or directory); check the path"),
        ("spec: [", "is not YAML ("),
        ("- a", "is no pod; expected a YAML file with kind: Pod"),
        ("spec: []", "is no pod; expected a YAML file with kind: Pod"),
        ("kind: Deployment", "is no pod; expected a YAML file with kind: Pod"),
        (
            "spec: {toleration: [{key: a}]}",
            "has spec.toleration, which pods do not have; check its spelling and its place",
        ),
        ("tolerations: [{key: a}]", "has tolerations, which pods do not have"),
        (
            "spec: {containers: [{name: base, resources: {request: {cpu: 1}}}]}",
            "has spec.containers[0].resources.request, which pods do not have",
        ),
        (
            "spec: {containers: [{image: x}]}",
            "has a container without a name, {'image': 'x'}; the stage's is called base",
        ),
        ("spec: {containers: x}", "is no pod ("),
        ("spec: {priority: high}", "is no pod (invalid literal for int()"),
        ("spec: {volumes: [{emptyDir: {}}]}", "is no pod (Invalid value for `name`, must not be `None`)"),
    ],
)
def test_a_template_that_is_none_is_refused_in_one_line(text: str | None, said: str, tmp_path: Path):
    file = tmp_path / "pod.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SettingsError) as error:
        pod_of("snapshot", MINIMAL | {"AGE_KUBERNETES_POD_TEMPLATE": str(file)})
    assert f"AGE_KUBERNETES_POD_TEMPLATE='{file}' {said}" in str(error.value)
    assert "\n" not in str(error.value)


def test_what_stages_read_reaches_them_and_keys_come_from_the_secret(
    template: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    here = {
        "AGE_LABELS": "s3://age/faces/labels.csv",
        "AGE_IMAGES": "s3://age/faces/images",
        "AGE_SCORE_IMAGES": "s3://age/new",
        "AGE_NOTIFY_EMAIL": "ann@example.com",
        "MLFLOW_TRACKING_URI": "http://mlflow:5000",
        "MLFLOW_TRACKING_USERNAME": "age",
        "MLFLOW_TRACKING_PASSWORD": "hush-1",
        "MLFLOW_TRACKING_TOKEN": "hush-2",
        "AWS_ENDPOINT_URL": "http://localhost:8333",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "hush-3",
        "AWS_SECRET_ACCESS_KEY": "hush-4",
        "AWS_SESSION_TOKEN": "hush-5",
        "AGE_CACHE": "/home/ann/cache",
        "HTTPS_PROXY": "http://ann:hush-6@proxy:3128",
        "NO_PROXY": "example.org",
        "AWS_CA_BUNDLE": "/certs/ca.pem",
    }
    for name, value in here.items():
        monkeypatch.setenv(name, value)
    for stage in PIPELINE:
        pod = pod_of(stage, MAXIMAL)
        env = env_of(pod)
        wanted = ["AGE_LABELS", "AGE_IMAGES", "AGE_SCORE_IMAGES", "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME"]
        wanted += ["AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"]
        assert {name: env[name] for name in wanted} == {name: here[name] for name in wanted}
        assert (env["AGE_STORE"], env["AGE_CACHE"], env["AGE_RUN"]) == ("s3://age/store", "/cache", "x")
        assert int(env["AGE_SUMMARY_BYTES"]) <= 12 * 1024 / 4  # what is kept of a container in a pod of four
        assert container(pod)["envFrom"] == [{"secretRef": {"name": "age-keys"}}]
        assert not {"HTTPS_PROXY", "NO_PROXY", "AWS_CA_BUNDLE"} & env.keys()  # a cluster has a way out of its own
        assert "hush" not in str(pod)
    pod = pod_of("publish", template)
    assert env_of(pod)["AWS_ENDPOINT_URL"] == "http://minio.storage:9000"  # the template's, not the one of this machine
    assert len([entry for entry in container(pod)["env"] if entry["name"] == "AWS_ENDPOINT_URL"]) == 1


def test_a_pod_writes_to_its_own_volumes_only():
    pod = pod_of("finetune", MAXIMAL)
    assert container(pod)["args"] == ["exec python -m age_tasks finetune > /dev/termination-log"]
    assert container(pod)["securityContext"]["readOnlyRootFilesystem"] is True
    assert {mount["mountPath"] for mount in container(pod)["volumeMounts"]} == {"/cache", "/dev/shm", "/tmp"}
    cache, shm, _ = pod["spec"]["volumes"]
    assert cache["persistentVolumeClaim"] == {"claimName": "age-cache"}
    assert shm["emptyDir"] == {"medium": "Memory", "sizeLimit": "8Gi"}
