"""A run: its folder in the store, one record a stage, and how a stage is carried out.

runs/<run key>/run.json               settings and locations, written when the run starts
runs/<run key>/<stage>/stage.json     the stage's record, written last: no record, not finished
runs/<run key>/<stage>/...            the stage's outputs
"""

import contextlib
import hashlib
import json
import logging
import platform
import re
import resource
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from age_tasks.config import Config, config_from_dict
from age_tasks.errors import AgeTasksError, MissingInputError, NotFoundError, SettingsError
from age_tasks.images import ImageFolder
from age_tasks.locations import Locations
from age_tasks.store import Store, open_store

log = logging.getLogger(__name__)

Summary = dict[str, Any]
Record = dict[str, Any]

RECORD = "stage.json"
RUN_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")
RECORDED_PACKAGES = (
    "tensorflow-cpu",
    "tensorflow",
    "keras",
    "numpy",
    "pandas",
    "scikit-learn",
    "great-expectations",
)


class Stage(Protocol):
    """What every module in `age_tasks.stages` offers."""

    INPUTS: Sequence[str]  # the earlier stages it reads
    SETTINGS: Sequence[str]  # the sections of the settings it reads

    def run(self, run: "Run", config: Config) -> Summary: ...


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

    def record(self, stage: str) -> Record | None:
        """The stage's record, or None while it has none."""
        try:
            return json.loads(self.store.get(self.key_of(stage, RECORD)))
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
        recorded = self.finished(stage)["outputs"].get(name)
        if recorded is None:
            raise MissingInputError(f"run {self.key}: {stage} wrote no {name}")
        path = self.scratch / "in" / stage / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            self.store.fetch(self.key_of(stage, name), path)
            if _sha256(path) != recorded["sha256"]:
                where = self.store.where(self.key_of(stage, name))
                raise MissingInputError(f"{where} is not what {stage} wrote (sha256 differs); run {stage} again")
        return path

    def images(self) -> ImageFolder:
        """The images that the run works on."""
        return ImageFolder(self.settings()["images"], self.cache)

    def previous(self, stage: str) -> "Run | None":
        """The newest other run in which `stage` succeeded."""
        key = newest_run(self.store, [stage], besides=self.key)
        return Run(key, self.store, self.cache, self.scratch / "previous") if key else None

    def key_of(self, stage: str, name: str) -> str:
        return f"runs/{self.key}/{stage}/{name}"

    def where(self, stage: str, name: str) -> str:
        """The address of a stage's output, for a person."""
        return self.store.where(self.key_of(stage, name))


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
        "created": _now(),
    }
    run.store.put(f"runs/{run.key}/run.json", _json(settings))


def run_config(run: Run) -> Config:
    """The settings that the run was started with."""
    return config_from_dict(run.settings()["config"])


def newest_run(store: Store, stages: Sequence[str], besides: str | None = None) -> str | None:
    """The key of the run in which all of `stages` succeeded, the last of them most recently; None if there is none."""
    recorded: dict[str, set[str]] = {}
    for name in store.list("runs/"):
        parts = name.split("/")
        if len(parts) == 4 and parts[3] == RECORD:
            recorded.setdefault(parts[1], set()).add(parts[2])
    newest = None
    for key, names in recorded.items():
        if key == besides or not names.issuperset(stages):
            continue
        records = [json.loads(store.get(f"runs/{key}/{stage}/{RECORD}")) for stage in stages]
        if all(record["status"] == "done" for record in records):
            newest = max(newest or ("", ""), (max(record["finished"] for record in records), key))
    return newest[1] if newest else None


def carry_out(name: str, stage: Stage, run: Run, config: Config) -> Record:
    """Run one stage and put its outputs into the store, its record last.

    A stage that fails keeps what it wrote (its report, say) with a record that names the error; the error is raised on.
    """
    inputs = {earlier: run.finished(earlier)["fingerprint"] for earlier in stage.INPUTS}
    run.store.delete(run.key_of(name, RECORD))
    started, clock = _now(), time.perf_counter()
    record: Record = {"stage": name, "run": run.key, "status": "failed", "started": started, "summary": {}}
    try:
        summary = stage.run(run, config)
        record |= {"status": "done", "error": None, "summary": summary}
    except BaseException as error:
        record["error"] = describe(error)
        raise
    finally:
        outputs = _put_outputs(run, name)
        settings = {section: config.section(section) for section in stage.SETTINGS}
        record |= {
            "finished": _now(),
            "seconds": round(time.perf_counter() - clock, 2),
            "peak_memory_gb": round(_peak_memory_bytes() / 1e9, 2),
            "fingerprint": _fingerprint(name, settings, inputs, outputs),
            "settings": settings,
            "inputs": inputs,
            "outputs": outputs,
            "versions": _versions(),
            "machine": f"{platform.system()} {platform.machine()}, {platform.processor() or 'cpu'}",
        }
        run.store.put(run.key_of(name, RECORD), _json(record))
    return record


def describe(error: BaseException) -> str:
    """An error as its reader should see it: the message alone for our own, with the type for any other."""
    return str(error) if isinstance(error, AgeTasksError) else f"{type(error).__name__}: {error}"


def _put_outputs(run: Run, stage: str) -> dict[str, dict]:
    outputs = {}
    for path in sorted(path for path in run.out.rglob("*") if path.is_file()):
        name = path.relative_to(run.out).as_posix()
        run.store.put(run.key_of(stage, name), path)
        outputs[name] = {"sha256": _sha256(path), "bytes": path.stat().st_size}
    return outputs


def _fingerprint(name: str, settings: dict, inputs: dict, outputs: dict) -> str:
    """What a stage's result depends on. The first stage, which reads the world, is what it found there."""
    found = {} if inputs else {output: entry["sha256"] for output, entry in outputs.items()}
    parts = [name, code_version(), settings, inputs, found]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@cache
def code_version() -> str:
    """sha256 over the package's source files."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in RECORDED_PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def _peak_memory_bytes() -> int:
    """The most memory this process has held at once. (`ru_maxrss` would include the parent it was forked from.)"""
    try:
        (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    except OSError:  # not Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _json(value: dict) -> bytes:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
