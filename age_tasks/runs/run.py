"""A run: its folder in the store, one record a stage, and how a stage is carried out.

runs/<run key>/run.json               settings and locations, written when the run starts
runs/<run key>/<stage>/stage.json     the stage's record, written last: no record, not finished
runs/<run key>/<stage>/...            the stage's outputs
results/<stage>/<fingerprint>.json    the run that made this result, so that another can reuse it
"""

import contextlib
import hashlib
import json
import logging
import os
import platform
import re
import resource
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from age_tasks.config import Config, config_from_dict
from age_tasks.data.image_folder import ImageFolder
from age_tasks.environment import Locations
from age_tasks.errors import AgeTasksError, MissingInputError, NotFoundError, SettingsError
from age_tasks.registry.approval import answer
from age_tasks.registry.promotions import Promotion, rival
from age_tasks.runs.lock import alone
from age_tasks.store import open_store
from age_tasks.store.base import Store, check_key, file_sha256
from age_tasks.store.disk import disk_full, full_disk_named, is_full

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


class Needs(Protocol):
    """See `age_tasks.stages.Needs`."""

    inputs: tuple[str, ...]
    settings: tuple[str, ...]
    remembers: bool
    compares: bool
    heeds: bool


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

    def rival(self) -> Promotion | None:
        """The version that this run's fine-tuned model has to beat."""
        return rival(self.store, self.finished("finetune")["outputs"]["model.keras"]["sha256"])

    def images(self) -> ImageFolder:
        """The images that the run works on."""
        return ImageFolder(self.settings()["images"], self.cache)

    def previous(self, stage: str, settings: dict | None = None) -> "Run | None":
        """The newest other run in which `stage` succeeded, with these settings if any are given."""
        key = newest_run(self.store, [stage], besides=self.key, settings=settings)
        return Run(key, self.store, self.cache, self.scratch / "previous" / key) if key else None

    def where(self, stage: str, name: str) -> str:
        """The address of a stage's output, for a person."""
        return self.store.where(self._key_of(stage, name, self.record(stage)))

    def full_disks_named(self) -> contextlib.AbstractContextManager[None]:
        """See `full_disk_named`: of the disks that a stage writes to before its outputs go to the store."""
        return full_disk_named({"TMPDIR": self.scratch, "AGE_CACHE": self.cache})

    def _key_of(self, stage: str, name: str, record: Record | None) -> str:
        """A reused stage's outputs stay in the folder of the run that made them."""
        return f"runs/{reused_from(record) or self.key}/{stage}/{name}"


Work = Callable[[Run, Config], Summary]


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


def newest_run(
    store: Store, stages: Sequence[str], besides: str | None = None, settings: dict | None = None
) -> str | None:
    """The key of the run in which all of `stages` succeeded, the last of them most recently; None if there is none.

    Args:
        besides: a run to pass over.
        settings: what the stages must have read, section by section.
    """
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
        if all(record["status"] == "done" and settings in (None, record["settings"]) for record in records):
            newest = max(newest or ("", ""), (max(record["finished"] for record in records), key))
    return newest[1] if newest else None


def carry_out(
    name: str,
    needs: Needs,
    load: Callable[[], Work],
    run: Run,
    config: Config,
    again: bool = False,
) -> Record:
    """Run one stage and put its outputs into the store, its record last; or find that nothing has changed, and reuse.

    A finished stage with the same fingerprint, in this run or another, is reused unless `again`. A stage that fails
    keeps what it wrote (its report, say) with a record that names the error; the error is raised on.

    Args:
        load: gives the stage's function; not called when the stage is reused.
    """
    inputs = {earlier: run.finished(earlier)["fingerprint"] for earlier in needs.inputs}
    if needs.compares:
        inputs["champion"] = entry.version if (entry := run.rival()) else ""
    if needs.heeds:
        inputs["approval"] = answer()
    settings = {section: config.section(section) for section in needs.settings}
    run = replace(run, fingerprint=_fingerprint(name, settings, inputs or {"run": run.key}))
    _make_cache(run.cache)
    with run.full_disks_named(), alone(run.resume):  # who begins the same meanwhile waits, and finds it done
        if needs.inputs and not again and (found := _reusable(name, run.fingerprint, needs.remembers, run)):
            record = _reuse(name, found, run)
        else:
            record = _do(name, load, run, config, settings, inputs)
            run.store.put(_pointer(name, record["fingerprint"]), _json({"run": run.key}))
        shutil.rmtree(run.resume, ignore_errors=True)
    return record


