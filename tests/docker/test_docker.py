"""Stages in real containers. `make test-docker` builds the image they run in and names it in AGE_TRAINER_IMAGE."""

import json
import os
from pathlib import Path

import pytest

import docker
from age_tasks.demo.synthetic_faces import Sample
from age_tasks.environment import Locations
from age_tasks.pipeline import STAGES
from age_tasks.runs.run import open_run
from tests.support.airflow import airflow_command, run_program
from tests.support.settings import QUICK

pytestmark = pytest.mark.docker

NAME = "age_retraining.manual__2026-11-22T10-15-00-00-00.snapshot."


@pytest.fixture(scope="session")
def engine() -> docker.DockerClient:
    image = os.environ.get("AGE_TRAINER_IMAGE", "age-trainer:test")
    try:
        client = docker.from_env()
        client.images.get(image)
    except docker.errors.ImageNotFound:
        pytest.skip(f"the Docker engine has no image {image}; run make test-docker")
    except docker.errors.DockerException as error:
        pytest.skip(f"no Docker engine answers ({error}); start one, or set DOCKER_HOST")
    return client


@pytest.fixture(scope="session")
def env(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory, sample: Sample) -> dict[str, str]:
    """An Airflow with its own database, store and cache, whose stages run in containers."""
    root = tmp_path_factory.mktemp("docker")
    image = os.environ.get("AGE_TRAINER_IMAGE", "age-trainer:test")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AGE_", "AWS_"))}
    env |= {"AIRFLOW_HOME": str(root / "home"), "AGE_STORE": str(root / "store"), "AGE_CACHE": str(root / "cache")}
    env |= {"AGE_RUNTIME": "docker", "AGE_TRAINER_IMAGE": image, "AGE_GPUS": "0", "PYTHONWARNINGS": "ignore"}
    return env | {"AGE_LABELS": str(sample.labels), "AGE_RECIPE": "demo", "AWS_SECRET_ACCESS_KEY": "hush"}


@pytest.fixture
def left(engine: docker.DockerClient):
    """The containers of these tests that are there now; none may be after a test."""

    def names() -> list[str]:
        return [each.name for each in engine.containers.list(all=True) if each.name.startswith(NAME)]

    yield names
    assert names() == []


def carried_out(env: dict[str, str], script: str, **more: str) -> dict:
    """What became of a stage whose command is a shell script instead."""
    done = run_program(env | more, "docker_stage", script)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_last_line_on_stdout_is_the_summary_whatever_stderr_says(env: dict[str, str], left):
    script = """echo '{"shown": "'$SHOWN'", "key": "'$AWS_SECRET_ACCESS_KEY'"}'; echo bye >&2"""
    assert carried_out(env, script) == {"summary": {"shown": "yes", "key": "hush"}}


def test_an_error_says_its_cause_and_exit_code(env: dict[str, str], left):
    said = carried_out(env, "echo no such file >&2; exit 74")
    assert said == {"error": "TaskFailed", "text": "no such file (exit code 74)"}


def test_what_a_retry_can_t_help_fails_at_once(env: dict[str, str], left):
    said = carried_out(env, "echo labels.csv:3: age -1 >&2; exit 65")
    assert said == {"error": "TaskFailedForGood", "text": "labels.csv:3: age -1 (exit code 65)"}


def test_running_out_of_memory_is_called_by_its_name(env: dict[str, str], left):
    said = carried_out(env, "exec python -c 'b\"x\" * 2**30'", AGE_MEMORY="64m")
    assert "out of memory (AGE_MEMORY is 64m)" in said["text"]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("AGE_TRAINER_IMAGE", "age-trainer:9.9.9", "has no image age-trainer:9.9.9 and can't pull it"),
        ("AGE_TRAINER_IMAGE", "127.0.0.1:9/age-trainer:1", "has no image 127.0.0.1:9/age-trainer:1 and can't pull it"),
        ("AGE_GPUS", "all", "gives no GPUs"),
        ("AGE_DOCKER_NETWORK", "elsewhere", "network elsewhere not found"),
    ],
)
def test_what_the_engine_refuses_names_the_variable(env: dict[str, str], left, name: str, value: str, says: str):
    said = carried_out(env, "true", **{name: value})
    assert says in said["text"]
    assert name in said["text"]
    assert "\n" not in said["text"]


def test_an_engine_that_does_not_answer_is_named(env: dict[str, str]):
    said = carried_out(env, "true", DOCKER_HOST="tcp://127.0.0.1:9")
    assert "DOCKER_HOST" in said["text"]


def test_a_container_goes_with_its_task(env: dict[str, str], left):
    assert "error" in carried_out(env, "sleep 600", STOP_AFTER="2")


def test_a_container_that_outlived_its_task_is_followed(env: dict[str, str], left):
    earlier = """echo going on; sleep 3; echo '{"run": "the first"}'"""
    assert carried_out(env, """echo '{"run": "the second"}'""", EARLIER=earlier) == {"summary": {"run": "the first"}}


def test_a_container_that_ended_while_nobody_looked_makes_room(env: dict[str, str], left):
    assert carried_out(env, """echo '{"run": "the second"}'""", EARLIER="true") == {"summary": {"run": "the second"}}


def test_the_container_has_no_capabilities_and_can_t_gain_any(env: dict[str, str], left):
    script = """printf '"%s"\\n' "$(grep -E '^(CapEff|NoNewPrivs)' /proc/self/status | tr '\\n\\t' '  ')" """
    assert carried_out(env, script)["summary"].split() == ["CapEff:", "0" * 16, "NoNewPrivs:", "1"]


def test_the_container_writes_to_its_own_places_only(env: dict[str, str], left):
    script = (
        """touch /app/x /opt/x 2>/dev/null; touch /tmp/x "$AGE_CACHE/x" && ls /app/x /opt/x 2>/dev/null | grep -c x"""
    )
    assert carried_out(env, f"{script}; true")["summary"] == 0


def test_a_whole_retraining_in_containers(env: dict[str, str], engine: docker.DockerClient):
    done = airflow_command(env, "dags", "test", "age_retraining", "-c", json.dumps({"settings": QUICK}))
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert "hush" not in done.stdout + done.stderr
    (key,) = [path.name for path in (Path(env["AGE_STORE"]) / "runs").iterdir()]
    with open_run(key, Locations.from_env(env)) as run:
        assert [run.record(stage).status for stage in STAGES] == ["done"] * len(STAGES)
    assert (Path(env["AGE_STORE"]) / "reports" / f"{key}.html").exists()
    assert not [each for each in engine.containers.list(all=True) if key in each.name]
