"""A run: its folder in the store, one record a stage, and how a stage is carried out.

runs/<run key>/run.json               settings and locations, written when the run starts
runs/<run key>/<stage>/stage.json     the stage's record, written last: no record, not finished
runs/<run key>/<stage>/...            the stage's outputs
results/<stage>/<fingerprint>.json    the run that made this result, so that another can reuse it
"""

import contextlib
import json
import logging
import re
import secrets
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from age_tasks.config import Config, config_from_stored
from age_tasks.environment import Locations
from age_tasks.errors import MissingInputError, NotFoundError, SettingsError
from age_tasks.runs.records import RECORD, Record, now, reused_from
from age_tasks.store import open_store
from age_tasks.store.base import Store, check_key, file_sha256, to_json
from age_tasks.store.disk import full_disk_named

log = logging.getLogger(__name__)

RUN_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")


def new_run_key(prefix: str = "hand") -> str:
    """A key of its own: UTC time and a random part, such as `hand__20261122T101500Z-3f9c`."""
    return f"{prefix}__{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def safe_run_key(name: str) -> str:
    """An Airflow run id as a folder name: `manual__2026-11-22T10:15:00+00:00` loses `:` and `+`.

    Raises:
        SettingsError: nothing usable is left, or it is longer than 200 characters.
    """
    key = re.sub(r"[^A-Za-z0-9_.-]+", "-", name)
    if not RUN_KEY.fullmatch(key):
        raise SettingsError(f"run '{name}' can't be a folder name: use letters, digits, '_', '.', '-', at most 200")
    return key


@dataclass(frozen=True)
class Run:
    """One retraining. `out` is where the stage being carried out writes its files."""

    key: str
    store: Store
    cache: Path
    scratch: Path
    fingerprint: str = ""  # of the stage being carried out

    @property
    def resume(self) -> Path:
        """A folder for what the stage can go on from if it is cut off; it goes when the stage is done."""
        return self.cache / "unfinished" / self.fingerprint

    @property
    def out(self) -> Path:
        return self.scratch / "out"

    def settings(self) -> dict:
        """`run.json`: keys `config`, `labels`, `images`, `created`.

        Raises:
            MissingInputError: the run was never started.
        """
        try:
            return json.loads(self.store.get(f"runs/{self.key}/run.json"))
        except NotFoundError:
            raise MissingInputError(f"run {self.key} is not in {self.store.url}; start one with 'snapshot'") from None

    def started(self) -> bool:
        """Whether `run.json` is written."""
        return self.store.exists(f"runs/{self.key}/run.json")

    def record(self, stage: str) -> Record | None:
        """The stage's record, or None while it has none."""
        try:
            return json.loads(self.store.get(f"runs/{self.key}/{stage}/{RECORD}"))
        except NotFoundError:
            return None

    def finished(self, stage: str) -> Record:
        """The record of a stage that succeeded.

        Raises:
            MissingInputError: it has not run, or failed.
        """
        record = self.record(stage)
        if record is None or record["status"] != "done":
            state = "has not run" if record is None else f"failed ({record['error']})"
            raise MissingInputError(
                f"run {self.key}: {stage} {state}; run `python -m age_tasks {stage} --run {self.key}`"
            )
        return record

    def input(self, stage: str, name: str) -> Path:
        """A local copy of an earlier stage's output, checked against its recorded sha256.

        Raises:
            MissingInputError: the stage has not finished, has no such output, or the bytes have changed since.
        """
        record = self.finished(stage)
        recorded = record["outputs"].get(name)
        if recorded is None:
            raise MissingInputError(f"run {self.key}: {stage} wrote no {name}")
        path = self.scratch / "in" / stage / check_key(name)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            key = self._key_of(stage, name, record)
            self.store.fetch(key, path)
            if file_sha256(path) != recorded["sha256"]:
                where = self.store.where(key)
                raise MissingInputError(f"{where} is not what {stage} wrote (sha256 differs); run {stage} --again")
        return path

    def read(self, stage: str, name: str) -> bytes:
        """A stage's output, also of one that failed, for a person to look at.

        Raises:
            NotFoundError: the stage has no record yet, or none that lists this output.
        """
        record = self.record(stage)
        if name not in (record or {}).get("outputs", ()):
            raise NotFoundError(f"run {self.key}: {stage} has no output of this name")
        return self.store.get(self._key_of(stage, name, record))

    def where(self, stage: str, name: str) -> str:
        """The address of a stage's output, for a person."""
        return self.store.where(self._key_of(stage, name, self.record(stage)))

    def full_disks_named(self) -> contextlib.AbstractContextManager[None]:
        """See `full_disk_named`: of the disks that a stage writes to before its outputs go to the store."""
        return full_disk_named({"TMPDIR": self.scratch, "AGE_CACHE": self.cache})

    def _key_of(self, stage: str, name: str, record: Record | None) -> str:
        """A reused stage's outputs stay in the folder of the run that made them."""
        return f"runs/{reused_from(record) or self.key}/{stage}/{name}"


@contextlib.contextmanager
def open_run(key: str, locations: Locations) -> Iterator[Run]:
    """The run `key` with a scratch folder that lives as long as the context."""
    with tempfile.TemporaryDirectory(prefix="age-") as scratch:
        run = Run(safe_run_key(key), open_store(locations.store), locations.cache, Path(scratch))
        run.out.mkdir()
        yield run


def start_run(run: Run, config: Config, locations: Locations) -> None:
    """Write `run.json`, which every stage of the run reads its settings from."""
    settings = {
        "config": config.to_dict(),
        "labels": locations.require_labels(),
        "images": locations.images,
        "created": now(),
    }
    run.store.put(f"runs/{run.key}/run.json", to_json(settings))


def run_config(run: Run) -> Config:
    """The settings that the run was started with."""
    return config_from_stored(run.settings()["config"])
