"""The DAG `age_retraining` in a real Airflow with a database of its own."""

import json
from pathlib import Path
from typing import Any

import pytest

from age_tasks.demo.synthetic_faces import Sample
from age_tasks.environment import Locations
from age_tasks.pipeline import PIPELINE, STAGES
from age_tasks.runs.records import StageRecord
from age_tasks.runs.run import open_run
from age_tasks.training.feature_cache import stored_shards
from tests.support.airflow import AirflowProcess, airflow_command, run_program
from tests.support.settings import QUICK


@pytest.fixture(scope="module")
def dag(airflow: dict[str, str]) -> dict[str, Any]:
    """What Airflow reads in the folder `dags`; see the program."""
    return inspected(airflow)


@pytest.fixture(scope="module")
def shared_dag(airflow: dict[str, str]) -> dict[str, Any]:
    """The same where three workers share the work."""
    return inspected(airflow | {"AGE_WORKERS": "3"})


def inspected(env: dict[str, str]) -> dict[str, Any]:
    done = run_program(env, "inspect_dags")
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_every_task_is_followed_by_the_next(dag: dict[str, Any]):
    assert dag["errors"] == {}
    tasks = [*STAGES[:-1], "approve", STAGES[-1]]
    assert dag["order"] == tasks
    pairs = zip(tasks, [*tasks[1:], None], strict=True)
    assert dag["edges"] == {task: [following] if following else [] for task, following in pairs}


def test_workers_have_tasks_of_their_own_before_the_stages_whose_work_they_do(
    dag: dict[str, Any], shared_dag: dict[str, Any]
):
    assert (dag["shares"], shared_dag["errors"]) == ({}, {})
    order = [*STAGES[:-1], "approve", STAGES[-1]]
    order.insert(order.index("baseline"), "features")
    assert shared_dag["order"] == ["probe", *order]
    assert [shared_dag["edges"][task] for task in ("probe", "split", "features")] == [
        ["snapshot"], ["features"], ["baseline"]
    ]  # fmt: skip
    for tasks in shared_dag["shares"].values():
        assert [env["AGE_SHARE"] for env in tasks] == ["1/3", "2/3", "3/3"]
        assert len({json.dumps(env | {"AGE_SHARE": ""}) for env in tasks}) == 1
    rows = [line.split(" | ")[0] for line in shared_dag["doc"].splitlines() if line.startswith("|")]
    assert rows[2:] == [f"| {task}" for task in shared_dag["order"]]


def test_only_workers_that_compute_features_take_a_place_in_the_pool(shared_dag: dict[str, Any]):
    assert (shared_dag["pools"]["probe"], shared_dag["pools"]["features"]) == ("default_pool", "gpu")
    assert (shared_dag["retries"]["probe"], shared_dag["retries"]["features"]) == (4, 4)
    assert shared_dag["fail_at_once"]["probe"]  # where a retry can't help
    assert shared_dag["fail_at_once"]["features"]


def test_workers_know_the_labels_of_the_form_and_read_again_in_place_of_the_snapshot(
    dag: dict[str, Any], shared_dag: dict[str, Any]
):
    assert "params.labels" in shared_dag["shares"]["probe"][0]["AGE_LABELS"]
    assert (dag["probed_again"], shared_dag["probed_again"]) == ("true", "false")


def test_the_dag_is_documented_and_runs_one_at_a_time(dag: dict[str, Any]):
    assert dag["owners"] == ["age-team"]
    assert "training" in dag["tags"]
    assert all(dag["docs"][stage] for stage in STAGES)
    assert (dag["active"], dag["catchup"]) == (1, False)
    assert dag["start"] == "None"  # one in the past would start a run when the DAG is turned on
    assert dag["outlets"] == {"publish": ["age_champion_promoted"]}


def test_the_table_of_the_documentation_is_that_of_the_pipeline(dag: dict[str, Any]):
    rows = [line for line in dag["doc"].splitlines() if line.startswith("|")]
    assert rows[0] == "| task | what it does | when it fails |"
    assert [row.split(" | ")[0] for row in rows[2:]] == [f"| {task}" for task in dag["order"]]
    for name, stage in PIPELINE.items():
        assert f"| {name} | {stage.does} | {stage.when_it_fails} |" in rows


def test_gpu_stages_are_those_of_the_pipeline(dag: dict[str, Any]):
    assert {task for task, pool in dag["pools"].items() if pool == "gpu"} == {
        name for name, stage in PIPELINE.items() if stage.gpu
    }


