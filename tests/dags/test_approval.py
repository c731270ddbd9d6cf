"""The task `approve` in a real Airflow with a database of its own; the trainings are those of the finished run."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from age_tasks.registry.decisions import decisions
from age_tasks.registry.promotions import champion, history
from age_tasks.runs.run import Workspace
from age_tasks.store.files import FileStore
from tests.support.airflow import AirflowProcess

TRAINED = ("snapshot", "validate", "split", "baseline", "finetune", "evaluate")
SHORT = 0.0002  # hours
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
def runs(airflow_process: AirflowProcess, store: FileStore) -> dict[str, dict[str, Any]]:
    """The outcome of each scenario: the states of its tasks, the question, and the events of assets.

    The stages before the gate are done; `ann` answers through the API.
    """
    found: dict[str, dict[str, Any]] = airflow_process.call(
        "runs.run_with_answers", {"AGE_STORE": store.url}, scenarios=SCENARIOS, finished="|".join(TRAINED)
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
    assert "| test MAE |" in body
    assert "<= 40.00 years (recipe: 9.00) | pass |" in body
    assert "6 settings differ from the recipe demo" in body
    assert "| gate.max_test_mae | **40** | 9 |" in body
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


def test_only_a_promotion_updates_the_asset(runs: dict[str, dict[str, Any]], store: FileStore):
    events = {name: run["events"] for name, run in runs.items() if run["events"]}
    mae = publish_summary(store, "approved")["test_mae"]
    assert events == {"approved": [["age_champion", {"version": "v1", "test_mae": mae, "run": key(4)}]]}
    assert champion(store).name == "v1"
