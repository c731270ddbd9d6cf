"""A stage in a container, on the Docker engine that `DOCKER_HOST` names."""

import hashlib
import os
import re
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from airflow.providers.docker.operators.docker import DockerOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException
from docker.api import APIClient
from docker.errors import APIError, ImageNotFound
from docker.types import DeviceRequest, Mount
from docker.utils import parse_bytes
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from age_retraining_plugin.runtimes.outcome import LAST_LINES, CommandFailedError, Outcome, TaskFailed
from age_tasks.environment import (
    CERTIFICATES,
    Locations,
    RuntimeVariables,
    StageVariables,
    WorkflowVariables,
    absolute_places,
    inherited_variables,
)
from age_tasks.runs.printed_summary import read_summary_line
from age_tasks.store.addresses import TABLES, local_path, tar_files

CACHE = Path("/cache")
SHARE = StageVariables.variable("share")


class DockerStage(Outcome, DockerOperator):
    """`python -m age_tasks <stage>` in a container that is removed when the task ends.

    A container outlives a worker that dies. It has the name of its run and task, so that the next try follows it and
    does not start a second training.

    Args:
        stage: the sub-command.
        env: variables of the stage, shown in Airflow; templated.
        variables: the image, and what the container may use.
        gpu: whether it gets GPUs.
        options: of the operator, such as `retries`.
    """

    def __init__(
        self, *, stage: str, env: dict[str, str], variables: RuntimeVariables, gpu: bool, **options: Any
    ) -> None:
        here = {**os.environ, **absolute_places(os.environ)}
        locations = Locations.from_env(here)
        volume, work = variables.cache_volume, ".".join([stage, *filter(None, [env.get(SHARE)])])
        super().__init__(
            image=variables.trainer_image,
            command=["python", "-m", "age_tasks", stage],
            # Several Airflows may share an engine. Their runs may have equal names, their stores have not.
            container_name=f"{{{{ dag.dag_id }}}}.{{{{ run_id }}}}.{work}.{_digest(locations.store)}",
            environment=env,
            mounts=_mounts(stage, here, volume),
            user=None if volume else f"{os.getuid()}:{os.getgid()}",  # the owner of the store and the cache
            network_mode=variables.docker_network or None,
            mem_limit=variables.memory or None,
            shm_size=parse_bytes(variables.shm),
            cpus=variables.cpus,
            device_requests=_gpus(variables.gpu_count) if gpu else None,
            mount_tmp_dir=False,
            auto_remove="force",
            **options,
        )
        cache = CACHE if volume else locations.cache
        self.hidden_env = {"AGE_STORE": locations.store, "AGE_CACHE": str(cache)}
        self.hidden_env |= {"KERAS_HOME": str(cache / "keras"), "MPLCONFIGDIR": str(cache / "matplotlib")}

    def execute(self, context: Context) -> Any:
        """Run the stage in its container.

        Raises:
            TaskFailed: the engine is away or refuses; says which variable may be wrong.
        """
        try:
            return super().execute(context)
        except APIError as error:
            raise TaskFailed(self._refusal(error)) from None

    def _refusal(self, error: APIError) -> str:
        """What the engine refused, and the way out."""
        says = " ".join(str(error.explanation or error).split())
        if isinstance(error, ImageNotFound) or "/images/" in error.response.url:
            return (
                f"the Docker engine has no image {self.image} and can't pull it ({says}); "
                "set AGE_TRAINER_IMAGE to an image that it has or can pull, or build this one"
            )
        if self.device_requests and ("device driver" in says or "nvidia" in says):
            return (
                f"the Docker engine gives no GPUs ({says}); "
                "install NVIDIA's Container Toolkit there, or set AGE_GPUS=0 to train on CPUs"
            )
        if self.network_mode and "network" in says:
            return f"the Docker engine refuses AGE_DOCKER_NETWORK={self.network_mode}: {says}"
        return f"the Docker engine refuses the container of {self.task_id}: {says}"

    @property
    def cli(self) -> APIClient:
        """The engine's API.

        Raises:
            AirflowException: no engine answers.
        """
        try:
            return super().cli
        except AirflowException as error:
            raise AirflowException(
                f"no Docker engine answers at {self.docker_url}; start it, or set DOCKER_HOST"
            ) from error

    def _run_image(self) -> Any:
        """Follow the container until it ends; the last line on its stdout is the summary."""
        self.container_name = unique_name(str(self.container_name))
        self.container = self._running_container() or self.create_container()
        try:
            self.cli.start(self.container["Id"])  # no effect on one that is running
            lines = self._follow_log()
            state = self.cli.inspect_container(self.container["Id"])["State"]
            output = self.cli.logs(self.container["Id"], stdout=True, stderr=False)
        finally:
            self.cli.remove_container(self.container["Id"], force=True)
        self._require_success(state, lines)
        if not output:
            raise AirflowException(f"{self.container_name} succeeded but printed no summary")
        return read_summary_line(output.splitlines()[-1])

    def _running_container(self) -> dict[str, Any] | None:
        """The container that an earlier try of this task left running."""
        container: dict[str, Any]
        for container in self.cli.containers(all=True, filters={"name": f"^/?{re.escape(str(self.container_name))}$"}):
            if container["State"] == "running":
                self.log.info("following %s, which an earlier try left running", self.container_name)
                return container
            self.cli.remove_container(container["Id"], force=True)
        return None

    def create_container(self) -> dict[str, Any]:
        """Ask the engine for the container; what it writes to is created before, so that it belongs to this user."""
        for mount in self.mounts:
            if mount["Type"] == "bind" and not mount["ReadOnly"]:
                Path(mount["Source"]).mkdir(parents=True, exist_ok=True)
        env = {**self.inherited_env(), **self.hidden_env, **self.environment}
        created: dict[str, Any] = self.cli.create_container(
            image=self.image,
            command=self.command,
            name=self.container_name,
            environment={**env, **absolute_places(env)},  # a relative path means nothing there
            user=self.user,
            host_config=self.cli.create_host_config(
                mounts=self.mounts,
                network_mode=self.network_mode,
                mem_limit=self.mem_limit,
                shm_size=self.shm_size,
                cpu_shares=round(self.cpus * 1024),
                device_requests=self.device_requests,
                read_only=True,
                tmpfs={"/tmp": ""},
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                init=True,  # forwards signals and reaps worker processes
            ),
        )
        return created

    def inherited_env(self) -> dict[str, str]:
        """The worker's own variables, with the keys to the store; read here, so that no page or database holds them."""
        return {name: value for name in inherited_variables() if (value := os.environ.get(name, "").strip())}

    def _follow_log(self) -> list[str]:
        """Log what the container prints until it ends; resumed where a proxy cuts off a silent connection."""
        lines: list[str] = []
        while True:
            stream = self.cli.logs(self.container["Id"], stream=True, follow=True)
            try:
                for number, line in enumerate(_lines(stream)):
                    if number >= len(lines):
                        lines.append(line)
                        if not line.startswith("{"):  # the summary is the XCom
                            self.log.info("%s", line)
            except (RequestException, HTTPError, OSError) as error:
                self.log.warning("the log of %s broke off (%s): resuming", self.container_name, error)
            if not self.cli.inspect_container(self.container["Id"])["State"]["Running"]:
                return lines
            time.sleep(1)

    def _require_success(self, state: dict[str, Any], lines: list[str]) -> None:
        code, known = state["ExitCode"], ""
        if code == 0:
            return
        if state["OOMKilled"]:
            known = f"out of memory (AGE_MEMORY is {self.mem_limit or 'not set: the machine has no more'})"
        elif code == 128 + signal.SIGKILL:
            known = f"killed, usually out of memory (AGE_MEMORY is {self.mem_limit or 'not set'})"
        raise CommandFailedError(code, lines[-LAST_LINES:], known)