def test_the_form_has_sections_and_no_mandatory_field(dag: dict[str, Any]):
    sections = list(dict.fromkeys(field.get("section") for field in dag["form"].values()))
    assert sections[:3] == [None, "Training (empty: the value of the recipe)", "Promotion"]
    assert {name: value for name, value in dag["defaults"].items() if value is not None and "." in name} == {}
    assert dag["defaults"]["require_approval"] is False
    assert dag["defaults"]["images"] == ""  # not beside the labels of today: the form may name others


def test_no_task_carries_a_copy_of_the_form(dag: dict[str, Any], shared_dag: dict[str, Any]):
    """Airflow would validate each copy several times whenever it serialises the DAG, and whenever the task ends."""
    assert dag["copied"] == shared_dag["copied"] == {"approve": ["comment"]}


def test_the_form_has_the_bounds_of_the_settings(dag: dict[str, Any]):
    size, rate, policy = (dag["form"][name] for name in ("model.image_size", "baseline.learning_rate", "gate.policy"))
    assert (size["type"], size["minimum"], size["maximum"]) == (["null", "string", "integer"], 32, 1024)
    assert (rate["type"], rate["exclusiveMinimum"], rate["maximum"]) == (["null", "string", "number"], 0, 1)
    assert policy["enum"] == [None, "better", "not_worse"]
    assert policy["values_display"] == {"null": "the value of the recipe"}
    assert set(dag["refused"].values()) == {"ParamValidationError"}
    assert dag["accepted"] == [None] * 3


def test_the_answer_of_a_person_reaches_publish(dag: dict[str, Any]):
    assert dag["approvals"]["not asked"] == dag["approvals"]["not required"] == {"asked": False}
    assert dag["approvals"]["no answer"] == {"asked": True}  # the task was marked as done: nothing was approved


def test_parsing_takes_less_than_a_second_and_imports_nothing_heavy(dag: dict[str, Any]):
    assert dag["parsing"] < 1  # of the processor's time, for all files
    assert dag["heavy"] == []


def test_every_task_is_retried_since_its_store_may_be_away(dag: dict[str, Any]):
    assert dag["retries"] == dict.fromkeys(dag["order"], 4)


def test_values_of_the_form_reach_the_environment_and_no_shell_line(dag: dict[str, Any]):
    env = dag["env"]
    assert env["AGE_LABELS"] == "$(touch /tmp/x); 'l.csv'"
    form = {"finetune.epochs": 3, "split.seed": 7, "gate.policy": "not_worse"}
    assert json.loads(env["AGE_SET"]) == form | {"finetune.seed": 7, "evaluate.seed": 8}
    assert (env["AGE_RUN"], env["AGE_RECIPE"], env["AGE_IMAGES"], env["AGE_AGAIN"]) == (
        "manual__2026",
        "demo",
        "",
        "false",
    )
    assert dag["command"].endswith("-m age_tasks snapshot")


def test_an_emptied_field_means_what_the_form_says(dag: dict[str, Any], sample: Sample):
    assert (dag["emptied"]["AGE_LABELS"], dag["emptied"]["AGE_IMAGES"]) == (str(sample.labels), "")


def test_a_task_by_hand_has_no_run_and_is_executed_again(dag: dict[str, Any]):
    assert (dag["by_hand"]["AGE_RUN"], dag["by_hand"]["AGE_AGAIN"]) == ("", "true")


@pytest.fixture(scope="module")
def dag_run(airflow: dict[str, str]) -> str:
    """The whole DAG, once, by Airflow's own command; returns the key of the run."""
    done = airflow_command(airflow, "dags", "test", "age_retraining", "-c", json.dumps({"settings": QUICK}))
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    (key,) = [path.name for path in (Path(airflow["AGE_STORE"]) / "runs").iterdir()]
    return key


def test_workers_do_the_heavy_part_of_a_run(airflow_process: AirflowProcess, tmp_path: Path):
    places = {"AGE_STORE": str(tmp_path / "store"), "AGE_CACHE": str(tmp_path / "cache"), "AGE_WORKERS": "2"}
    later = "|".join([*STAGES[STAGES.index("baseline") :], "approve"])
    run = airflow_process.call(
        "runs.run_dag", places, dag_id="age_retraining", conf={"settings": QUICK}, finished=f"^({later})$"
    )
    assert run["state"] == "success", airflow_process.output()[-4000:]
    (key,) = [path.name for path in (tmp_path / "store" / "runs").iterdir()]
    snapshot, probed, computed = records(places, key)["snapshot"], run["results"]["probe"], run["results"]["features"]
    assert snapshot
    assert snapshot.summary["images_read"] == 0
    assert [each["share"] for each in probed] == [each["share"] for each in computed] == ["1/2", "2/2"]
    assert sum(each["images"] for each in probed) == snapshot.summary["images"]
    rows = [(shard.index.parent, key) for shard in stored_shards(tmp_path / "cache") for key in shard.keys]
    assert len(rows) == len(set(rows)) == 2 * sum(each["computed"] for each in computed)  # at two cuts


