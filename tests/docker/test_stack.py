"""The compose stack on a real engine: a week of its life. `make test-stack` builds the images and runs this file.

The tests share one stack and follow one another, as the events of a deployment do.
"""

import ipaddress
import json
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from age_tasks import __version__
from age_tasks.demo.synthetic_faces import draw_sample
from age_tasks.pipeline import PIPELINE
from tests.docker.stack import Stack, docker, running, wait_for
from tests.support.compose_env import make_env
from tests.support.ports import free_ports
from tests.support.settings import QUICK

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1800)]

RETRAINING, SCORING, ROLLBACK = "age_retraining", "age_score_batch", "age_rollback"
SERVICES = (
    "postgres",
    "s3",
    "airflow-apiserver",
    "airflow-scheduler",
    "airflow-dag-processor",
    "airflow-triggerer",
    "worker",
    "gpu-worker",
)
IMAGES = ("age-airflow:0.1.0", "age-worker:0.1.0-cpu", "age-test-postgres", "age-test-s3")
GPU_TASKS = {name for name, stage in PIPELINE.items() if stage.gpu}
FIRST_TASK_SECONDS = 120
METADATA = "169.254.169.254"
NOT_WORSE = {"gate.policy": "not_worse", "gate.tolerance_years": 10, "gate.max_drift": 10}
FORM = {"settings": QUICK, "again": True}


