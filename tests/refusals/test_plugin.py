"""What Airflow's side of the project refuses: forms, schedules, pods, outcomes."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from age_tasks.errors import AgeTasksError
from age_tasks.runs.run import StoredRun
from age_tasks.store.files import FileStore
from tests.support.records import put_record
from tests.support.refusals import walks
from tests.support.walks import Walk

PODS, CONF = "runtimes/kubernetes_pod.py", "trigger_conf.py"


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Airflow, which is imported in the tests since a fast run may not, sets up the logging of the whole process."""
    import tests.plugins.conftest  # noqa: F401  gives Airflow a home

    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for each in root.manager.loggerDict.values():
        if isinstance(each, logging.Logger) and each.name.startswith("age_"):
            each.disabled, each.propagate = False, True


def of_airflow(action: Callable[[], object]) -> Callable[[], object]:
    """The action, whose errors of Airflow are raised as the project's."""
    from age_retraining_plugin.runtimes.outcome import TaskFailedForGood
    from airflow.sdk.exceptions import AirflowException

    def act() -> object:
        try:
            return action()
        except (AirflowException, TaskFailedForGood) as error:
            raise AgeTasksError(*str(error).splitlines()) from error

    return act


@walks("approval.py", "the gate has no result to decide on")
def test_a_question_without_a_result_of_the_gate(refused: Walk):
    from age_retraining_plugin.approval import approval_task

    task, results = approval_task(), {}
    context = {
        "params": {"require_approval": True},
        "dag_run": SimpleNamespace(dag_id="age_retraining", run_id="x"),
        "ti": SimpleNamespace(xcom_pull=lambda task_ids: results.get(task_ids)),
    }
    again = refused(of_airflow(lambda: task.execute(context)), "the gate", "clear the task gate")
    results["gate"] = {"passed": False, "model": "ab12", "champion": {"version": "sunday"}}
    assert again() == {"asked": False, "model": "ab12", "champion": "sunday"}


@walks("assets.py", "nothing to score: set {}")
def test_nothing_to_score(refused: Walk):
    from age_retraining_plugin.assets import skip_without_images

    params = {"images": "", "out": ""}
    score = of_airflow(lambda: skip_without_images({"params": params, "dag": form(params)}))
    again = refused(score, "set AGE_SCORE_IMAGES and AGE_SCORE_OUT, or fill in the trigger form")
    params |= {"images": "faces", "out": "ages.csv"}
    again()


@walks("assets.py", "nothing to rank: set AGE_UNLABELLED")
def test_nothing_to_rank(refused: Walk):
    from age_retraining_plugin.assets import skip_without_unlabelled

    params = {"unlabelled": ""}
    rank = of_airflow(lambda: skip_without_unlabelled({"params": params, "dag": form(params)}))
    again = refused(rank, "set AGE_UNLABELLED, or fill in the trigger form")
    params["unlabelled"] = "faces"
    again()


def form(params: dict[str, Any]) -> SimpleNamespace:
    """A DAG with a form of these fields."""
    from airflow.sdk import Param
    from airflow.sdk.definitions.param import ParamsDict

    return SimpleNamespace(params=ParamsDict({name: Param(None, type=["null", "string"]) for name in params}))


