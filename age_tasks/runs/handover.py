"""Outputs that are about to be replaced go to the runs that reuse them.

A reused result stays in the folder of the run that made it. Where that run executes the stage once more, or reuses
another result with other settings, code or labels, the earlier outputs move to the first run that reuses them, and the
others refer to that one.
"""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from age_tasks.errors import DamagedError, NotFoundError
from age_tasks.runs.index import StageFacts, announce_record, run_facts
from age_tasks.runs.keys import record_file, result_file, stage_folder
from age_tasks.runs.records import ResultPointer, StageRecord
from age_tasks.runs.run import record_of
from age_tasks.store.base import Store, check_key, file_sha256

log = logging.getLogger(__name__)


def hand_over(made: StageRecord, store: Store, scratch: Path) -> None:
    """Make the runs that reuse a result independent of the run that made it. Where none does, it reads the index only.

    Outputs that are lost or damaged stay where they are, since executing the stage once more may bring them back.

    Args:
        made: the record of the result, of the run that executed the stage.
        scratch: an empty folder, or one to be made, for one output at a time.
    """
    reusing = sorted(_records_reusing(made, store), key=lambda record: record.finished)
    if not reusing:
        return
    first, *others = reusing
    if problem := _copy_outputs(made, first.run, store, scratch):
        runs = ", ".join(record.run for record in reusing)
        log.warning("%s: it is not kept for the runs that reuse it: %s", problem, runs)
        return
    own: dict[str, Any] = {"reused_from": None, "seconds": made.seconds, "parts": made.parts}
    changed = [first.model_copy(update=own), *(each.model_copy(update={"reused_from": first.run}) for each in others)]
    for record in changed:
        announce_record(store, record)
        store.put(record_file(record.run, record.stage), record.to_bytes())
    if store.exists(pointer := result_file(made.stage, made.fingerprint)):
        store.put(pointer, ResultPointer(run=first.run).to_bytes())
    log.info("the earlier result of %s is now that of run %s, which reuses it", made.stage, first.run)


def _records_reusing(made: StageRecord, store: Store) -> Iterator[StageRecord]:
    """The records of the runs that reuse a result. They finished after it was made."""
    for run, facts in run_facts(store).items():
        stage = facts.stages.get(made.stage, StageFacts())
        if run == made.run or not (stage.damaged or (stage.done and stage.finished >= made.finished)):
            continue
        with contextlib.suppress(DamagedError):  # it reuses nothing that can be read
            record = record_of(store, run, made.stage)
            if record and record.reused_from == made.run:
                yield record


def _copy_outputs(made: StageRecord, run: str, store: Store, scratch: Path) -> str:
    """Copy the outputs of a result into the folder of another run, until one is lost or damaged.

    Returns:
        What is wrong with that one; empty if all were copied.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    for name, output in made.outputs.items():
        key, copy = stage_folder(made.run, made.stage) + check_key(name), scratch / "output"
        try:
            store.fetch(key, copy)
        except NotFoundError:
            return f"{store.where(key)} is gone"
        if file_sha256(copy) != output.sha256:
            return f"{store.where(key)} is not what {made.stage} wrote (sha256 differs)"
        store.put(stage_folder(run, made.stage) + name, copy)
    return ""
