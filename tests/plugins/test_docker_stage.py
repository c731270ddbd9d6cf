"""What a stage in a container sees of this machine, and by which names."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from age_retraining_plugin.labels_trigger import labels_asset
from age_retraining_plugin.runtimes import docker as runtime
from airflow.sdk import DAG
from docker.api import APIClient

from age_tasks.environment import RuntimeVariables
from age_tasks.serving.found_images import TABLES

USUAL = {
    "AGE_LABELS": "/data/faces/labels.csv",
    "AGE_STORE": "/data/store",
    "AGE_CACHE": "/data/cache",
    "AWS_CA_BUNDLE": "",
}


class Engine(APIClient):
    """A Docker engine that is never connected; it returns what it is asked to create."""

    def create_container(self, **asked: Any) -> dict[str, Any]:
        return asked


class Container:
    """The container of a stage: the mounts by their places, with whether each is read-only, and its variables."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def of(self, stage: str, given: dict[str, str], **env: str) -> "Container":
        for name, value in {**USUAL, "AGE_RUNTIME": "docker", **given}.items():
            self._monkeypatch.setenv(name, value)
        with DAG("age_retraining", schedule=None):
            task = runtime.DockerStage(
                stage=stage, task_id=stage, env=env, gpu=False, variables=RuntimeVariables.from_env()
            )
        task.container_name = "x"
        task.__dict__["hook"] = SimpleNamespace(api_client=Engine(version="1.43"))
        self._monkeypatch.setattr(Path, "mkdir", lambda *_, **__: None)
        asked = task.create_container()
        mounts = asked["host_config"]["Mounts"]
        places = [mount["Target"] for mount in mounts]
        assert len(places) == len(set(places))  # else the engine refuses the container
        self.mounts = {mount["Target"]: mount["ReadOnly"] for mount in mounts}
        self.env: dict[str, str] = asked["environment"]
        return self


@pytest.fixture
def container(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Container:
    """The working folder is `tmp_path`; the process is elsewhere."""
    monkeypatch.setattr("age_tasks.environment.working_folder", lambda: tmp_path)
    return Container(monkeypatch)


@pytest.mark.parametrize(
    "given",
    [
        {"AGE_SCORE_IMAGES": "/inbox", "AGE_SCORE_OUT": "/inbox/ages.csv"},
        {"AGE_SCORE_IMAGES": "/inbox/", "AGE_SCORE_OUT": "file:///inbox/ages.csv"},
        {"AGE_SCORE_IMAGES": "/inbox/*.tar", "AGE_SCORE_OUT": "/inbox/ages.csv"},
    ],
)
def test_scores_beside_the_images_are_written_by_the_stage_that_scores(given: dict[str, str], container: Container):
    assert container.of("score", given).mounts["/inbox"] is False
    assert container.of("snapshot", given).mounts["/inbox"] is True


def test_the_folder_of_scores_is_writable_for_no_other_stage(container: Container):
    given = {"AGE_SCORE_OUT": "/data/faces/ages.csv"}
    assert container.of("score", given).mounts["/data/faces"] is False
    assert container.of("finetune", given).mounts["/data/faces"] is True
    assert "/out" not in container.of("label-next", {"AGE_SCORE_OUT": "/out/ages.csv"}).mounts


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"AGE_STORE": "/data/faces"}, "/data/faces"),
        ({"AGE_STORE": "file:///data/faces/"}, "/data/faces"),
        ({"AGE_STORE": "/data/faces/images"}, "/data/faces/images"),
        ({"AGE_STORE": "/data/other/../faces"}, "/data/faces"),
        ({"AGE_CACHE": "/data/faces"}, "/data/faces"),
        ({"AGE_CACHE_REMOTE": "/data/faces"}, "/data/faces"),
        ({"AGE_STORE": "/data/new", "AGE_UNLABELLED": "/data/new"}, "/data/new"),
    ],
)
def test_a_folder_that_is_read_and_written_is_mounted_once_and_writable(
    given: dict[str, str], place: str, container: Container
):
    assert container.of("snapshot", given).mounts[place] is False


def test_of_a_table_the_folder_is_mounted_where_its_images_are(container: Container):
    given = {"AGE_SCORE_IMAGES": "/inbox/new.CSV", "AGE_UNLABELLED": "/pool/list.xlsx"}
    mounts = container.of("score", given).mounts
    assert (mounts["/inbox"], mounts["/pool"]) == (True, True)
    assert container.of("score", {"AGE_SCORE_IMAGES": "/inbox/one.jpg"}).mounts["/inbox/one.jpg"] is True
    assert runtime.TABLES == TABLES


def test_relative_paths_are_those_of_the_working_folder(container: Container, tmp_path: Path):
    given = {
        "AGE_LABELS": "faces/labels.csv",
        "AGE_STORE": "store",
        "AGE_CACHE": "cache",
        "AGE_CACHE_REMOTE": "../shared",
        "AGE_RECIPE": "ours.yaml",
        "AGE_UNLABELLED": "new/*.tar",
    }
    found = container.of("score", given, AGE_SCORE_IMAGES="inbox", AGE_SCORE_OUT="s3://age/ages.csv", AGE_IMAGES="")
    assert {name: found.env[name] for name in given} == {
        "AGE_LABELS": f"{tmp_path}/faces/labels.csv",
        "AGE_STORE": f"{tmp_path}/store",
        "AGE_CACHE": f"{tmp_path}/cache",
        "AGE_CACHE_REMOTE": f"{tmp_path.parent}/shared",
        "AGE_RECIPE": f"{tmp_path}/ours.yaml",
        "AGE_UNLABELLED": f"{tmp_path}/new/*.tar",
    }
    assert found.env["AGE_SCORE_IMAGES"] == f"{tmp_path}/inbox"  # of the form
    assert (found.env["AGE_SCORE_OUT"], found.env["AGE_IMAGES"]) == ("s3://age/ages.csv", "")
    assert found.env["KERAS_HOME"] == f"{tmp_path}/cache/keras"
    read = {place for place, read_only in found.mounts.items() if read_only}
    assert read == {f"{tmp_path}/{name}" for name in ("faces", "faces/images", "new", "ours.yaml")}
    assert found.mounts.keys() - read == {f"{tmp_path}/store", f"{tmp_path}/cache", f"{tmp_path.parent}/shared"}


def test_the_labels_are_watched_under_the_path_that_the_stage_records(container: Container, tmp_path: Path):
    found = container.of("snapshot", {"AGE_LABELS": "../faces/labels.csv"})
    asset = labels_asset()
    assert asset
    assert asset.watchers[0].trigger.labels == found.env["AGE_LABELS"] == f"{tmp_path.parent}/faces/labels.csv"


def test_a_recipe_of_the_package_is_no_path(container: Container):
    assert container.of("snapshot", {"AGE_RECIPE": "strong"}).env["AGE_RECIPE"] == "strong"


def test_the_way_to_other_hosts_reaches_the_container(container: Container, tmp_path: Path):
    given = {"HTTPS_PROXY": "http://ann:hush@proxy:3128", "no_proxy": "example.org", "AWS_CA_BUNDLE": "ca.pem"}
    found = container.of("snapshot", given | {"AWS_SESSION_TOKEN": " "})
    assert {name: found.env[name] for name in given} == given | {"AWS_CA_BUNDLE": f"{tmp_path}/ca.pem"}
    assert found.mounts[f"{tmp_path}/ca.pem"] is True
    assert "AWS_SESSION_TOKEN" not in found.env
