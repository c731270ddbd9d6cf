"""The DAG in a real Airflow with a database of its own, in processes of their own."""

import json
from pathlib import Path

import pytest

from age_tasks.environment import Locations
from age_tasks.pipeline import STAGES
from age_tasks.runs.run import open_run
from tests.support.airflow import airflow_command, python
from tests.support.settings import QUICK

INSPECT = """
import json, sys, time, types
from airflow.dag_processing.dagbag import DagBag
started = time.process_time()
bag = DagBag("dags")
parsing = time.process_time() - started
dag = bag.dags["age_retraining"]
first, later = dag.get_task("snapshot"), dag.get_task("split")
params = dag.params.dump() | {"recipe": "demo", "settings": {"finetune.epochs": 3, "split.seed": 7},
    "finetune.epochs": 5, "gate.policy": "not_worse", "labels": "$(touch /tmp/x); 'l.csv'", "images": None}
def refused(name, value):
    try:
        dag.params.get_param(name).resolve(value)
    except Exception as error:
        return type(error).__name__
def rendered(run_id, **by):
    by = by or {"triggering_user_name": None}
    task = dag.get_task("snapshot").prepare_for_execution()
    task.render_template_fields({"params": params, "run_id": run_id, "dag_run": types.SimpleNamespace(**by)})
    return task.env
class Tasks:
    def __init__(self, answer):
        self.answer = answer
    def xcom_pull(self, task_ids):
        return self.answer
def approval(answer, required):
    task = dag.get_task("publish").prepare_for_execution()
    given = {"params": params | {"require_approval": required}, "run_id": "x", "ti": Tasks(answer)}
    task.render_template_fields(given | {"dag_run": types.SimpleNamespace(triggering_user_name=None)})
    return task.env["AGE_APPROVAL"]
pushed = {}
def failure(code):
    from age_retraining_plugin.stage_task import CommandOperator
    task = CommandOperator(task_id=f"t{code}", command="snapshot", env={})
    task.bash_command, task.env = f"echo the reason; exit {code}", {}
    try:
        task.execute({"ti": types.SimpleNamespace(xcom_push=lambda **given: pushed.update({code: given["value"]}))})
    except Exception as error:
        return type(error).__name__
print(json.dumps({
    "errors": {str(k): str(v) for k, v in bag.import_errors.items()},
    "order": [task.task_id for task in dag.topological_sort()],
    "edges": {task.task_id: sorted(task.downstream_task_ids) for task in dag.tasks},
    "retries": {task.task_id: task.retries for task in dag.tasks},
    "docs": {task.task_id: task.doc_md for task in dag.tasks},
    "owners": sorted({task.owner for task in dag.tasks}), "tags": sorted(dag.tags), "doc": dag.doc_md,
    "active": dag.max_active_runs, "catchup": dag.catchup,
    "form": {name: dag.params.get_param(name).schema for name in dag.params}, "filled": dag.params.dump(),
    "refused": [refused(*each) for each in (
        ("finetune.epochs", 0), ("finetune.epochs", 2.5), ("model.image_size", 2000),
        ("baseline.learning_rate", 0), ("gate.policy", "worse"), ("gate.tolerance_years", "much"), ("recipe", "none"),
        ("approval_hours", 0))],
    "taken": [refused(*each) for each in (("finetune.epochs", 1), ("finetune.epochs", None), ("gate.policy", None))],
    "approvals": [approval(*each) for each in (({"asked": False}, True), (None, True), (None, False))],
    "outlets": {task.task_id: [each.name for each in task.outlets] for task in dag.tasks if task.outlets},
    "heavy": sorted({"tensorflow", "keras", "pandas", "great_expectations", "matplotlib"} & set(sys.modules)),
    "parsing": parsing,
    "env": rendered("manual__2026"), "hand": rendered("__airflow_temporary_run_2026__")["AGE_RUN"],
    "command": first.bash_command, "failures": {code: failure(code) for code in (65, 75, 1)}, "pushed": pushed,
}))
"""
TASKS_TEST = """
import sys
from airflow.cli.cli_parser import get_parser
for stage in sys.argv[1:]:
    arguments = get_parser().parse_args(["tasks", "test", "age_retraining", stage, "2026-01-01"])
    arguments.func(arguments)
"""


@pytest.fixture(scope="module")
def dag(airflow: dict[str, str]) -> dict:
    done = python(airflow, INSPECT)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_stages_stand_in_a_row(dag: dict):
    assert dag["errors"] == {}
    tasks = [*STAGES[:-1], "approve", STAGES[-1]]
    assert dag["order"] == tasks
    pairs = zip(tasks, [*tasks[1:], None], strict=True)
    assert dag["edges"] == {task: [following] if following else [] for task, following in pairs}


def test_the_dag_is_documented_and_runs_one_at_a_time(dag: dict):
    assert dag["owners"] == ["age-team"]
    assert "training" in dag["tags"]
    assert "when it fails" in dag["doc"]
    assert all(dag["docs"][stage] for stage in STAGES)
    assert (dag["active"], dag["catchup"]) == (1, False)
    assert dag["outlets"] == {"publish": ["age_champion_promoted"]}