def unique_name(name: str) -> str:
    """A name that Docker takes; two names never become the same one."""
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '-', name)}.{_digest(name)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _gpus(count: int) -> list[DeviceRequest]:
    return [DeviceRequest(driver="nvidia", count=count, capabilities=[["gpu"]])] if count else []


def _mounts(stage: str, env: Mapping[str, str], volume: str) -> list[Mount]:
    """What a stage sees of this machine, at its own paths: addresses mean the same inside and outside.

    The trigger form has no influence: people who may start runs may not choose mounts.

    Args:
        stage: its name.
        env: the environment with absolute paths.
        volume: the name of the volume of the cache; empty: the cache is a folder.
    """
    locations, workflow = Locations.from_env(env), WorkflowVariables.from_env(env)
    written = [] if volume else _written(stage, locations, workflow)
    read = _read(locations, workflow, env)
    mounts = [Mount(str(CACHE), volume, "volume")] if volume else []
    mounts += [Mount(path, path, "bind", read_only=True) for path in read if path not in written]
    return mounts + [Mount(path, path, "bind") for path in written]


def _read(locations: Locations, workflow: WorkflowVariables, env: Mapping[str, str]) -> list[str]:
    """The folders of labels, images, and images to score or to label; the files of the recipe and of certificates."""
    folders = [_parent(locations.labels)] if _is_local(locations.labels) else []
    folders += [
        _images(place) for place in (locations.images, workflow.score_images, workflow.unlabelled) if _is_local(place)
    ]
    files = [workflow.recipe] if workflow.recipe.endswith((".yaml", ".yml")) else []
    files += filter(None, [env.get(CERTIFICATES, "").strip()])
    return list(dict.fromkeys([*folders, *files]))


def _written(stage: str, locations: Locations, workflow: WorkflowVariables) -> list[str]:
    """The folders of the store, the exchange and the cache; that of the scores for the stage that writes them."""
    stores = [_path(place) for place in (locations.store, locations.cache_remote) if _is_local(place)]
    scores = [_parent(workflow.score_out)] if stage == "score" and _is_local(workflow.score_out) else []
    return list(dict.fromkeys([*stores, str(locations.cache), *scores]))


def _images(place: str) -> str:
    """The folder or file that holds images; of tar files and tables, the folder that they are in."""
    if Path(place).suffix.lower() in TABLES:
        return _parent(place)
    return tar_files(place)[0] or _path(place)


def _path(address: str) -> str:
    return os.path.normpath(local_path(address))


def _parent(address: str) -> str:
    return str(Path(_path(address)).parent)


def _is_local(address: str) -> bool:
    return bool(address) and not address.startswith("s3://")


def _lines(chunks: Iterator[bytes]) -> Iterator[str]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="replace").rstrip() for line in whole)
    if rest:
        yield rest.decode(errors="replace")
