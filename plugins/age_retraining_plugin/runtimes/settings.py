"""Where a stage's process runs, and with what: the `AGE_*` variables that say so, checked."""

from typing import Literal

from pydantic import Field, model_validator

from age_retraining_plugin.environment import FromEnvironment

NAME = r"^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$"
PAIRS = r"^[^=,\s]+=[^=,\s]+(,[^=,\s]+=[^=,\s]+)*$"
BYTES = r"^[1-9]\d*[gm]$"
PINNED = r"^\S+(:(?!latest$)[\w.-]+|@sha256:[0-9a-f]{64})$"


class RuntimeSettings(FromEnvironment):
    runtime: Literal["local", "docker", "kubernetes"] = Field(
        "local", description="'local', 'docker' or 'kubernetes': where stages run"
    )
    trainer_image: str = Field(
        "age-trainer:0.1.0",
        pattern=PINNED,
        description="the image of docker/trainer.Dockerfile with its tag, not latest",
    )
    gpus: str = Field(
        "all", pattern=r"^(all|\d{1,2})$", description="GPUs of a training: a number, or 'all' (on Kubernetes: one)"
    )
    cpus: float = Field(1.0, gt=0, description="cores that a stage gets when others want them too, such as 4")
    memory: str = Field("", pattern=BYTES, description="the most memory of a stage, such as 16g; empty: no bound")
    shm: str = Field("1g", pattern=BYTES, description="shared memory of a stage (/dev/shm), such as 1g")
    store: str = Field("", description="a folder or s3://bucket/prefix")
    cache_volume: str = Field(
        "", pattern=NAME, description="the Docker volume or Kubernetes claim that holds the cache; empty: AGE_CACHE"
    )
    docker_network: str = Field("", pattern=NAME, description="the Docker network of stages; empty: Docker's default")
    kubernetes_namespace: str = Field("default", pattern=NAME, description="the namespace of pods")
    kubernetes_node_selector: str = Field(
        "", pattern=PAIRS, description="labels of the nodes to train on, such as gpu=a10,pool=training"
    )
    kubernetes_secret: str = Field(
        "", pattern=NAME, description="the Secret whose keys become variables of stages, such as AWS_SECRET_ACCESS_KEY"
    )

    @model_validator(mode="after")
    def _reachable(self) -> "RuntimeSettings":
        shared = self.store.startswith("s3://")
        if self.runtime == "kubernetes" and not shared:
            raise ValueError(f"pods can't reach the store '{self.store}'; set AGE_STORE to s3://bucket/prefix")
        if self.runtime == "docker" and self.cache_volume and not shared:
            raise ValueError(
                f"AGE_CACHE_VOLUME goes with a store on S3, not with '{self.store}': the image's own user, who can "
                "write to the volume, has no rights in a folder of this machine; leave AGE_CACHE_VOLUME empty"
            )
        return self

    @property
    def gpu_count(self) -> int:
        """-1 for all there are."""
        return -1 if self.gpus == "all" else int(self.gpus)
