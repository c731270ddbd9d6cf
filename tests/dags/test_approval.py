"""The task `approve` in a real Airflow with a database of its own; the trainings are those of the finished run."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from age_tasks.registry.decisions import decisions
from age_tasks.registry.promotions import champion, history
from age_tasks.runs.run import Workspace
from age_tasks.store.files import FileStore
from tests.support.airflow import AirflowProcess
from tests.support.notice_servers import Received, notice_servers

TRAINED = ("snapshot", "validate", "split", "baseline", "finetune", "evaluate")
SHORT = 0.0002  # hours
NOTICES = {"AGE_NOTIFY_EMAIL": "ann@example.org", "AGE_NOTIFY": "email:approval_waiting apprise:all"}
SCENARIOS = {
    "refused": ({"require_approval": True}, ["Reject", "worse on <b>children</b>; $(touch x)"]),
    "unanswered": ({"require_approval": True, "approval_hours": SHORT}, None),
    "not passed": ({"require_approval": True}, None),
    "approved": ({"require_approval": True}, ["Approve", "looks right"]),
    "approved before": ({"require_approval": True}, None),
}


@pytest.fixture(scope="module")
def store(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> FileStore:
    """The finished run, and a copy for each scenario, without a promotion; in one, the gate will not pass."""
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
def told() -> Iterator[Received]:
    """The servers that receive the notices of all scenarios."""
    with notice_servers() as received:
        yield received


@pytest.fixture(scope="module")
def runs(airflow_process: AirflowProcess, store: FileStore, told: Received) -> dict[str, dict[str, Any]]:
    """The outcome of each scenario: the states of its tasks, the question, and the events of assets.

    The stages before the gate are done; `ann` answers through the API.
    """
    found: dict[str, dict[str, Any]] = airflow_process.call(
        "runs.run_with_answers",
        {"AGE_STORE": store.url, **told.variables, **NOTICES},
        scenarios=SCENARIOS,
        finished="|".join(TRAINED),
    )
    return found


def key(day: int) -> str:
    return f"manual__2026-01-{day:02d}T00-00-00-00-00"


def published(store: FileStore, name: str) -> tuple[dict[str, Any], str]:
    """The summary of publish, and the verdict of its report."""
    report = store.get(f"reports/{key(list(SCENARIOS).index(name) + 1)}.html").decode()
    return publish_summary(store, name), report.partition('<p class="verdict')[2].partition("</p>")[0]


def publish_summary(store: FileStore, name: str) -> dict[str, Any]:
    record = store.get(f"runs/{key(list(SCENARIOS).index(name) + 1)}/publish/stage.json")
    summary: dict[str, Any] = json.loads(record)["summary"]
    return summary


def test_the_question_shows_verdict_rules_and_report(runs: dict[str, dict[str, Any]]):
    body = runs["approved"]["body"]
    assert body.startswith("The gate: **passed: all 3 rules hold; changed for this run: gate.max_test_mae 40 (recipe")
    assert "Rules: **test MAE" in body
    assert "\\<= 40.00 years (recipe: 9.00): pass**" in body
    assert "6 settings differ from the recipe demo" in body
    assert "gate.max_test_mae **40** (9)" in body
    assert "seconds of computing" in body
    assert "There is no champion yet." in body
    assert "(/dags/age_retraining/runs/manual__2026-01-04T00%3A00%3A00%2B00%3A00/plugin/model-report)" in body


def test_an_approval_promotes_and_the_log_names_the_person(runs: dict[str, dict[str, Any]], store: FileStore):
    assert set(runs["approved"]["tasks"].values()) == {"success"}
    (entry,) = history(store)
    assert entry.who == "ann"
    assert entry.why.startswith("gate passed: all 3 rules hold; changed for this run: gate.max_test_mae 40 (recipe: 9)")
    assert "; approved by ann at " in entry.why
    assert entry.why.endswith(": looks right")
    summary, verdict = published(store, "approved")
    assert (summary["published"], summary["version"], summary["promoted"]) == (True, "v1", True)
    assert verdict.partition(">")[2].startswith("Published as v1. ")
    assert "Approved by ann" in verdict


def test_a_refusal_publishes_only_the_report_with_person_and_reason(runs: dict[str, dict[str, Any]], store: FileStore):
    assert runs["refused"]["tasks"]["publish"] == "success"
    summary, verdict = published(store, "refused")
    assert summary["published"] is False
    assert "version" not in summary
    assert summary["approval"].startswith("refused by ann at 20")
    assert summary["approval"].endswith(": worse on <b>children</b>; $(touch x)")
    assert "Not published. " in verdict
    assert "Refused by ann" in verdict
    assert "&lt;b&gt;children" in verdict


def test_every_answer_is_kept_with_the_run_that_it_decided(runs: dict[str, dict[str, Any]], store: FileStore):
    said = {each.run: (each.passed, each.who, each.why) for each in decisions(store) if each.by == "person"}
    assert said == {
        key(1): (False, "ann", "worse on <b>children</b>; $(touch x)"),
        key(2): (False, None, ""),
        key(4): (True, "ann", "looks right"),
    }
    judged = {each.run: each.passed for each in decisions(store) if each.by == "gate"}
    assert judged == {key(day): name != "not passed" for day, name in enumerate(SCENARIOS, start=1)}


def test_no_answer_counts_as_a_refusal(runs: dict[str, dict[str, Any]], store: FileStore):
    assert runs["unanswered"]["tasks"]["publish"] == "success"
    summary, verdict = published(store, "unanswered")
    assert summary["published"] is False
    assert summary["approval"].startswith("not approved: no answer by 20")
    assert "Not published. " in verdict
    assert "Not approved: no answer by 20" in verdict


@pytest.mark.parametrize("name", ["not passed", "approved before"])
def test_nobody_is_asked_without_a_decision_to_make(name: str, runs: dict[str, dict[str, Any]], store: FileStore):
    assert runs[name]["body"] is None
    assert set(runs[name]["tasks"].values()) == {"success"}
    assert "approval" not in publish_summary(store, name)


def test_an_answer_says_what_it_is_about(runs: dict[str, dict[str, Any]], store: FileStore):
    record = json.loads(store.get(f"runs/{key(1)}/finetune/stage.json"))
    about = {"model": record["outputs"]["model.keras"]["sha256"], "champion": ""}
    for name in ("refused", "unanswered", "not passed", "approved"):
        (answer,) = runs[name]["results"]["approve"]
        assert {each: answer.get(each) for each in about} == about
    assert runs["approved before"]["results"]["approve"] == [{"asked": False}]


def test_only_a_promotion_updates_the_asset(runs: dict[str, dict[str, Any]], store: FileStore):
    events = {name: run["events"] for name, run in runs.items() if run["events"]}
    mae = publish_summary(store, "approved")["test_mae"]
    assert events == {"approved": [["age_champion", {"version": "v1", "test_mae": mae, "run": key(4)}]]}
    assert champion(store).name == "v1"


def test_people_are_told_of_every_decision_and_reminded_of_one_that_they_forget(
    runs: dict[str, dict[str, Any]], told: Received
):
    waits, forgotten = "age_retraining: a decision is waited for", "age_retraining: a decision is still waited for"
    said = {name: [post["title"] for post in told.posts if run_id(name) in post["message"]] for name in runs}
    assert said == {
        "refused": [waits, "age_retraining: the candidate was not approved"],
        "unanswered": [waits, forgotten, "age_retraining: the candidate was not approved"],
        "not passed": ["age_retraining: the gate refused the candidate"],
        "approved": [waits, "age_retraining: v1 is the champion"],
        "approved before": [],
    }
    assert [mail.subject for mail in told.mails] == [waits, waits, forgotten, waits]
    for mail in told.mails:
        assert "test MAE is" in mail.html
        assert "/tasks/approve/required_actions" in mail.html
    (refusal,) = (post["message"] for post in told.posts if "gate refused" in post["title"])
    assert "test MAE" in refusal


def run_id(name: str) -> str:
    return f"manual__2026-01-{list(SCENARIOS).index(name) + 1:02d}T00:00:00+00:00"
