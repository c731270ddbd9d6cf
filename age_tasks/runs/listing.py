"""Which runs the store holds, and which is the newest."""

from collections.abc import Mapping, Sequence
from typing import Any

from age_tasks.runs.index import RunFacts, StageFacts, run_facts, settings_digest
from age_tasks.runs.keys import RECORD, run_file
from age_tasks.runs.records import RunSettings, StageRecord
from age_tasks.runs.run import Workspace, record_of
from age_tasks.store.base import Store

Settings = dict[str, dict[str, Any]]  # by section
Records = dict[str, dict[str, StageRecord]]  # by run key, by stage


def newest_run(
    store: Store, stages: Sequence[str], besides: str | None = None, settings: Settings | None = None
) -> str | None:
    """The key of the run in which all of `stages` succeeded, the last of them most recently; None if there is none.

    Candidates come from the index, in three requests as a rule; their records decide.

    Args:
        besides: a run to pass over.
        settings: what the stages must have read, section by section.

    Raises:
        DamagedError: a record that could be the newest can't be read.
    """
    digest = None if settings is None else settings_digest(settings)
    found = []
    for run, facts in run_facts(store).items():
        known = [facts.stages.get(stage, StageFacts()) for stage in stages]
        if run != besides and all(each.damaged or (each.done and digest in (None, each.settings)) for each in known):
            found.append((max(_finished(store, run, *each) for each in zip(stages, known, strict=True)), run))
    for _, run in sorted(found, reverse=True):
        records = [record_of(store, run, stage) for stage in stages]
        if all(record and record.done and settings in (None, record.settings) for record in records):
            return run
    return None


def _finished(store: Store, run: str, stage: str, facts: StageFacts) -> str:
    """When the stage finished; of a record that was damaged when it was indexed, as it says now."""
    if not facts.damaged:
        return facts.finished
    record = record_of(store, run, stage)
    return record.finished if record else ""


def previous_run(run: Workspace, stage: str, settings: Settings | None = None) -> Workspace | None:
    """The newest other run in which `stage` succeeded, with these settings if any are given."""
    key = newest_run(run.store, [stage], besides=run.key, settings=settings)
    return run.other(key) if key else None


def started_last(facts: Mapping[str, RunFacts], stage: str) -> list[str]:
    """The keys of the runs with a record of this stage, be it of a failure, the run started last first."""
    found = [(each.created, run) for run, each in facts.items() if stage in each.stages]
    return [run for _, run in sorted(found, reverse=True)]


def runs_in(store: Store) -> tuple[dict[str, str], Records]:
    """When each run was started, as ISO time in UTC, and the records of its stages."""
    created: dict[str, str] = {}
    records: Records = {}
    for key in store.list("runs/"):
        _, run, *rest = key.split("/")
        created.setdefault(run, "")
        if key == run_file(run):
            created[run] = RunSettings.parse(store.get(key), store.where(key)).created
        elif rest[1:] == [RECORD]:
            records.setdefault(run, {})[rest[0]] = StageRecord.parse(store.get(key), store.where(key))
    return created, records
