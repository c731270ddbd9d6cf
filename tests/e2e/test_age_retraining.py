"""The workflow itself in a whole Airflow: labels arrive, it trains; few more arrive, it waits for others."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import pytest

from age_tasks.demo.synthetic_faces import draw_sample
from age_tasks.environment import Locations
from age_tasks.pipeline import STAGES
from age_tasks.runs.keys import safe_run_key
from age_tasks.runs.run import open_run
from tests.support.airflow import Standalone

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

TRAINING_SECONDS = 900


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, start_airflow: Callable[..., Standalone]) -> Standalone:
    root = tmp_path_factory.mktemp("place")
    return start_airflow(
        AGE_LABELS=str(root / "faces" / "labels.csv"),
        AGE_STORE=str(root / "store"),
        AGE_CACHE=str(root / "cache"),
        AGE_RECIPE="demo",
        AGE_SCHEDULE="none",
        AGE_LABELS_POLL_SECONDS="1",
        AGE_SETTLE_SECONDS="2",
    )


def ended(airflow: Standalone, run: str) -> dict[str, str]:
    """The state of each task when the run is over."""
    path = f"dags/age_retraining/dagRuns/{quote(run, safe='')}"
    airflow.wait(f"end of {run}", lambda: airflow.api(path)["state"] in {"success", "failed"}, TRAINING_SECONDS)
    return airflow.tasks("age_retraining", run)


def overhead(airflow: Standalone, run: str) -> float:
    """Seconds a task that a run took beyond what its stages say that they took."""
    found = airflow.api(f"dags/age_retraining/dagRuns/{quote(run, safe='')}")
    start, end = (datetime.fromisoformat(found[name]).timestamp() for name in ("start_date", "end_date"))
    with open_run(safe_run_key(run), Locations.from_env(airflow.env)) as stages:
        worked = sum(stages.require_record(stage).seconds for stage in STAGES)
    return (end - start - worked) / len(airflow.tasks("age_retraining", run))


def test_labels_that_arrive_are_trained_on_and_too_few_more_are_not(airflow: Standalone):
    draw_sample(Path(airflow.env["AGE_LABELS"]).parent, 110, seed=3)
    (run,) = airflow.wait("run", lambda: airflow.runs("age_retraining"))
    assert run["run_type"] == "asset_triggered"
    assert set(ended(airflow, run["dag_run_id"]).values()) == {"success"}
    seconds = overhead(airflow, run["dag_run_id"])
    print(f"{seconds:.1f} s a task beyond what the stages took")
    assert 0 < seconds < 30

    form = {"logical_date": None, "conf": {"settings": {"data.min_new_labels": 5}}}
    again = airflow.api("dags/age_retraining/dagRuns", form)["dag_run_id"]
    states = ended(airflow, again)
    assert {task for task, state in states.items() if state == "success"} == {"snapshot", "validate"}
    assert {state for task, state in states.items() if task not in {"snapshot", "validate"}} == {"skipped"}
    xcom = airflow.api(
        f"dags/age_retraining/dagRuns/{quote(again, safe='')}/taskInstances/split/xcomEntries/return_value"
    )
    assert "0 new labels since run asset_triggered__" in str(xcom["value"])
    assert len(airflow.runs("age_retraining")) == 2
