"""How a stage is executed, recorded and reused."""

import logging
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from age_tasks.config import Config
from age_tasks.errors import DamagedError, NotFoundError, SettingsError
from age_tasks.runs.handover import hand_over
from age_tasks.runs.index import announce_record
from age_tasks.runs.keys import record_file, result_file, stage_folder
from age_tasks.runs.listing import newest_run
from age_tasks.runs.live_status import shared_status
from age_tasks.runs.lock import exclusive
from age_tasks.runs.provenance import fingerprint_of, machine, peak_memory_bytes, versions
from age_tasks.runs.records import ResultPointer, StageRecord, Summary, describe, now
from age_tasks.runs.run import StoredRun, Workspace, record_of
from age_tasks.stopwatch import Stopwatch, timed
from age_tasks.store.base import file_sha256
from age_tasks.store.disk import disk_full, is_full
from age_tasks.store.documents import FileDigest

log = logging.getLogger(__name__)

StageFunction = Callable[[Workspace, Config], Summary]


@dataclass(frozen=True)
class Needs:
    """What a stage's result depends on, known without importing the stage.

    Args:
        inputs: earlier stages.
        settings: sections of the settings.
        code: files and folders that shape its result, relative to the package `age_tasks`; no other code counts.
        extra: further inputs by name: each a function of the run and the settings that gives a text, which becomes part
            of the fingerprint; where it gives None, there is no such input.
        precondition: called before the stage is executed or reused, unless it is asked for `again`; it raises where
            the stage shall not start.
        afterwards: called with the record of the stage when it has finished, executed or reused.
        check: called before the stage is executed, also if it is asked for `again`; it raises where the settings can't
            work. It shapes no result.
        follows_previous: whether the stage also reads what it wrote last, in whichever run that was, and what it wrote
            in this run before.
    """

    inputs: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    extra: Mapping[str, Callable[[StoredRun, Config], str | None]] = field(default_factory=dict)
    precondition: Callable[[Workspace, Config], None] | None = None
    afterwards: Callable[[StoredRun, StageRecord], None] | None = None
    check: Callable[[Workspace, Config], None] | None = None
    follows_previous: bool = False


@dataclass(frozen=True)
class _Task:
    """A stage with what its fingerprint is made of: settings by section, inputs by name."""

    name: str
    needs: Needs
    settings: dict[str, dict[str, Any]]
    inputs: dict[str, str]

    def fingerprint(self, inputs: dict[str, str]) -> str:
        return fingerprint_of(self.name, self.needs.code, self.settings, inputs)


def execute_stage(
    name: str,
    needs: Needs,
    load: Callable[[], StageFunction],
    run: Workspace,
    config: Config,
    again: bool = False,
) -> StageRecord:
    """Execute one stage and put its outputs into the store, its record last; or reuse a result that still holds.

    A finished stage with the same fingerprint, in this run or another, is reused unless `again`. A stage that fails
    keeps what it wrote (its report, say) with a record that names the error; the error is raised again.

    Args:
        load: gives the stage's function; not called when the stage is reused.
    """
    inputs = {earlier: run.require_record(earlier).fingerprint for earlier in needs.inputs}
    if needs.precondition and not again:
        needs.precondition(run, config)
    task = _task(name, needs, inputs, run, config)
    fingerprint = task.fingerprint(task.inputs or {"run": run.key})
    run = replace(run, fingerprint=fingerprint, inputs=task.inputs, again=again)
    make_cache(run.cache)
    # A second run that reaches the same stage waits here, and reuses the result of the first.
    with run.full_disks_named(), exclusive(run.checkpoint_dir.with_suffix(".lock")):
        record = _carry_out(task, load, run, config)
        shutil.rmtree(run.checkpoint_dir, ignore_errors=True)
    if needs.afterwards:
        needs.afterwards(run, record)
    return record


def _carry_out(task: _Task, load: Callable[[], StageFunction], run: Workspace, config: Config) -> StageRecord:
    """Reuse a result, or execute the stage; the run's own result, which is replaced, stays with runs that reuse it."""
    own = _own_record(task, run)
    found = _reusable(task, own, run) if task.needs.inputs and not run.again else None
    if found and found.run == run.key:
        log.info("stage %s had finished in this run, from the same inputs and settings", found.stage)
        return found
    if own and own.done and not own.reused_from:
        hand_over(own, run.store, run.scratch / "handover")
    return _reuse(found, run) if found else _execute(task, load, replace(run, replaced=own), config)


def would_be_reused(stages: Mapping[str, Needs], run: Workspace, config: Config) -> bool:
    """Whether none of these stages would be executed now, since results of earlier runs still hold.

    Args:
        stages: by name, in their order; one may be an input of the next.

    Raises:
        MissingInputError: an input that is none of these stages has not finished.
    """
    foreseen: dict[str, str] = {}
    for name, needs in stages.items():
        inputs = {earlier: foreseen.get(earlier) or run.require_record(earlier).fingerprint for earlier in needs.inputs}
        task = _task(name, needs, inputs, run, config)
        foreseen[name] = task.fingerprint(task.inputs)
        if not _reusable(task, run.record(name), replace(run, fingerprint=foreseen[name])):
            return False
    return True


