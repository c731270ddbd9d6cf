"""Records of stages that were never executed."""

from age_tasks.runs.index import announce_record
from age_tasks.runs.keys import record_file
from age_tasks.runs.records import StageRecord
from age_tasks.store.base import Store


def stage_record(stage: str, run: str, **fields: object) -> StageRecord:
    """A record of a stage that succeeded, with these fields."""
    time = "2026-11-22T10:16:00.000+00:00"
    plain: dict[str, object] = {"stage": stage, "run": run, "status": "done", "started": time, "finished": time}
    plain |= {"seconds": 1.5, "peak_memory_gb": 0.2, "fingerprint": "0" * 64, "settings": {}, "inputs": {}}
    return StageRecord.model_validate(plain | {"outputs": {}, "versions": {}, "machine": "test"} | fields)


def put_record(store: Store, stage: str, run: str, **fields: object) -> StageRecord:
    """Write such a record as the runner does."""
    record = stage_record(stage, run, **fields)
    announce_record(store, record)
    store.put(record_file(run, stage), record.to_bytes())
    return record