def test_names_that_nothing_reads_fail_the_workers_of_a_run(airflow_process: AirflowProcess, tmp_path: Path):
    env = {"AGE_STORE": str(tmp_path), "AGE_WORKERS": "2"}
    run = airflow_process.call("runs.run_dag", env, dag_id="age_retraining", conf={"epochs": 3})
    assert (run["tasks"]["probe"], run["tasks"]["snapshot"]) == ("failed", "upstream_failed")
    assert list(tmp_path.iterdir()) == []


def records(env: dict[str, str], key: str) -> dict[str, StageRecord | None]:
    with open_run(key, Locations.from_env(env)) as run:
        return {stage: run.record(stage) for stage in STAGES}


def test_the_dag_goes_from_labels_to_a_report(airflow: dict[str, str], dag_run: str):
    found = records(airflow, dag_run)
    assert {stage: record and record.status for stage, record in found.items()} == dict.fromkeys(STAGES, "done")
    assert (Path(airflow["AGE_STORE"]) / "reports" / f"{dag_run}.html").exists()


def test_single_stages_run_by_tasks_test(airflow: dict[str, str], airflow_process: AirflowProcess, dag_run: str):
    """All but the trainings, whose tasks differ from that of evaluate by the stage's name alone."""
    stages = [stage for stage in STAGES[1:] if stage not in {"baseline", "finetune"}]
    before = records(airflow, dag_run)
    airflow_process.call("runs.execute_tasks", dag_id="age_retraining", tasks=stages)
    after = records(airflow, dag_run)
    for stage in stages:  # a failure is no error of tasks test: the record tells
        earlier, later = before[stage], after[stage]
        assert earlier
        assert later
        assert later.status == "done", airflow_process.output()[-3000:]
        assert later.started > earlier.finished


def test_a_snapshot_by_tasks_test_starts_a_run(airflow: dict[str, str], airflow_process: AirflowProcess, dag_run: str):
    airflow_process.call("runs.execute_tasks", dag_id="age_retraining", tasks=["snapshot"])
    keys = {path.name for path in (Path(airflow["AGE_STORE"]) / "runs").iterdir()}
    (new,) = keys - {dag_run}
    snapshot = records(airflow, new)["snapshot"]
    assert snapshot
    assert snapshot.status == "done"


def test_names_that_nothing_reads_fail_the_run_before_anything_is_computed(
    airflow_process: AirflowProcess, tmp_path: Path
):
    conf = {"finetune.seed": 7, "epochs": 3, "labls": "x"}
    run = airflow_process.call("runs.run_dag", {"AGE_STORE": str(tmp_path)}, dag_id="age_retraining", conf=conf)
    assert (run["state"], run["tasks"]["snapshot"], run["tasks"]["validate"]) == ("failed", "failed", "upstream_failed")
    says = "no field or setting is called 'epochs'. Did you mean baseline.epochs or finetune.epochs?; "
    assert f"conf: {says}no field or setting is called 'labls'. Did you mean labels?; " in airflow_process.output()
    assert list(tmp_path.iterdir()) == []


def test_invalid_labels_fail_the_run_and_leave_their_page(airflow_process: AirflowProcess, tmp_path: Path):
    env = {"AGE_STORE": str(tmp_path / "store")}
    conf = {"settings": {"validate.max_quarantine_fraction": 0.01}}
    run = airflow_process.call("runs.run_dag", env, dag_id="age_retraining", conf=conf)
    assert run["state"] == "failed"
    assert (run["tasks"]["snapshot"], run["tasks"]["validate"], run["tasks"]["split"]) == (
        "success",
        "failed",
        "upstream_failed",
    )
    (key,) = [path.name for path in (tmp_path / "store" / "runs").iterdir()]
    found = records(env, key)
    assert found["validate"]
    assert found["validate"].status == "failed"
    assert found["split"] is None
    assert (tmp_path / "store" / "runs" / key / "validate" / "index.html").exists()