def _task(name: str, needs: Needs, inputs: Mapping[str, str], run: StoredRun, config: Config) -> _Task:
    """A stage whose earlier stages have these fingerprints."""
    extra = {each: read(run, config) for each, read in needs.extra.items()}
    settings = {section: config.section(section) for section in needs.settings}
    return _Task(name, needs, settings, {**inputs, **{each: text for each, text in extra.items() if text is not None}})


def _execute(task: _Task, load: Callable[[], StageFunction], run: Workspace, config: Config) -> StageRecord:
    """Execute the stage; whether it succeeds or fails, put its outputs into the store, its record last."""
    run.store.delete(record_file(run.key, task.name))
    started, clock, watch = now(), time.perf_counter(), Stopwatch()
    summary: Summary = {}
    error: str | None = "interrupted"
    try:
        with run.full_disks_named():
            if task.needs.check:
                task.needs.check(run, config)
            with shared_status(run.store, run.key, task.name):
                execute = load()
                watch.started()
                summary = execute(run, config)
        error = None
    except BaseException as raised:
        error = describe(raised)
        raise
    finally:
        outputs, fingerprint = _put_outputs(run, task.name), run.fingerprint
        if not task.inputs:  # the first stage reads the outside world: its result is what it found there
            fingerprint = task.fingerprint({name: output.sha256 for name, output in outputs.items()})
        record = StageRecord(
            stage=task.name,
            run=run.key,
            status="done" if error is None else "failed",
            error=error,
            started=started,
            finished=now(),
            seconds=round(time.perf_counter() - clock, 2),
            parts=watch.seconds(),
            peak_memory_gb=round(peak_memory_bytes() / 1e9, 2),
            summary=summary,
            fingerprint=fingerprint,
            settings=task.settings,
            inputs=task.inputs,
            outputs=outputs,
            versions=versions(),
            machine=machine(),
        )
        _put_record(record, run)
    run.store.put(result_file(task.name, record.fingerprint), ResultPointer(run=run.key).to_bytes())
    return record


def _own_record(task: _Task, run: Workspace) -> StageRecord | None:
    """The record that the run has of the stage by now; None if it has none. The first stage is reused by no run.

    Raises:
        DamagedError: it can't be read; not where nothing that is stored shall be reused.
    """
    if not task.needs.inputs:
        return None
    try:
        return run.record(task.name)
    except DamagedError:
        if run.again:
            return None
        raise


def _reusable(task: _Task, own: StageRecord | None, run: Workspace) -> StageRecord | None:
    """The record of a finished stage with this fingerprint, if all its outputs are still in the store.

    Args:
        own: the record that the run has of the stage.
    """
    if own and own.done and own.fingerprint == run.fingerprint:
        key: str | None = run.key
    elif task.needs.follows_previous:  # its last result is one of its inputs: only that can be reused
        key = newest_run(run.store, [task.name])
    else:
        key = _executed_before(task.name, run)
    record = record_of(run.store, key, task.name) if key else None
    if not record or not record.done or record.fingerprint != run.fingerprint:
        return None
    folder = stage_folder(record.executed_by, task.name)
    sizes = {entry.key.removeprefix(folder): entry.size for entry in run.store.entries(folder)}
    complete = all(sizes.get(name) == output.bytes for name, output in record.outputs.items())
    return record if complete else None


def _executed_before(name: str, run: Workspace) -> str | None:
    key = result_file(name, run.fingerprint)
    try:
        return ResultPointer.parse(run.store.get(key), run.store.where(key)).run
    except NotFoundError:
        return None


def _reuse(found: StageRecord, run: Workspace) -> StageRecord:
    """Record that the run reuses what another one has."""
    time_of_reuse = now()
    record = found.model_copy(
        update={
            "run": run.key,
            "reused_from": found.executed_by,
            "started": time_of_reuse,
            "finished": time_of_reuse,
            "seconds": 0.0,
            "parts": {},
        }
    )
    _put_record(record, run)
    log.info("stage %s reused from run %s: same inputs, settings and code", found.stage, record.reused_from)
    return record


def _put_record(record: StageRecord, run: Workspace) -> None:
    content = record.to_bytes()
    announce_record(run.store, record)
    run.store.put(record_file(run.key, record.stage), content)


def make_cache(folder: Path) -> None:
    """Make the folder of the cache, if there is none.

    Raises:
        SettingsError: there can be none of this name.
        DiskFullError: its disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if is_full(error):
            raise disk_full(folder, "AGE_CACHE") from None
        raise SettingsError(f"AGE_CACHE={folder} can't be a folder: {error.strerror}; choose another") from None


@timed("output")
def _put_outputs(run: Workspace, stage: str) -> dict[str, FileDigest]:
    outputs = {}
    for path in sorted(path for path in run.output_dir.rglob("*") if path.is_file()):
        name = path.relative_to(run.output_dir).as_posix()
        run.store.put(stage_folder(run.key, stage) + name, path)
        outputs[name] = FileDigest(sha256=file_sha256(path), bytes=path.stat().st_size)
    return outputs
