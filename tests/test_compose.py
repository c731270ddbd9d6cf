"""docker-compose.yaml and the Dockerfiles, checked by reading them; nothing is started."""

import json
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from age_tasks import __version__
from age_tasks.environment import PROJECT, WAY_OUT, inherited_variables
from tests.support.compose_env import make_env

COMPOSE, WORKER = PROJECT / "docker-compose.yaml", PROJECT / "docker" / "worker.yaml"
TEXT = COMPOSE.read_text()
WORKERS = yaml.safe_load(WORKER.read_text())["services"]
WORKERS["gpu-worker"] = WORKERS["worker"] | WORKERS["gpu-worker"]
STARTED = yaml.safe_load(TEXT)["services"]
SERVICES = {name: WORKERS.get(name, {}) | service for name, service in STARTED.items()}
ONE_SHOT = {"airflow-init"}
UNUSED = {"sqlite:////tmp/unused.db"}  # workers have no database
DOCKERFILES = sorted((PROJECT / "docker").glob("*.Dockerfile"))


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - ONE_SHOT))
def test_services_have_a_health_check_and_are_restarted(name: str):
    assert SERVICES[name]["healthcheck"]["test"]
    assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_containers_have_no_capabilities_and_a_read_only_file_system(name: str):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"[\w./-]+:\d[\w.-]*", service["image"])
    assert all(port.startswith("${PUBLISH:-127.0.0.1}:") for port in service.get("ports", ()))


def test_no_container_has_the_engine_socket():
    assert "docker.sock" not in TEXT + WORKER.read_text()
    assert not {"privileged", "devices", "pid", "ipc", "cap_add"} & {key for name in WORKERS for key in WORKERS[name]}


def test_workers_know_no_password_of_the_database():
    for service in WORKERS.values():
        assert "POSTGRES" not in str(service)
        assert service["environment"]["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].startswith("sqlite:")


@pytest.mark.parametrize("service", [SERVICES["airflow-scheduler"], WORKERS["worker"]], ids=["airflow", "worker"])
def test_containers_get_every_variable_of_the_environment(service: dict):
    """But the cache, which the image's environment names, and what a machine sets for its own way to other hosts."""
    assert set(inherited_variables()) - {"AGE_CACHE", *WAY_OUT} <= service["environment"].keys()
    assert not set(WAY_OUT) & service["environment"].keys()


def test_links_in_notices_have_the_host_and_port_of_the_ui():
    """Workers tell of tasks; the triggerer, of late runs; the DAG processor, of tasks that were lost."""
    usual = "${AIRFLOW__API__BASE_URL:-http://localhost:${AGE_PORT:-8080}}"
    elsewhere = "${AIRFLOW__API__BASE_URL:-http://${STACK_HOST:-localhost}:${STACK_PORT:-${AGE_PORT:-8080}}}"
    for name, service in SERVICES.items():
        if name.startswith("airflow-"):
            assert service["environment"]["AIRFLOW__API__BASE_URL"] == usual
    assert WORKERS["worker"]["environment"]["AIRFLOW__API__BASE_URL"] == elsewhere


def test_what_stages_read_is_inherited():
    names = set(inherited_variables())
    assert {"AGE_STORE", "AGE_IMAGES", "AGE_REQUIRE_APPROVAL", "AGE_SCORE_OUT", "MLFLOW_TRACKING_URI"} <= names
    assert {"HTTP_PROXY", "https_proxy", "NO_PROXY", "AWS_CA_BUNDLE"} <= names
    assert not set(WAY_OUT) & set(inherited_variables(secrets=False))
    assert not {"AGE_RUN", "AGE_AGAIN", "AGE_SET", "AGE_WHO", "AGE_APPROVAL", "AGE_DATA"} & names


def test_passwords_and_keys_come_from_env_and_have_no_default():
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if (
                value
                and re.search(r"PASSWORD$|SECRET|_KEY$|SQL_ALCHEMY_CONN", name)
                and not value.startswith("sqlite:")
            ):
                assert re.search(r"\$\{\w+:\?[^}]+\}", value), name


def test_make_compose_env_writes_all_secrets_once_and_readable_by_the_owner_only(tmp_path: Path):
    path = tmp_path / ".env"
    assert make_env.write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    written = dict(line.split("=", 1) for line in path.read_text().splitlines())
    assert set(re.findall(r"\$\{(\w+):\?", TEXT + WORKER.read_text())) <= written.keys()
    secrets = [value for name, value in written.items() if re.search(r"PASSWORD|SECRET|KEY", name)]
    assert len(set(secrets)) == 6
    assert all(len(secret) >= 20 for secret in secrets)
    before = path.read_text()
    assert not make_env.write(path)
    assert path.read_text() == before
    assert "/.env" in (PROJECT / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_images_are_pinned_and_run_as_an_unprivileged_user(path: Path):
    text = path.read_text()
    assert re.findall(r"^ARG BASE=(.+)$", text, re.MULTILINE) == ["python:3.11.14-slim-bookworm"]
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${BASE}"}
    assert re.findall(r"^USER (\w+)$", text, re.MULTILINE)[-1] in {"age", "airflow"}
    assert "--no-deps --require-hashes" in text
    assert f"ARG VERSION={__version__}\n" in text


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if "build" in service])
def test_build_arguments_are_those_of_the_dockerfile(name: str):
    build = SERVICES[name]["build"]
    dockerfile = (PROJECT / build["dockerfile"]).read_text()
    assert set(build.get("args", {})) <= set(re.findall(r"^ARG (\w+)=", dockerfile, re.MULTILINE))


