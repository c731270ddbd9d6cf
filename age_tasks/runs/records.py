"""What a run writes about itself: the record of each stage, and the run's settings."""

from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

from pydantic import Field

from age_tasks.errors import AgeTasksError
from age_tasks.store.documents import Document, FileDigest

Summary = dict[str, Any]  # of a stage, for people, logs and XCom: plain JSON types


class StageRecord(Document):
    """What a stage did; `stage.json` in its folder, written last.

    `seconds` begins where the stage does; `parts` counts from the start of its process, so that its `start` holds the
    imports too: seconds of start, input, compute and output (see `stopwatch`). Versions before 0.2 did not count them.
    `inputs` maps each input to its fingerprint, `outputs` each file to its digest; times are ISO in UTC. The record of
    a reused stage names the run that executed it in `reused_from`: its outputs are there.
    """

    if_lost: ClassVar[str] = "remove it: the stage then counts as not run"

    stage: str
    run: str
    status: Literal["done", "failed"]
    error: str | None = None
    started: str
    finished: str
    seconds: float
    parts: dict[str, float] = Field(default_factory=dict)
    peak_memory_gb: float
    summary: Summary = Field(default_factory=dict)
    fingerprint: str
    settings: dict[str, dict[str, Any]]
    inputs: dict[str, str]
    outputs: dict[str, FileDigest]
    versions: dict[str, str]
    machine: str
    reused_from: str | None = None

    @property
    def done(self) -> bool:
        """Whether the stage succeeded."""
        return self.status == "done"

    @property
    def executed_by(self) -> str:
        """The key of the run that executed the stage."""
        return self.reused_from or self.run


class RunSettings(Document):
    """`run.json`: what a run was started with. `config` holds the settings by section; `created` is ISO in UTC.

    `id` is what people or Airflow call the run, `recipe` the settings of its recipe before some were replaced, `who`
    the person who started it; versions before 0.2 wrote none of them.
    """

    if_lost: ClassVar[str] = "remove it and start the run again with `snapshot --run`"

    id: str = ""
    config: dict[str, Any]
    recipe: dict[str, Any] = Field(default_factory=dict)
    who: str = ""
    labels: str
    images: str
    created: str


class ResultPointer(Document):
    """Which run executed a stage with a certain fingerprint."""

    if_lost: ClassVar[str] = "remove it: the stage is then computed again"

    run: str


def describe(error: BaseException) -> str:
    """An error for its reader: the message alone for our own errors, with the type for any other."""
    return str(error) if isinstance(error, AgeTasksError) else f"{type(error).__name__}: {error}"


def now() -> str:
    """The time in UTC as ISO, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