def _do(name: str, load: Callable[[], Work], run: Run, config: Config, settings: dict, inputs: dict) -> Record:
    """Carry the stage out and put its outputs into the store, whatever becomes of it; its record last."""
    run.store.delete(f"runs/{run.key}/{name}/{RECORD}")
    started, clock = _now(), time.perf_counter()
    record: Record = {"stage": name, "run": run.key, "status": "failed", "started": started, "summary": {}}
    try:
        with run.full_disks_named():
            record["summary"] = load()(run, config)
        record |= {"status": "done", "error": None}
    except BaseException as error:
        record["error"] = describe(error)
        raise
    finally:
        outputs, fingerprint = _put_outputs(run, name), run.fingerprint
        if not inputs:  # the first stage reads the world: its result is what it found there
            fingerprint = _fingerprint(name, settings, {output: entry["sha256"] for output, entry in outputs.items()})
        record |= {
            "finished": _now(),
            "seconds": round(time.perf_counter() - clock, 2),
            "peak_memory_gb": round(_peak_memory_bytes() / 1e9, 2),
            "fingerprint": fingerprint,
            "settings": settings,
            "inputs": inputs,
            "outputs": outputs,
            "versions": _versions(),
            "machine": _machine(),
        }
        run.store.put(f"runs/{run.key}/{name}/{RECORD}", _json(record))
    return record


def reused_from(record: Record | None) -> str | None:
    """The key of the run whose result a reused stage stands for; None for one that was carried out."""
    return (record or {}).get("reused_from")


def _reusable(name: str, fingerprint: str, remembers: bool, run: Run) -> Record | None:
    """The record of a finished stage with this fingerprint, if all its outputs are still there."""
    own = run.record(name)
    if own and own["status"] == "done" and own["fingerprint"] == fingerprint:
        key: str | None = run.key
    elif remembers:  # what it wrote last is part of what it reads: only its last result can stand for it
        key = newest_run(run.store, [name])
    else:
        try:
            key = json.loads(run.store.get(_pointer(name, fingerprint)))["run"]
        except NotFoundError:
            key = None
    record = replace(run, key=key).record(name) if key else None
    if not record or record["status"] != "done" or record["fingerprint"] != fingerprint:
        return None
    folder = f"runs/{reused_from(record) or record['run']}/{name}/"
    there = {entry.key.removeprefix(folder): entry.size for entry in run.store.entries(folder)}
    whole = all(there.get(output) == entry["bytes"] for output, entry in record["outputs"].items())
    return record if whole else None


def _reuse(name: str, found: Record, run: Run) -> Record:
    if found["run"] == run.key:
        log.info("stage %s had finished in this run, from the same inputs and settings", name)
        return found
    now = _now()
    first = reused_from(found) or found["run"]
    record = found | {"run": run.key, "reused_from": first, "started": now, "finished": now, "seconds": 0.0}
    run.store.put(f"runs/{run.key}/{name}/{RECORD}", _json(record))
    log.info("stage %s reused from run %s: same inputs, settings and code", name, first)
    return record


def _pointer(name: str, fingerprint: str) -> str:
    return f"results/{name}/{fingerprint}.json"


def describe(error: BaseException) -> str:
    """An error as its reader should see it: the message alone for our own, with the type for any other."""
    return str(error) if isinstance(error, AgeTasksError) else f"{type(error).__name__}: {error}"


def _make_cache(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if is_full(error):
            raise disk_full(folder, "AGE_CACHE") from None
        raise SettingsError(f"AGE_CACHE={folder} can't be a folder: {error.strerror}; choose another") from None


def _put_outputs(run: Run, stage: str) -> dict[str, dict]:
    outputs = {}
    for path in sorted(path for path in run.out.rglob("*") if path.is_file()):
        name = path.relative_to(run.out).as_posix()
        run.store.put(f"runs/{run.key}/{stage}/{name}", path)
        outputs[name] = {"sha256": file_sha256(path), "bytes": path.stat().st_size}
    return outputs


def _fingerprint(name: str, settings: dict, inputs: dict) -> str:
    parts = [name, code_version(), settings, inputs]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@cache
def code_version() -> str:
    """sha256 over everything in the checkout that shapes a result: code, page templates and expectations."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    sources = [*package.rglob("*.py"), *package.rglob("templates/*"), *(package.parent / "expectations").rglob("*.*")]
    for path in sorted(sources):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in RECORDED_PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


@cache
def _machine() -> str:
    """Processor, cores and GPUs of this machine, such as `Linux x86_64, AMD EPYC 7763, 2 cores`."""
    processor, gpus = platform.processor(), []
    with contextlib.suppress(OSError):
        processor = _value("model name", Path("/proc/cpuinfo").read_text()) or processor
        gpus = [_value("Model", each.read_text()) for each in Path("/proc/driver/nvidia/gpus").glob("*/information")]
    parts = [f"{platform.system()} {platform.machine()}", processor, f"{os.cpu_count()} cores", *gpus]
    return ", ".join(part for part in parts if part)


def _value(name: str, text: str) -> str:
    """What stands behind `name:` in a file of /proc."""
    found = re.search(rf"^{name}\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else ""


def _peak_memory_bytes() -> int:
    """The most memory this process has held at once. (`ru_maxrss` would include the parent it was forked from.)"""
    try:
        (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    except OSError:  # not Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _json(value: dict) -> bytes:
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError as error:  # half a character: of a setting, or of an address that is not UTF-8
        raise SettingsError(f"{text[max(error.start - 40, 0) : error.end]!r}: this can't be written as UTF-8") from None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
