from pathlib import Path

import pytest

from age_tasks.errors import MissingInputError
from age_tasks.reports.run_summary import newest_started, results, summary_table
from age_tasks.runs.run import StoredRun
from age_tasks.store.base import to_json
from age_tasks.store.files import FileStore
from tests.support.records import put_record, stage_record

SUMMARIES = {
    "validate": {"accepted": 605, "quarantined": 17, "rows": 622},
    "evaluate": {"predict_the_median_mae": 13.31, "baseline_mae": 9.05, "finetune_mae": 7.07},
    "gate": {"verdict": "passed: all 3 rules hold"},
    "publish": {"approval": "approved by ann", "model": "file:///store/registry/versions/monday-0a1b"},
}


def put(run: StoredRun, stage: str, **changed: object) -> None:
    fields = {"seconds": 61.04, "peak_memory_gb": 0.421, "summary": SUMMARIES.get(stage, {})}
    put_record(run.store, stage, run.key, **fields | changed)


@pytest.fixture
def run(tmp_path: Path) -> StoredRun:
    store = FileStore(tmp_path / "store")
    settings = {"config": {}, "labels": "labels.csv", "images": "images", "created": "2026-11-26T10:00:00.000+00:00"}
    store.put("runs/monday/run.json", to_json(settings))
    return StoredRun("monday", store)


def test_the_table_has_seconds_memory_results_and_pages(run: StoredRun):
    for stage in ("validate", "evaluate", "gate"):
        put(run, stage)
    put(run, "publish", outputs={"report.html": {"sha256": "0" * 64, "bytes": 1}})
    lines = summary_table(run).splitlines()
    assert lines[0] == "Run monday"
    assert lines[3].split() == ["validate", "61.0", "0.42"]
    assert lines[7].split() == ["total", "244.2"]
    found = dict(line.split(maxsplit=1) for line in lines if line.startswith(("labels", "gate ", "approval", "report")))
    assert found["labels"] == "605 accepted, 17 quarantined of 622"
    assert found["approval"] == "approved by ann"
    assert found["report"] == run.store.where("runs/monday/publish/report.html")


def test_reused_and_failed_stages_are_marked(run: StoredRun):
    put(run, "snapshot", reused_from="sunday", seconds=0.0)
    put(run, "validate", status="failed", error="too many rows\nmore", summary={})
    reused, failed = summary_table(run).splitlines()[3:5]
    assert reused.split() == ["snapshot", "0.0", "reused", "from", "sunday"]
    assert failed.endswith("FAILED: too many rows")


def test_results_are_those_of_the_stages_so_far():
    record = stage_record("evaluate", "monday", summary=SUMMARIES["evaluate"])
    assert dict(results({"evaluate": record})) == {
        "test MAE (years)": "predict the median 13.31 → baseline 9.05 → fine-tuned 7.07"
    }
    assert dict(results({})) == {}


def test_without_a_run_there_is_no_summary(tmp_path: Path):
    store = FileStore(tmp_path / "store")
    with pytest.raises(MissingInputError, match="no run in"):
        newest_started(store)
    with pytest.raises(MissingInputError, match="run monday"):
        summary_table(StoredRun("monday", store))
