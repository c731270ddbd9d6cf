"""docker-compose.yaml and the Dockerfiles, checked by reading them; nothing is started."""

import importlib.util
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from age_tasks.environment import PROJECT

COMPOSE = PROJECT / "docker-compose.yaml"
TEXT = COMPOSE.read_text()
SERVICES = yaml.safe_load(TEXT)["services"]
ONE_SHOT = {"airflow-init", "trainer"}
DOCKERFILES = sorted((PROJECT / "docker").glob("*.Dockerfile"))

_spec = importlib.util.spec_from_file_location("make_env", PROJECT / "docker" / "make_env.py")
make_env = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make_env)


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
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_only_the_proxy_has_the_engine_socket_and_only_the_scheduler_the_proxy():
    assert [name for name, service in SERVICES.items() if "docker.sock" in str(service.get("volumes"))] == [
        "docker-proxy"
    ]
    assert [name for name, service in SERVICES.items() if "engine" in service.get("networks", ())] == [
        "docker-proxy",
        "airflow-scheduler",
    ]


def test_passwords_and_keys_come_from_env_and_have_no_default():
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD$|SECRET|_KEY|SQL_ALCHEMY_CONN", name):
                assert re.search(r"\$\{\w+:\?run make compose-env\}", value), name


def test_make_compose_env_writes_all_secrets_once_and_readable_by_the_owner_only(tmp_path: Path):
    path = tmp_path / ".env"
    assert make_env.write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    written = dict(line.split("=", 1) for line in path.read_text().splitlines())
    assert set(re.findall(r"\$\{(\w+):\?", TEXT)) <= written.keys()
    secrets = [value for name, value in written.items() if re.search(r"PASSWORD|SECRET|KEY", name)]
    assert len(set(secrets)) == 7
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


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if "build" in service])
def test_build_arguments_are_those_of_the_dockerfile(name: str):
    build = SERVICES[name]["build"]
    dockerfile = (PROJECT / build["dockerfile"]).read_text()
    assert set(build.get("args", {})) <= set(re.findall(r"^ARG (\w+)=", dockerfile, re.MULTILINE))
    variables = set(re.findall(r"\$\{(\w+)", str(build)))
    assert variables <= set(make_env.settings(PROJECT))


@pytest.mark.parametrize("hardware", ["cpu", "gpu"])
def test_every_hardware_has_a_lock(hardware: str):
    assert (PROJECT / "docker" / f"trainer-{hardware}.lock").is_file()


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


def test_docker_compose_accepts_the_file(tmp_path: Path):
    command = [name] if (name := shutil.which("docker-compose")) else ["docker", "compose"]
    if not shutil.which(command[0]) or subprocess.run([*command, "version"], capture_output=True).returncode:
        pytest.skip("neither docker-compose nor docker's compose plugin is installed")
    make_env.write(tmp_path / ".env")
    arguments = ["-f", COMPOSE, "--env-file", tmp_path / ".env", "config", "--quiet"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
