"""The state of a run as Airflow's database and logs hold it."""

import json
import uuid
from pathlib import Path

import pytest
from age_retraining_plugin.run_state import run_state
from fastapi import FastAPI

from age_tasks.pipeline import STAGES, tasks_in_order
from tests.support.airflow_runs import add_run

REASON = "snapshot: 'finetune.epoch' is no setting. Did you mean finetune.epochs?"
pytestmark = pytest.mark.usefixtures("api_server")


@pytest.fixture
def run_id(api_server: FastAPI) -> str:
    """The id of a run that no other test has."""
    return f"run-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of Airflow's logs."""
    from airflow.utils.log.file_task_handler import FileTaskHandler
    from airflow.utils.log.log_reader import TaskLogReader

    handler = FileTaskHandler(str(tmp_path))
    monkeypatch.setattr(TaskLogReader, "log_handler", handler)
    return tmp_path


def write_log(logs: Path, run_id: str, task: str, *messages: dict[str, object]) -> None:
    log = logs / "dag_id=age_retraining" / f"run_id={run_id}" / f"task_id={task}" / "attempt=1.log"
    log.parent.mkdir(parents=True)
    time = {"timestamp": "2026-11-26T07:21:28.164698Z"}
    log.write_text("".join(json.dumps(time | message) + "\n" for message in messages))


def test_a_run_that_airflow_does_not_have_has_no_state():
    assert run_state("age_retraining", "nobody started this", STAGES) is None


def test_tasks_stand_in_the_order_of_the_dag(run_id: str):
    add_run(run_id, "running", {"split": "running", "other": "success", "snapshot": "success"})
    found = run_state("age_retraining", run_id, STAGES)
    assert found
    assert (found.state, found.over, found.stopped_by) == ("running", False, None)
    assert [*found.tasks] == ["snapshot", "split", "other"]
    assert found.tasks["split"].active


def test_the_reason_of_a_skip_is_what_the_task_left(run_id: str):
    add_run(run_id, "success", {"baseline": "skipped", "split": "skipped"}, {"split": {"skipped": "2 new labels"}})
    found = run_state("age_retraining", run_id, STAGES)
    assert found
    assert found.over
    assert found.stopped_by
    assert (found.stopped_by.task, found.stopped_by.reason) == ("split", "2 new labels")


@pytest.mark.parametrize(
    "message",
    [
        {"event": "Task failed with exception", "error_detail": [{"exc_value": REASON}]},
        {
            "event": "Task failed with exception",
            "error_detail": [
                {"exc_value": f"the command ended with exit code 64:\n{REASON}\nA retry of snapshot can't help."}
            ],
        },
        {"event": REASON},
        {"event": "Task exited", "exit_code": REASON},
        {"event": "Skipping task.", "level": "info", "reason": REASON},
    ],
)
def test_the_reason_of_a_failure_or_a_skip_is_in_the_log(run_id: str, logs: Path, message: dict[str, object]):
    add_run(run_id, "failed", {"snapshot": "failed"})
    first = {"level": "error", "event": "an earlier error"}
    last = {"level": "info", "event": "::endgroup::"}
    write_log(logs, run_id, "snapshot", first, {"level": "error", **message}, last)
    found = run_state("age_retraining", run_id, STAGES)
    assert found
    assert found.tasks["snapshot"].reason == REASON
    unseen = run_state("age_retraining", run_id, STAGES, logs=False)
    assert unseen
    assert unseen.tasks["snapshot"].reason == ""


def test_without_a_log_the_reason_is_not_known(run_id: str, logs: Path):
    add_run(run_id, "failed", {"snapshot": "failed"})
    found = run_state("age_retraining", run_id, STAGES)
    assert found
    assert found.tasks["snapshot"].reason == ""


@pytest.mark.parametrize(
    ("states", "told"),
    [
        (["success", "success"], "success"),
        (["success", "running"], "running"),
        (["running", "success"], "running"),
        (["failed", "running"], "failed"),
        (["up_for_retry", "running", "success"], "up_for_retry"),
        (["success", "scheduled"], "scheduled"),
        (["success", "failed", "upstream_failed"], "failed"),
    ],
)
def test_of_a_task_for_several_workers_the_state_that_says_most_counts(run_id: str, states: list[str], told: str):
    add_run(run_id, "running", {"snapshot": "success", "features": states, "probe": ["success"] * 2})
    found = run_state("age_retraining", run_id, tasks_in_order())
    assert found
    assert [*found.tasks] == ["probe", "snapshot", "features"]
    assert (found.tasks["features"].state, found.tasks["probe"].state) == (told, "success")


def test_the_result_of_one_of_several_workers_is_its_own(run_id: str):
    add_run(run_id, "running", {"features": ["success", "running"]}, {"features": {"share": "1/2"}})
    found = run_state("age_retraining", run_id, STAGES)
    assert found
    assert (found.tasks["features"].state, found.tasks["features"].result) == ("running", None)