def test_the_form_has_sections_and_asks_for_nothing(dag: dict):
    sections = list(dict.fromkeys(field["section"] for field in dag["form"].values()))
    assert sections == ["Data", "Training (empty: as the recipe says)", "Promotion", "Everything else"]
    assert {name: value for name, value in dag["filled"].items() if value is not None and "." in name} == {}
    assert dag["filled"]["require_approval"] is False


def test_the_form_s_bounds_are_those_of_the_settings(dag: dict):
    size, rate, policy = (dag["form"][name] for name in ("model.image_size", "baseline.learning_rate", "gate.policy"))
    assert (size["type"], size["minimum"], size["maximum"]) == (["null", "integer"], 32, 1024)
    assert (rate["type"], rate["exclusiveMinimum"]) == (["null", "number"], 0)
    assert policy["enum"] == [None, "better", "not_worse"]
    assert policy["values_display"] == {"null": "as the recipe says"}
    assert dag["refused"] == ["ParamValidationError"] * 8
    assert dag["taken"] == [None] * 3


def test_what_a_person_said_reaches_publish(dag: dict):
    not_asked, no_answer, not_required = (json.loads(each) for each in dag["approvals"])
    assert not_asked == not_required == {"asked": False}
    assert no_answer == {"asked": True}  # somebody marked the task as done: nothing was approved


def test_parsing_takes_less_than_a_second_and_imports_nothing_heavy(dag: dict):
    assert dag["parsing"] < 1  # of the processor's time, for all files
    assert dag["heavy"] == []


def test_only_what_a_retry_can_help_is_retried(dag: dict):
    assert {stage for stage, retries in dag["retries"].items() if retries == 0} == {"validate", "split", "gate"}
    assert dag["failures"] == {"65": "AirflowFailException", "75": "AirflowSkipException", "1": "AirflowException"}


def test_too_few_new_labels_skip_and_say_why(dag: dict):
    assert dag["pushed"] == {"75": {"skipped": "the reason"}}


def test_what_people_type_reaches_the_environment_and_no_shell_line(dag: dict):
    assert dag["env"]["AGE_LABELS"] == "$(touch /tmp/x); 'l.csv'"
    assert json.loads(dag["env"]["AGE_SET"]) == {"finetune.epochs": 3, "split.seed": 7, "gate.policy": "not_worse"}
    assert (dag["env"]["AGE_RUN"], dag["env"]["AGE_RECIPE"], dag["env"]["AGE_IMAGES"]) == ("manual__2026", "demo", "")
    assert dag["command"].endswith("-m age_tasks snapshot")
    assert dag["hand"] == ""


@pytest.fixture(scope="module")
def dag_run(airflow: dict[str, str]) -> str:
    """The whole DAG, once; returns the run's key."""
    done = airflow_command(airflow, "dags", "test", "age_retraining", "-c", json.dumps({"settings": QUICK}))
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    (key,) = [path.name for path in (Path(airflow["AGE_STORE"]) / "runs").iterdir()]
    return key


def records(env: dict[str, str], key: str) -> dict[str, dict | None]:
    with open_run(key, Locations.from_env(env)) as run:
        return {stage: run.record(stage) for stage in STAGES}


def test_the_dag_goes_from_labels_to_a_report(airflow: dict[str, str], dag_run: str):
    found = records(airflow, dag_run)
    assert {stage: record.status for stage, record in found.items()} == dict.fromkeys(STAGES, "done")
    assert (Path(airflow["AGE_STORE"]) / "reports" / f"{dag_run}.html").exists()


def test_every_single_stage_runs_by_tasks_test(airflow: dict[str, str], dag_run: str):
    before = records(airflow, dag_run)
    done = python(airflow, TASKS_TEST, *STAGES[1:])
    after = records(airflow, dag_run)
    for stage in STAGES[1:]:  # tasks test exits with 0 whatever happens: the record tells
        assert after[stage].status == "done", done.stdout[-3000:]
        assert after[stage].started > before[stage].finished


def test_a_snapshot_by_tasks_test_starts_a_run(airflow: dict[str, str], dag_run: str):
    python(airflow, TASKS_TEST, "snapshot")
    keys = {path.name for path in (Path(airflow["AGE_STORE"]) / "runs").iterdir()}
    (new,) = keys - {dag_run}
    assert records(airflow, new)["snapshot"].status == "done"


def test_bad_labels_fail_once_and_leave_their_page(airflow: dict[str, str], tmp_path: Path):
    env = airflow | {"AGE_STORE": str(tmp_path / "store")}
    conf = json.dumps({"settings": {"validate.max_quarantine_fraction": 0.01}})
    done = airflow_command(env, "dags", "test", "age_retraining", "-c", conf)
    assert done.returncode == 1
    (key,) = [path.name for path in (tmp_path / "store" / "runs").iterdir()]
    found = records(env, key)
    assert found["validate"].status == "failed"
    assert found["split"] is None
    assert (tmp_path / "store" / "runs" / key / "validate" / "index.html").exists()