@walks("labels_trigger.py", "AGE_SCHEDULE={} is invalid")
def test_a_schedule_that_never_comes(refused: Walk):
    from age_retraining_plugin.labels_trigger import labels_schedule

    schedule = lambda cron: lambda: str(labels_schedule(None, cron))  # noqa: E731
    again = refused(schedule("every monday"), "AGE_SCHEDULE='every monday'", "'0 3 * * 1'", "'none'")
    again(schedule("0 3 * * 1"))
    again(schedule("none"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param(None, "check the path and its permissions", marks=walks(PODS, "can't be read ({})")),
        pytest.param("spec: [", "correct it", marks=walks(PODS, "is not YAML ({})")),
        pytest.param("- a", "expected a YAML file with kind: Pod", marks=walks(PODS, "is no pod; expected")),
        pytest.param("spec: {containers: [{image: x}]}", "the stage's is called base",
                     marks=walks(PODS, "has a container without a name")),
        pytest.param("spec: {priority: high}", "is no pod (",
                     marks=walks(PODS, "_template: is no pod ({}); correct it")),
        pytest.param("spec: {toleration: []}", "has spec.toleration, which pods do not have; check its spelling",
                     marks=[walks(PODS, "which pods do not have"), walks(PODS, "_wrong: {}={} {}")]),
    ],
)  # fmt: skip
def test_a_template_of_a_pod(refused: Walk, tmp_path: Path, text: str | None, says: str):
    from tests.support.pods import MINIMAL, pod_of

    file = tmp_path / "pod.yaml"
    if text is not None:
        file.write_text(text)
    pod = lambda: pod_of("snapshot", MINIMAL | {"AGE_KUBERNETES_POD_TEMPLATE": str(file)})  # noqa: E731
    again = refused(pod, f"AGE_KUBERNETES_POD_TEMPLATE='{file}'", says)
    file.write_text("spec: {tolerations: [{key: a}], containers: [{name: base}], priority: 3}")
    again()


@pytest.mark.parametrize(
    ("wrong", "says", "right"),
    [
        pytest.param({"epocs": 3}, "correct the conf and trigger the run again", {"finetune": {"epochs": 3}},
                     marks=walks(CONF, "refuse_invalid: {}; {}")),
        pytest.param({"finetune.seed": 7, "finetune": {"seed": 8}}, "'finetune.seed' is given twice, as 7 and as 8",
                     {"finetune.seed": 7},
                     marks=[walks(CONF, "is given twice, {}"), walks(CONF, "_refusal: {}"),
                            walks(CONF, "_refusal: conf: {}")]),
    ],
)  # fmt: skip
def test_a_conf_that_is_corrected(refused: Walk, wrong: dict[str, Any], says: str, right: dict[str, Any]):
    from tests.support.trigger_conf import applied

    again = refused(of_airflow(lambda: applied(wrong)), "conf: ", says)
    again(lambda: applied(right))


@walks(CONF, "would be ignored: dag_run_conf_overrides_params is off")
def test_a_conf_that_airflow_does_not_apply(refused: Walk):
    from age_retraining_plugin.trigger_conf import refuse_invalid

    from tests.support.trigger_conf import context

    conf = {"finetune.epochs": 3}
    plain = context(None)["params"]
    again = refused(of_airflow(lambda: refuse_invalid(context(conf, plain))), "'finetune.epochs'", "switch it on")
    again(lambda: refuse_invalid(context(conf)))  # switched on
    again(lambda: refuse_invalid(context(None, plain)))  # without a conf


@walks("runtimes/outcome.py", "execute: {}")
def test_the_message_of_a_stage_reaches_airflow(refused: Walk, monkeypatch: pytest.MonkeyPatch):
    from tests.support.outcomes import Context, shell

    script = "echo 'split: too few; start with again' >&2; exit 75"
    again = refused(of_airflow(lambda: shell(monkeypatch, script).execute(Context())), "start with again")
    again(lambda: shell(monkeypatch, 'echo \'{"run": "x"}\'').execute(Context()))


@walks("label_issues.py", "no such label is to be looked at")
def test_a_confirmed_label_that_the_list_has_not(refused: Walk, tmp_path: Path):
    from age_retraining_plugin.label_issues import confirm, label_issues

    from age_tasks.reports.label_issues_page import LabelIssue, LabelIssues

    issue = LabelIssue(
        file_name="a.jpg", line=2, sha256="a" * 64, real_age=30, other_age=61, relative_error=6, new=True, image=None
    )
    store = FileStore(tmp_path)
    store.put("runs/monday/evaluate/labels_to_look_at.json", LabelIssues(issues=[issue], previous_run="").to_bytes())
    put_record(store, "evaluate", "monday", outputs={"labels_to_look_at.json": {"sha256": "0" * 64, "bytes": 1}})
    run = StoredRun("monday", store)
    label = ["b" * 64, "30"]
    again = refused(lambda: confirm(run, *label, right=True, who="ann"), "run monday", "open the run's list again")
    label[:] = label_issues(run).issues[0].label
    again()
    assert len(store.list("labels/confirmed/")) == 1