@pytest.mark.parametrize("hardware", ["cpu", "gpu"])
@pytest.mark.parametrize("image", ["trainer", "worker"])
def test_every_hardware_has_a_lock_with_hashes(image: str, hardware: str):
    lines = (PROJECT / "docker" / f"{image}-{hardware}.lock").read_text().splitlines()
    pinned = [line for line in lines if re.match(r"[a-z0-9]", line)]
    assert all(re.fullmatch(r"[\w.-]+(\[[\w,-]+\])?==[^ ]+( ; .+)? \\", line) for line in pinned)
    assert sum("--hash=sha256:" in line for line in lines) >= len(pinned)
    assert any(line.startswith("nvidia-") for line in pinned) == (hardware == "gpu")


def test_the_build_context_contains_only_what_images_copy():
    everything, *kept = [
        line for line in (PROJECT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")
    ]
    assert everything == "*"
    copied = {
        name
        for path in DOCKERFILES
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", path.read_text(), re.MULTILINE)
        for name in line.split()
    }
    assert {f"!{name}" for name in copied} | {"**/__pycache__"} == set(kept)


CPU = "docker/cpu.yaml"
STAND_INS = (CPU, "docker/behind-proxy.yaml", "tests/docker/stand-ins.yaml")


@pytest.mark.parametrize("over", [(), (CPU,), STAND_INS], ids=len)
def test_docker_compose_accepts_the_files(over: tuple[str, ...], tmp_path: Path):
    command = [name] if (name := shutil.which("docker-compose")) else ["docker", "compose"]
    if not shutil.which(command[0]) or subprocess.run([*command, "version"], capture_output=True).returncode:
        pytest.skip("neither docker-compose nor docker's compose plugin is installed")
    make_env.write(tmp_path / ".env")
    files = [word for path in (COMPOSE, *(PROJECT / each for each in over)) for word in ("-f", path)]
    arguments = [*files, "--env-file", tmp_path / ".env", "config", "--format", "json"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, env=os.environ | {"BASE": "base"})
    assert done.returncode == 0, done.stderr
    gpu_worker = json.loads(done.stdout)["services"]["gpu-worker"]
    assert ("deploy" in gpu_worker) == (not over)
