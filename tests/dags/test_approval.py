"""A person is asked, in a real Airflow with a database of its own; the training is the one that is finished already."""

import json
import shutil
from pathlib import Path

import pytest

from age_tasks.registry.promotions import champion, history
from age_tasks.runs.run import Workspace
from age_tasks.store.files import FileStore
from tests.support.airflow import python

TRAINED = ("snapshot", "validate", "split", "baseline", "finetune", "evaluate")
SHORT = 0.0002  # hours
SCENARIOS = {
    "refused": ({"require_approval": True}, ["Reject", "worse on <b>children</b>; $(touch x)"]),
    "unanswered": ({"require_approval": True, "approval_hours": SHORT}, None),
    "not passed": ({"require_approval": True}, None),
    "approved": ({"require_approval": True}, ["Approve", "looks right"]),
    "approved before": ({"require_approval": True}, None),
}
# Each run's stages before the gate are done; what remains runs, and `ann` answers through the API.
CODE = """
import json, sys, threading, time
from datetime import datetime, timezone
from airflow.api_fastapi.app import create_app, get_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.dag_processing.dagbag import DagBag
from airflow.jobs.job import Job
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.asset import AssetEvent
from airflow.utils.session import create_session
from fastapi.testclient import TestClient
from sqlalchemy import select

dag = DagBag("dags").dags["age_retraining"]
client = TestClient(create_app(apps="core"))
token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="ann", role="admin"))
client.headers["Authorization"] = f"Bearer {token}"
scheduler, told, done = SchedulerJobRunner(Job()), {}, {}

def respond(run_id, choice, stop):
    while not stop.wait(0.3):
        where = f"/api/v2/dags/age_retraining/dagRuns/{run_id}/taskInstances/approve"
        if client.get(where).json().get("state") != "awaiting_input":
            continue
        asked = client.get(where + "/-1/hitlDetails").json()
        told[run_id] = asked["body"]
        if choice is None:
            scheduler.check_awaiting_input_timeouts()
        else:
            given = {"chosen_options": [choice[0]], "params_input": {"comment": choice[1]}}
            answer = client.patch(where + "/-1/hitlDetails", json=given)
            assert answer.status_code == 200, answer.text
            return

for day, (name, (conf, choice)) in enumerate(json.loads(sys.argv[1]).items(), start=1):
    date, stop = datetime(2026, 1, day, tzinfo=timezone.utc), threading.Event()
    thread = threading.Thread(target=respond, args=(f"manual__{date.isoformat()}", choice, stop))
    thread.start()
    run = dag.test(logical_date=date, run_after=date, run_conf=conf, mark_success_pattern=sys.argv[2])
    stop.set()
    thread.join()
    with create_session() as session:
        events = session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == run.run_id)).all()
        done[name] = {
            "states": {task.task_id: task.state for task in run.get_task_instances(session=session)},
            "body": told.get(run.run_id), "events": [[event.asset.name, event.extra] for event in events],
        }
print(json.dumps(done))
"""


@pytest.fixture(scope="module")
def store(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> FileStore:
    """The finished run and a copy of it for each scenario; nothing was promoted. One's gate will not have passed."""
    root = tmp_path_factory.mktemp("approval")
    runs = Path(finished.store.where("runs"))
    for source in (runs / "finished", *runs.parent.glob("results")):
        shutil.copytree(source, root / source.relative_to(runs.parent))
    for day, name in enumerate(SCENARIOS, start=1):
        copy = root / "runs" / key(day)
        shutil.copytree(runs / "finished", copy)
        if name == "not passed":
            settings = json.loads((copy / "run.json").read_text())
            settings["config"]["gate"]["max_test_mae"] = 0.5
            (copy / "run.json").write_text(json.dumps(settings))
    return FileStore(root)


@pytest.fixture(scope="module")
def runs(airflow: dict[str, str], store: FileStore) -> dict[str, dict]:
    """What came of each scenario: the states of the tasks, the question, and the events of assets."""
    done = python(airflow | {"AGE_STORE": store.url}, CODE, json.dumps(SCENARIOS), "|".join(TRAINED))
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def key(day: int) -> str:
    return f"manual__2026-01-{day:02d}T00-00-00-00-00"


def published(store: FileStore, name: str) -> tuple[dict, str]:
    """Publish's summary and the verdict of its report."""
    report = store.get(f"reports/{key(list(SCENARIOS).index(name) + 1)}.html").decode()
    return publish_summary(store, name), report.partition('<p class="verdict')[2].partition("</p>")[0]


def publish_summary(store: FileStore, name: str) -> dict:
    return json.loads(store.get(f"runs/{key(list(SCENARIOS).index(name) + 1)}/publish/stage.json"))["summary"]


def test_the_question_has_all_that_there_is_to_know(runs: dict[str, dict]):
    body = runs["approved"]["body"]
    assert body.startswith("The gate: **passed: all 3 rules hold**.")
    assert "| test MAE |" in body
    assert "<= 40.00 years | pass |" in body
    assert "There is no champion yet." in body
    assert "(/dags/age_retraining/runs/manual__2026-01-04T00%3A00%3A00%2B00%3A00/plugin/model-report)" in body


def test_an_approval_promotes_and_the_history_names_the_person(runs: dict[str, dict], store: FileStore):
    assert set(runs["approved"]["states"].values()) == {"success"}
    (entry,) = history(store)
    assert entry.who == "ann"
    assert entry.why.startswith("gate passed: all 3 rules hold; approved by ann at ")
    assert entry.why.endswith(": looks right")
    summary, verdict = published(store, "approved")
    assert (summary["published"], summary["version"], summary["promoted"]) == (True, "v1", True)
    assert "Published. " in verdict
    assert "Approved by ann" in verdict


def test_a_refusal_publishes_the_report_alone_and_says_who_and_why(runs: dict[str, dict], store: FileStore):
    assert runs["refused"]["states"]["publish"] == "success"
    summary, verdict = published(store, "refused")
    assert summary["published"] is False
    assert "version" not in summary
    assert summary["approval"].startswith("refused by ann at 20")
    assert summary["approval"].endswith(": worse on <b>children</b>; $(touch x)")
    assert "Not published. " in verdict
    assert "Refused by ann" in verdict
    assert "&lt;b&gt;children" in verdict


def test_no_answer_is_no_approval(runs: dict[str, dict], store: FileStore):
    assert runs["unanswered"]["states"]["publish"] == "success"
    summary, verdict = published(store, "unanswered")
    assert summary["published"] is False
    assert summary["approval"].startswith("not approved: no answer by 20")
    assert "Not published. " in verdict
    assert "Nobody had approved it" in verdict


@pytest.mark.parametrize("name", ["not passed", "approved before"])
def test_where_there_is_nothing_to_decide_nobody_is_asked(name: str, runs: dict[str, dict], store: FileStore):
    assert runs[name]["body"] is None
    assert set(runs[name]["states"].values()) == {"success"}
    assert "approval" not in publish_summary(store, name)


def test_the_asset_is_updated_by_a_promotion_only(runs: dict[str, dict], store: FileStore):
    events = {name: run["events"] for name, run in runs.items() if run["events"]}
    mae = publish_summary(store, "approved")["test_mae"]
    assert events == {"approved": [["age_champion", {"version": "v1", "test_mae": mae, "run": key(4)}]]}
    assert champion(store).name == "v1"
