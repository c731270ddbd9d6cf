"""A stage in a container, on the Docker engine that `DOCKER_HOST` names."""

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from airflow.providers.docker.operators.docker import DockerOperator
from airflow.sdk.exceptions import AirflowException, AirflowSkipException
from docker.types import DeviceRequest, Mount
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from age_retraining_plugin.stage_task import SKIPPED_ON, Outcome
from age_tasks.environment import Locations, RuntimeVariables, WorkflowVariables
from age_tasks.store.addresses import local_path

CACHE = Path("/cache")
LAST_LINES = 15


class DockerStage(Outcome, DockerOperator):
    """`python -m age_tasks <stage>` in a container that is gone when the task is.

    A container outlives a worker that dies. It bears the name of its run and task: the next try follows it rather than
    train beside it.
    """

    def __init__(
        self, *, stage: str, env: dict[str, str], settings: RuntimeVariables, gpu: bool, **options: Any
    ) -> None:
        locations = Locations.from_env()
        volume = settings.cache_volume
        super().__init__(
            image=settings.trainer_image,
            command=["python", "-m", "age_tasks", stage],
            # Several Airflows may share an engine; their runs have the same names, their stores don't.
            container_name=f"{{{{ dag.dag_id }}}}.{{{{ run_id }}}}.{stage}.{_digest(locations.store)}",
            environment=env,
            mounts=[*_read_only(locations), *_written(locations, volume)],
            user=None if volume else f"{os.getuid()}:{os.getgid()}",  # whoever owns the store and the cache
            network_mode=settings.docker_network or None,
            mem_limit=settings.memory or None,
            shm_size=settings.shm,
            cpus=settings.cpus,
            device_requests=_gpus(settings.gpu_count) if gpu else None,
            mount_tmp_dir=False,
            auto_remove="force",
            **options,
        )
        cache = CACHE if volume else locations.cache
        self._places = {"AGE_STORE": locations.store, "AGE_CACHE": str(cache)}
        self._places |= {"KERAS_HOME": str(cache / "keras"), "MPLCONFIGDIR": str(cache / "matplotlib")}

    def _run_image(self) -> dict:
        """Follow the container to its end; its last line on stdout is the summary."""
        self.container_name = re.sub(r"[^A-Za-z0-9_.-]", "-", self.container_name)
        self.container = self._found() or self._created()
        try:
            self.cli.start(self.container["Id"])  # nothing happens to one that runs
            lines = self._follow()
            state = self.cli.inspect_container(self.container["Id"])["State"]
            said = self.cli.logs(self.container["Id"], stdout=True, stderr=False)
        finally:
            self.cli.remove_container(self.container["Id"], force=True)
        self._check(state, lines)
        if not said:
            raise AirflowException(f"{self.container_name} ended well and printed no summary")
        return json.loads(said.splitlines()[-1])

    def _found(self) -> dict | None:
        """The container that an earlier try of this task left running."""
        for container in self.cli.containers(all=True, filters={"name": f"^/?{re.escape(self.container_name)}$"}):
            if container["State"] == "running":
                self.log.info("an earlier try left %s running: following it", self.container_name)
                return container
            self.cli.remove_container(container["Id"], force=True)
        return None

    def _created(self) -> dict:
        for mount in self.mounts:
            if mount["Type"] == "bind" and not mount["ReadOnly"]:
                Path(mount["Source"]).mkdir(parents=True, exist_ok=True)
        return self.cli.create_container(
            image=self.image,
            command=self.command,
            name=self.container_name,
            environment={**self._inherited(), **self._places, **self.environment},
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
                init=True,  # passes signals on and collects what worker processes leave
            ),
        )

    def _inherited(self) -> dict[str, str]:
        """The worker's own variables, keys to the store among them: read here, so that no page or database has them."""
        return {name: value for name, value in os.environ.items() if name.startswith(("AGE_", "AWS_"))}

    def _follow(self) -> list[str]:
        """Log what the container says until it ends; taken up again where a proxy cuts a long silence off."""
        lines: list[str] = []
        while True:
            stream = self.cli.logs(self.container["Id"], stream=True, follow=True)
            try:
                for number, line in enumerate(_lines(stream)):
                    if number >= len(lines):
                        lines.append(line)
                        self.log.info("%s", line)
            except (RequestException, HTTPError, OSError) as error:
                self.log.warning("the log of %s broke off (%s): reading on", self.container_name, error)
            if not self.cli.inspect_container(self.container["Id"])["State"]["Running"]:
                return lines
            time.sleep(1)

    def _check(self, state: dict, lines: list[str]) -> None:
        code = state["ExitCode"]
        if code == 0:
            return
        why = f"exit code {code}"
        if state["OOMKilled"]:
            why += f", out of memory (AGE_MEMORY is {self.mem_limit or 'not set: the machine had no more'})"
        last = "\n".join(lines[-LAST_LINES:])
        kind = AirflowSkipException if code in SKIPPED_ON else AirflowException
        raise kind(f"the container ended with {why}; its last lines:\n{last}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _gpus(count: int) -> list[DeviceRequest]:
    return [DeviceRequest(driver="nvidia", count=count, capabilities=[["gpu"]])] if count else []


def _read_only(locations: Locations) -> list[Mount]:
    """Labels, images and a recipe of one's own, at their own paths.

    Of this machine, a stage sees no more, whatever the trigger form says: whoever may trigger may not choose mounts.
    """
    labels = [str(local_path(locations.labels).parent)] if _is_local(locations.labels) else []
    images = [str(local_path(locations.images))] if _is_local(locations.images) else []
    recipe = WorkflowVariables.from_env().recipe
    recipes = [str(Path(recipe).absolute())] if recipe.endswith((".yaml", ".yml")) else []
    return [Mount(path, path, "bind", read_only=True) for path in dict.fromkeys([*labels, *images, *recipes])]


def _written(locations: Locations, cache_volume: str) -> list[Mount]:
    """The store and the cache, at their own paths, so that addresses mean the same inside and outside."""
    if cache_volume:
        return [Mount(str(CACHE), cache_volume, "volume")]
    stores = [str(local_path(locations.store))] if _is_local(locations.store) else []
    return [Mount(path, path, "bind") for path in [*stores, str(locations.cache)]]


def _is_local(address: str) -> bool:
    return bool(address) and not address.startswith("s3://")


def _lines(chunks: Iterator[bytes]) -> Iterator[str]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="replace").rstrip() for line in whole)
    if rest:
        yield rest.decode(errors="replace")
