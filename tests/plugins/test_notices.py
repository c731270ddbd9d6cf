"""Notices by e-mail and by Apprise, received by real servers on this machine."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from age_tasks.cli.app import main
from age_tasks.store.files import FileStore
from tests.support.airflow import AirflowProcess
from tests.support.builders import promoted
from tests.support.metrics import IN_USE
from tests.support.notice_servers import Received, apprise_connection, notice_servers, smtp_connection
from tests.support.ports import free_ports

TEAM = {"AGE_NOTIFY_EMAIL": "ann@example.org,bob@example.org"}
BOTH = {"AGE_NOTIFY": "email:all apprise:all"}
JUDGED = {
    "verdict": "passed: all 3 rules hold",
    "champion": {
        "images": 60,
        "candidate_mae": 5.5,
        "name": "v1",
        "champion_mae": 6.25,
        "value": -0.75,
        "low": -1.1,
        "high": -0.4,
    },
}


@pytest.fixture
def received() -> Iterator[Received]:
    with notice_servers() as received:
        yield received


def test_everyone_named_is_told_of_a_failure_with_its_cause_and_the_log(
    received: Received, airflow_process: AirflowProcess
):
    airflow_process.call("notices.fail", TEAM | received.variables, task="finetune", error="<b>GPU</b> lost")
    (mail,) = received.mails
    assert mail.recipients == ["ann@example.org", "bob@example.org"]
    assert mail.subject == "age_retraining: finetune failed"
    assert "Run manual__1: &lt;b&gt;GPU&lt;/b&gt; lost" in mail.html
    assert 'href="http://localhost:8080/dags/age_retraining/log"' in mail.html
    assert not received.posts


def test_a_task_whose_process_was_lost_is_told_of_too(received: Received, airflow_process: AirflowProcess):
    airflow_process.call("notices.fail", TEAM | received.variables, task="finetune", error=None)
    assert "its process was lost" in received.mails[0].html


def test_refused_labels_are_an_event_of_their_own(received: Received, airflow_process: AirflowProcess):
    env = TEAM | received.variables | {"AGE_NOTIFY": "email:failed apprise:labels_refused"}
    why = "labels.csv: 30 of 100 rows are invalid"
    airflow_process.call("notices.fail", env, task="validate", error=why, for_good=True)
    (post,) = received.posts
    assert post["title"] == "age_retraining: the labels were refused"
    assert why in post["message"]
    assert "Correct the labels" in post["message"]
    assert not received.mails
    airflow_process.call("notices.fail", env, task="validate", error="no room on the disk")
    assert [mail.subject for mail in received.mails] == ["age_retraining: validate failed"]


def test_a_promotion_is_told_by_how_much_and_with_the_report(received: Received, airflow_process: AirflowProcess):
    published = {"promoted": True, "published": True, "version": "v2", "test_mae": 5.5}
    airflow_process.call("notices.publish", TEAM | BOTH | received.variables, published=published, judged=JUDGED)
    (mail,), (post,) = received.mails, received.posts
    assert mail.subject == post["title"] == "age_retraining: v2 is the champion"
    for text in (mail.html, post["message"]):
        assert "gate passed: all 3 rules hold" in text
        assert "On the same 60 test images: candidate 5.50 years, v1 6.25; difference -0.75 (95 % interval" in text
        assert "/dags/age_retraining/runs/manual__1/plugin/model-report" in text


def test_a_result_of_an_earlier_run_is_no_news(received: Received, airflow_process: AirflowProcess):
    published = {"promoted": True, "published": True, "version": "v2", "test_mae": 5.5, "reused_from": "earlier"}
    airflow_process.call("notices.publish", TEAM | BOTH | received.variables, published=published, judged=JUDGED)
    assert not received.mails
    assert not received.posts


@pytest.mark.parametrize(("changed", "told"), [({}, 1), ({"worse": False}, 0)])
def test_a_champion_that_is_worse_in_use_is_told_of(
    changed: dict, told: int, received: Received, airflow_process: AirflowProcess
):
    evaluated = {"in_use": IN_USE | changed}
    airflow_process.call("notices.evaluate", TEAM | received.variables, evaluated=evaluated)
    assert len(received.mails) == told
    for mail in received.mails:
        assert mail.subject == "age_retraining: v3 is worse in use than on its test images"
        assert "on the 57 images that are new since v3 was trained, its MAE is 7.90 years" in mail.html
        assert "/plugin/model-report" in mail.html
    airflow_process.call("notices.evaluate", TEAM | received.variables, evaluated=evaluated | {"reused_from": "one"})
    assert len(received.mails) == told


def test_a_rollback_is_told_with_its_version_and_reason(
    received: Received,
    airflow_process: AirflowProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    store = FileStore(tmp_path / "store")
    promoted(store, tmp_path, "monday", "tuesday")
    monkeypatch.setenv("AGE_STORE", store.url)
    assert main(["rollback", "--reason", "wrong on children"]) == 0
    said = capsys.readouterr().out.splitlines()[-1]  # the XCom, as the operator takes it
    env = TEAM | received.variables
    airflow_process.call("notices.roll_back", env, said=said, reason="wrong on children")
    (mail,) = received.mails
    assert mail.subject == "The age model was rolled back"
    assert "Reason: wrong on children" in mail.html
    assert "v1 is in use, test MAE 6.50 years" in mail.html
    assert 'href="http://localhost:8080/plugin/age-models"' in mail.html


def test_a_late_run_is_told_by_the_triggerer(received: Received, airflow_process: AirflowProcess):
    env = TEAM | BOTH | received.variables | {"AGE_DEADLINE_HOURS": "12"}
    sent = airflow_process.call("notices.be_late", env)
    assert sent["hours"] == 12
    assert [event["state"] for event in sent["events"]] == ["running", "success"]
    (mail,), (post,) = received.mails, received.posts
    assert mail.subject == post["title"] == "age_retraining: a run is late"
    assert "manual__1 is running; its deadline was 2026-11-23T15:00" in mail.html
    assert "/dags/age_retraining/runs/manual__1" in post["message"]


def test_channels_that_are_down_fail_nothing_and_say_so_in_the_log(airflow_process: AirflowProcess):
    dead, silent = free_ports(2)
    env = TEAM | BOTH
    env |= {
        "AIRFLOW_CONN_SMTP_DEFAULT": smtp_connection(dead),
        "AIRFLOW_CONN_APPRISE_DEFAULT": apprise_connection(silent),
    }
    before, began = len(airflow_process.output()), time.monotonic()
    airflow_process.call("notices.fail", env, task="finetune", error="GPU lost")
    assert time.monotonic() - began < 60
    said = airflow_process.output()[before:]
    assert "nobody was told by email: ConnectionRefusedError" in said
    assert "apprise" in said


def test_a_channel_without_a_connection_is_named(received: Received, airflow_process: AirflowProcess):
    before = len(airflow_process.output())
    env = TEAM | BOTH | received.variables
    del env["AIRFLOW_CONN_APPRISE_DEFAULT"]
    airflow_process.call("notices.fail", env, task="finetune", error="GPU lost")
    assert len(received.mails) == 1
    assert "nobody was told by apprise: AirflowNotFoundException" in airflow_process.output()[before:]


def test_nothing_is_sent_if_nobody_is_named(received: Received, airflow_process: AirflowProcess):
    assert airflow_process.call("notices.has_deadline") is False
    airflow_process.call("notices.fail", received.variables, task="finetune", error="GPU lost")
    assert not received.mails
    assert not received.posts