@pytest.fixture(scope="module")
def gateway() -> str:
    """The host's address as containers of any network see it; the stack is published there, for a second machine."""
    if shutil.which("docker") is None:
        pytest.skip("no docker command; tests/docker/README.md says how to get an engine from Debian's packages")
    done = subprocess.run(["docker", "network", "inspect", "bridge"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no Docker engine answers ({done.stderr.strip()}); start one, or set DOCKER_HOST")
    for image in IMAGES:
        if subprocess.run(["docker", "image", "inspect", image], capture_output=True).returncode:
            pytest.skip(f"the engine has no image {image}; run make test-stack")
    network = json.loads(done.stdout)[0]["IPAM"]["Config"][0]
    return network.get("Gateway") or str(next(ipaddress.ip_network(network["Subnet"]).hosts()))


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a team puts into AGE_DATA: labels and images that all may read, and new images to score."""
    folder = tmp_path_factory.mktemp("data") / "faces"
    sample = draw_sample(folder, 180, seed=3)
    rows = sample.labels.read_text().splitlines(keepends=True)
    (folder / "all.csv").write_text("".join(rows))
    sample.labels.write_text("".join(rows[:121]))
    (folder / "new").mkdir()
    for image in sorted(sample.images.iterdir())[:5]:
        shutil.copy(image, folder / "new")
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    for parent in folder.parents[:3]:
        parent.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def stack(gateway: str, faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running stack, with the seconds from `up` until all were healthy."""
    env = make_env.settings(faces.parent) | {
        "AGE_DATA": str(faces),
        "AGE_RECIPE": "demo",
        "AGE_SCHEDULE": "none",
        "AGE_SETTLE_SECONDS": "86400",  # new labels start no run while a test restarts services
        "AGE_SCORE_IMAGES": str(faces / "new"),
        "AGE_SCORE_OUT": "s3://age/scores/ages.csv",
        "AWS_ACCESS_KEY_ID": "age:age",  # Swift's form
        "BASE": os.environ.get("BASE", "unused"),
        "AGE_PORT": str(free_ports(1)[0]),
        "PUBLISH": gateway,
    }
    env.pop("COMPOSE_FILE")
    with running(Stack("agestack", env, tmp_path_factory.mktemp("stack"), gateway)) as stack:
        yield stack


@pytest.fixture(scope="module")
def first_run(stack: Stack) -> str:
    """A retraining on the new stack."""
    for dag in (RETRAINING, SCORING, ROLLBACK):
        stack.turn_on(dag)
    return stack.trigger(RETRAINING, FORM, "first")


def test_the_first_task_starts_soon_after_up(stack: Stack, first_run: str, capsys: pytest.CaptureFixture[str]):
    wait_for(lambda: stack.tasks(RETRAINING, first_run)["snapshot"]["start_date"] is not None, 120)
    seconds = time.monotonic() - stack.began
    with capsys.disabled():
        print(f"\n{seconds:.0f} s from up to the first task")
    assert seconds < 2 * FIRST_TASK_SECONDS  # the bar is for an idle machine


def test_a_retraining_runs_on_the_workers_of_its_queues(stack: Stack, first_run: str):
    tasks = stack.wait_for_run(RETRAINING, first_run, 600)
    gpu, cpu = stack.hostname("gpu-worker"), stack.hostname("worker")
    ran = {name: task["hostname"] for name, task in tasks.items() if task["state"] == "success"}
    assert {name for name, host in ran.items() if host == gpu} == GPU_TASKS
    assert {name for name, host in ran.items() if host == cpu} == ran.keys() - GPU_TASKS
    assert stack.result(RETRAINING, first_run, "publish")["promoted"] is True


def test_a_promotion_scores_the_new_images(stack: Stack):
    runs = stack.wait_for_runs(SCORING, 1, 300)
    tasks = stack.wait_for_run(SCORING, runs[0], 300)
    assert tasks["score"]["hostname"] == stack.hostname("gpu-worker")
    scored = stack.result(SCORING, runs[0], "score")
    assert (scored["images"], scored["unreadable"]) == (5, 0)


@pytest.mark.parametrize("page", ["report", "validation"])
def test_pages_need_a_login(stack: Stack, first_run: str, page: str):
    path = f"age/{RETRAINING}/{first_run}/{page}"
    assert stack.page(path, login=False).status_code in {302, 307, 401, 403}
    shown = stack.page(path, login=True)
    assert shown.status_code == 200
    assert first_run in shown.text


def test_a_person_approves_and_a_rollback_follows(stack: Stack):
    labels = Path(stack.env["AGE_DATA"]) / "labels.csv"
    labels.write_text(labels.with_name("all.csv").read_text())
    run = stack.trigger(
        RETRAINING,
        FORM | {"require_approval": True, "settings": QUICK | NOT_WORSE},
        "asked",
    )
    stack.wait_for_task(RETRAINING, run, "approve", {"awaiting_input"}, 600)
    stack.answer(RETRAINING, run, "approve", "Approve", "looks right")
    stack.wait_for_run(RETRAINING, run, 300)
    assert stack.result(RETRAINING, run, "publish")["promoted"] is True
    back = stack.trigger(ROLLBACK, {"reason": "the test goes back"}, "back")
    stack.wait_for_run(ROLLBACK, back, 200)
    stack.wait_for_runs(SCORING, 2, 300)


@pytest.mark.parametrize("first", range(2))
def test_each_service_restarts_once_in_each_stage(stack: Stack, first: int):
    """Two runs; in each, every stage has every other service restarted at a random moment: each pair comes once."""
    run, moments = f"restarted-{first}", random.Random(first)
    stack.trigger(RETRAINING, FORM, run)
    for number, task in enumerate(PIPELINE):
        stack.wait_for_task(RETRAINING, run, task, {"running", "success"}, 600)
        time.sleep(moments.uniform(0, 4))
        restarted = [SERVICES[(first + number + other) % len(SERVICES)] for other in range(0, len(SERVICES), 2)]
        stack.restart(*restarted, kill=number % 2 == 0)
    stack.wait_for_run(RETRAINING, run, 900)


def test_the_whole_stack_restarts_during_a_training_as_after_a_reboot(stack: Stack):
    stack.trigger(RETRAINING, FORM, "rebooted")
    stack.wait_for_task(RETRAINING, "rebooted", "finetune", {"running"}, 600)
    stack.restart(*SERVICES, kill=True)
    stack.wait_for_run(RETRAINING, "rebooted", 900)


def test_a_second_machine_joins_with_three_variables(stack: Stack, tmp_path: Path):
    """Its worker takes the training when the first machine's GPU worker is away."""
    env = {"STACK_HOST": stack.host, "JWT_SECRET": stack.env["JWT_SECRET"], "S3_SECRET_KEY": stack.env["S3_SECRET_KEY"]}
    env |= {"AWS_ACCESS_KEY_ID": "age:age", "AGE_DATA": stack.env["AGE_DATA"], "AGE_RECIPE": "demo"}
    env |= {"STACK_PORT": stack.env["AGE_PORT"]}
    other = Stack("agesecond", env, tmp_path, stack.host)
    files = ("docker/worker.yaml", "docker/cpu.yaml")
    docker("stop", "--time", "5", stack.container("gpu-worker"))
    try:
        other.compose("up", "--detach", "--no-build", "--wait", "gpu-worker", files=files)
        stack.trigger(RETRAINING, FORM, "elsewhere")
        tasks = stack.wait_for_run(RETRAINING, "elsewhere", 900)
        assert tasks["finetune"]["hostname"] == other.hostname("gpu-worker")
    finally:
        other.compose("down", "--volumes", files=files)
        docker("start", stack.container("gpu-worker"))


@pytest.mark.parametrize("service", SERVICES)
def test_no_container_reaches_the_host(stack: Stack, service: str):
    """Ten ways out of a container, each refused; the eleventh is the way in: the health check is quick."""
    (facts,) = json.loads(docker("inspect", stack.container(service)).stdout)
    config = facts["HostConfig"]
    mounts = {mount["Source"]: mount for mount in facts["Mounts"] if mount["Type"] == "bind"}
    assert not config["Privileged"]
    assert not config["Devices"]
    assert not any(config[kind] == "host" for kind in ("NetworkMode", "PidMode", "IpcMode", "UsernsMode", "UTSMode"))
    assert all(source == stack.env["AGE_DATA"] and not mount["RW"] for source, mount in mounts.items())
    script = (
        "[ -e /var/run/docker.sock ] && echo socket; "
        "[ -e /run/containerd/containerd.sock ] && echo containerd; "
        "touch /etc/x 2>/dev/null && echo writable; "
        "mount -t proc proc /mnt 2>/dev/null && echo mount; "
        "mknod /tmp/disk b 8 0 2>/dev/null && echo device; "
        "unshare -r true 2>/dev/null && unshare -m -r mount -t tmpfs x /mnt 2>/dev/null && echo namespace; "
        "echo c > /proc/sysrq-trigger 2>/dev/null && echo sysrq; "
        "echo x > /proc/sys/kernel/core_pattern 2>/dev/null && echo core_pattern; "
        "grep -qE '^(CapEff|CapPrm):\\s+0*[1-9a-f]' /proc/1/status && echo capabilities; "
        "grep -q '^NoNewPrivs:.0' /proc/1/status && echo privileges; true"
    )
    assert stack.execute(service, "sh", "-c", script).stdout == ""


@pytest.fixture
def metadata() -> Iterator[str]:
    """A cloud's metadata server, as the network of a cloud has it: it knows the host, and none of its containers."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("a network namespace needs iproute2 and root")

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True)

    ip("netns", "add", "agemeta")
    try:
        ip("link", "add", "agemeta0", "type", "veth", "peer", "name", "eth0", "netns", "agemeta")
        ip("address", "add", "169.254.169.1/24", "dev", "agemeta0")
        ip("link", "set", "agemeta0", "up")
        ip("-n", "agemeta", "address", "add", f"{METADATA}/24", "dev", "eth0")
        ip("-n", "agemeta", "link", "set", "eth0", "up")
        serve = ["python3", "-m", "http.server", "80", "--bind", METADATA, "--directory", "/var/empty"]
        with subprocess.Popen(["ip", "netns", "exec", "agemeta", *serve], stderr=subprocess.DEVNULL) as server:
            yield METADATA
            server.kill()
    finally:
        ip("netns", "delete", "agemeta")


def test_no_container_reaches_the_metadata_of_a_cloud(stack: Stack, metadata: str):
    connect = ("timeout", "5", "bash", "-c", f"exec 3<>/dev/tcp/{metadata}/80")
    anywhere = ("run", "--rm", "--entrypoint", connect[0], IMAGES[1], *connect[1:])
    wait_for(lambda: docker(*anywhere, check=False).returncode == 0, 30)  # a container outside the stack does
    assert [name for name in SERVICES if stack.execute(name, *connect).returncode == 0] == []


@pytest.mark.parametrize("service", SERVICES)
def test_health_checks_cost_under_a_second(stack: Stack, service: str):
    (facts,) = json.loads(docker("inspect", stack.container(service)).stdout)
    kind, *command = facts["Config"]["Healthcheck"]["Test"]
    times = stack.execute(service, *(["sh", "-c", *command] if kind == "CMD-SHELL" else command))
    assert times.returncode == 0, times.stderr


@pytest.mark.parametrize(("image", "package"), [(IMAGES[0], "age_retraining_plugin"), (IMAGES[1], "age_tasks")])
def test_every_module_of_an_image_is_imported_without_a_network(gateway: str, image: str, package: str):
    program = (
        f"import importlib, pkgutil, {package}; "
        f"found = [each.name for each in pkgutil.walk_packages({package}.__path__, '{package}.')]; "
        "[importlib.import_module(name) for name in found if not name.endswith('__main__')]; print(len(found))"
    )
    path = ["--env", "PYTHONPATH=/app:/app/plugins", "--tmpfs", "/tmp", "--tmpfs", "/airflow:uid=50000", "--read-only"]
    done = docker("run", "--rm", "--network", "none", *path, image, "python", "-c", program)
    assert int(done.stdout.splitlines()[-1]) > 10


@pytest.mark.parametrize("image", IMAGES[:2])
def test_images_say_what_they_are_and_hold(gateway: str, image: str):
    (facts,) = json.loads(docker("image", "inspect", image).stdout)
    labels = facts["Config"]["Labels"]
    assert labels["org.opencontainers.image.version"] == __version__
    assert facts["Config"]["User"] == "airflow"
    listed = json.loads(docker("run", "--rm", "--network", "none", image, "cat", "/opt/venv/sbom.cdx.json").stdout)
    assert {"apache-airflow", "boto3"} <= {each["name"] for each in listed["components"]}
    assert not {"pip", "setuptools"} & {each["name"] for each in listed["components"]}


def test_down_leaves_nothing(stack: Stack):
    stack.compose("down", "--volumes", "--timeout", "20")
    for kind in ("container", "network", "volume"):
        listed = docker(
            kind,
            "ls",
            *(["--all"] if kind == "container" else []),
            "--quiet",
            "--filter",
            f"label=com.docker.compose.project={stack.name}",
        ).stdout
        assert listed == "", kind
