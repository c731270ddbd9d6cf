"""How a stage is executed, recorded and reused."""

import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from age_tasks.config import Config
from age_tasks.errors import AgeTasksError, NotFoundError, SettingsError
from age_tasks.runs.listing import newest_run
from age_tasks.runs.lock import alone
from age_tasks.runs.provenance import fingerprint_of, machine, peak_memory_bytes, versions
from age_tasks.runs.records import RECORD, Record, Summary, now, reused_from
from age_tasks.runs.run import Run
from age_tasks.store.base import file_sha256, to_json
from age_tasks.store.disk import disk_full, is_full

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Needs:
    """What a stage's result depends on, known without importing the stage.

    Args:
        inputs: earlier stages.
        settings: sections of the settings.
        code: files and folders that shape its result, relative to the package `age_tasks`; no other code counts.
        extra: further inputs by name: each a function of the run that gives a text, which becomes part of the
            fingerprint.
        precondition: called before the stage is executed or reused, unless it is asked for `again`; it raises where
            the stage shall not begin.
        follows_previous: whether the stage also reads what it wrote last, in whichever run that was.
    """

    inputs: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    extra: Mapping[str, Callable[[Run], str]] = field(default_factory=dict)
    precondition: Callable[[Run, Config], None] | None = None
    follows_previous: bool = False


Work = Callable[[Run, Config], Summary]


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
    if needs.precondition and not again:
        needs.precondition(run, config)
    inputs |= {name: read(run) for name, read in needs.extra.items()}
    settings = {section: config.section(section) for section in needs.settings}
    run = replace(run, fingerprint=fingerprint_of(name, needs.code, settings, inputs or {"run": run.key}))
    _make_cache(run.cache)
    with run.full_disks_named(), alone(run.resume):  # who begins the same meanwhile waits, and finds it done
        if needs.inputs and not again and (found := _reusable(name, run.fingerprint, needs.follows_previous, run)):
            record = _reuse(name, found, run)
        else:
            record = _do(name, needs.code, load, run, config, settings, inputs)
            run.store.put(_pointer(name, record["fingerprint"]), to_json({"run": run.key}))
        shutil.rmtree(run.resume, ignore_errors=True)
    return record


def _do(
    name: str, code: tuple[str, ...], load: Callable[[], Work], run: Run, config: Config, settings: dict, inputs: dict
) -> Record:
    """Carry the stage out and put its outputs into the store, whatever becomes of it; its record last."""
    run.store.delete(f"runs/{run.key}/{name}/{RECORD}")
    started, clock = now(), time.perf_counter()
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
            fingerprint = fingerprint_of(
                name, code, settings, {output: entry["sha256"] for output, entry in outputs.items()}
            )
        record |= {
            "finished": now(),
            "seconds": round(time.perf_counter() - clock, 2),
            "peak_memory_gb": round(peak_memory_bytes() / 1e9, 2),
            "fingerprint": fingerprint,
            "settings": settings,
            "inputs": inputs,
            "outputs": outputs,
            "versions": versions(),
            "machine": machine(),
        }
        run.store.put(f"runs/{run.key}/{name}/{RECORD}", to_json(record))
    return record


def _reusable(name: str, fingerprint: str, follows_previous: bool, run: Run) -> Record | None:
    """The record of a finished stage with this fingerprint, if all its outputs are still there."""
    own = run.record(name)
    if own and own["status"] == "done" and own["fingerprint"] == fingerprint:
        key: str | None = run.key
    elif follows_previous:  # what it wrote last is part of what it reads: only its last result can stand for it
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
    at = now()
    first = reused_from(found) or found["run"]
    record = found | {"run": run.key, "reused_from": first, "started": at, "finished": at, "seconds": 0.0}
    run.store.put(f"runs/{run.key}/{name}/{RECORD}", to_json(record))
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
