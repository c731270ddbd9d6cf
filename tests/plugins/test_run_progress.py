"""What a run's pages say while the page that somebody asked for is not there."""

import pytest
from age_retraining_plugin.run_progress import progress, step
from age_retraining_plugin.run_state import RunState, TaskState

from age_tasks.pipeline import STAGES
from age_tasks.runs.records import StageRecord
from tests.support.records import stage_record

Records = dict[str, StageRecord]
NO_STORE = "the store s3://age can't be written: access denied"
FAILED = stage_record("split", "run", status="failed", error="too few labels\nfor 10 age bins")


def states(state: str, **tasks: TaskState) -> RunState:
    return RunState(state, tasks)


@pytest.mark.parametrize(
    ("records", "state", "said", "goes_on"),
    [
        (
            {},
            states("failed", snapshot=TaskState("snapshot", "failed", 5, 5, NO_STORE)),
            f"Failed in snapshot. {NO_STORE}",
            False,
        ),
        (
            {},
            states("failed", snapshot=TaskState("snapshot", "failed", 1, 5)),
            "Failed in snapshot. The task's log in Airflow says why.",
            False,
        ),
        (
            {"snapshot": stage_record("snapshot", "run")},
            states(
                "success",
                split=TaskState("split", "skipped", 1, 5, "2 new labels; at least 50 are required"),
                baseline=TaskState("baseline", "skipped"),
            ),
            "Skipped by split. 2 new labels; at least 50 are required",
            False,
        ),
        (
            {},
            states("running", snapshot=TaskState("snapshot", "up_for_retry", 2, 5, NO_STORE)),
            f"No stage of this run has finished; snapshot is waiting to retry, attempt 2 of 5: {NO_STORE}.",
            True,
        ),
        (
            {"split": FAILED},
            states("running", split=TaskState("split", "running", 2, 5)),
            "0 of 8 stages have finished; split is running, attempt 2 of 5.",
            True,
        ),
        ({"split": FAILED}, None, "Stage split failed. too few labels\nfor 10 age bins", False),
        ({}, states("queued"), "No stage of this run has finished; the run is queued.", True),
        ({}, None, "No stage of this run has finished.", True),
        ({}, states("success"), "There is no model report. The run has ended", False),
        (
            {},
            states("running", approve=TaskState("approve", "awaiting_input", 1, 5)),
            "approve is waiting for a person",
            True,
        ),
    ],
)
def test_a_run_without_a_page_says_what_happened_and_whether_it_goes_on(
    records: Records, state: RunState | None, said: str, goes_on: bool
):
    found = progress("model report", "evaluate", STAGES, records, state)
    assert said in f"{found.headline} {found.text}".strip()
    assert found.goes_on == goes_on
    assert [each.stage for each in found.steps] == list(STAGES)


@pytest.mark.parametrize(
    ("record", "task", "state", "remark"),
    [
        (None, None, "not finished", ""),
        (None, TaskState("split", ""), "not started", ""),
        (None, TaskState("split", "upstream_failed"), "not run, since an earlier task failed", ""),
        (None, TaskState("split", "failed", 1, 1, "no such file"), "failed", "no such file"),
        (FAILED, TaskState("split", "failed", 1, 1, "in the log"), "failed", "too few labels"),
        (FAILED, TaskState("split", "running", 2, 5), "running, attempt 2 of 5", ""),
        (stage_record("split", "run"), TaskState("split", "success", 1, 5), "done", ""),
        (stage_record("split", "run"), TaskState("split", "queued", 1, 5), "queued", ""),
    ],
)
def test_a_stage_s_row_is_what_its_record_says_or_what_airflow_says(
    record: StageRecord | None, task: TaskState | None, state: str, remark: str
):
    found = step("split", record, task)
    assert (found.state, found.remark) == (state, remark)
