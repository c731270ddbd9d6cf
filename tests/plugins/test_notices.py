"""Notices, received by a real mail server on this machine."""

import json
import socketserver
import threading
from collections.abc import Iterator
from email import message_from_string
from email.message import EmailMessage
from email.policy import default

import pytest

from tests.support.airflow import python

SEND = """
import asyncio, json, types
from airflow.sdk import DAG
from airflow.sdk.definitions.deadline import DeadlineAlert
from airflow.triggers.callback import CallbackTrigger
from age_retraining_plugin.notices import when_a_run_is_late, when_a_task_fails
from age_tasks.environment import NoticeVariables

settings = NoticeVariables.from_env()
dag = DAG("age_retraining")
ti = types.SimpleNamespace(task_id="finetune", log_url="http://localhost:8080/dags/age_retraining/log")
context = {"dag": dag, "ti": ti, "run_id": "manual__1", "exception": ValueError("<b>GPU</b> fell off the bus")}
when_a_task_fails(settings)["on_failure_callback"](context)

alert = when_a_run_is_late(settings)
run = {"dag_id": "age_retraining", "dag_run_id": "manual__1", "state": "running"}
kwargs = alert.callback.kwargs | {"context": {"dag_run": run, "deadline": {"deadline_time": "2026-11-23T15:00"}}}
async def triggerer():
    return [event.payload async for event in CallbackTrigger(alert.callback.path, kwargs).run()]
print(json.dumps({"hours": alert.interval.total_seconds() / 3600, "events": asyncio.run(triggerer())}))
"""

REFUSE = """
import json
from airflow.sdk import DAG
from age_retraining_plugin.notices import when_a_run_is_late, when_a_task_fails
from age_tasks.environment import NoticeVariables

def refusal(**env):
    try:
        NoticeVariables.from_env(env)
    except Exception as error:
        return str(error)

off = NoticeVariables.from_env({})
print(json.dumps([
    [when_a_task_fails(off), when_a_run_is_late(off)],
    refusal(AGE_NOTIFY_EMAIL="ann"),
    refusal(AGE_NOTIFY_EMAIL="ann@example.org", AGE_DEADLINE_HOURS="soon"),
    refusal(AGE_DEADLINE_HOURS="12"),
]))
"""


class Mailbox(socketserver.ThreadingTCPServer):
    """An SMTP server (RFC 5321) as far as one sender needs it; keeps what it is given."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Session)
        self.letters: list[tuple[list[str], EmailMessage]] = []


class Session(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.say("220 ready")
        recipients: list[str] = []
        for line in self.rfile:
            command = line.decode().strip()
            if command.upper() == "DATA":
                self.say("354 go on")
                text = "".join(iter(lambda: self.rfile.readline().decode(), ".\r\n"))
                self.server.letters.append((recipients, message_from_string(text, policy=default)))
                recipients = []
            elif command.upper().startswith("RCPT"):
                recipients.append(command.partition("<")[2].partition(">")[0])
            elif command.upper() == "QUIT":
                self.say("221 bye")
                return
            self.say("250 fine")

    def say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def text_of(letter: EmailMessage) -> str:
    return letter.get_body(("html",)).get_content()


def test_a_failure_and_a_late_run_are_told_to_everyone_named(mailbox: Mailbox, bare_airflow: dict[str, str]):
    host, port = mailbox.server_address
    extra = {"from_email": "airflow@example.org", "disable_tls": True, "disable_ssl": True}
    connection = {"conn_type": "smtp", "host": host, "port": port, "extra": extra}
    env = {"AGE_NOTIFY_EMAIL": "ann@example.org,bob@example.org", "AGE_DEADLINE_HOURS": "12"}
    done = python(bare_airflow | env | {"AIRFLOW_CONN_SMTP_DEFAULT": json.dumps(connection)}, SEND)
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["hours"] == 12
    assert [event["state"] for event in said["events"]] == ["running", "success"]
    (failed, late) = [letter for _, letter in mailbox.letters]
    assert [to for to, _ in mailbox.letters] == [["ann@example.org", "bob@example.org"]] * 2
    assert failed["Subject"] == "age_retraining: finetune failed"
    assert "&lt;b&gt;GPU&lt;/b&gt; fell off the bus" in text_of(failed)
    assert 'href="http://localhost:8080/dags/age_retraining/log"' in text_of(failed)
    assert late["Subject"] == "age_retraining: a run is late"
    assert "manual__1 is running and was to be done by 2026-11-23T15:00" in text_of(late)


def test_nothing_is_sent_unless_someone_is_named_and_nonsense_is_refused(bare_airflow: dict[str, str]):
    done = python(bare_airflow, REFUSE)
    assert done.returncode == 0, done.stderr[-3000:]
    off, *refused = json.loads(done.stdout.splitlines()[-1])
    assert off == [{}, None]
    nobody, soon, alone = refused
    assert nobody.startswith("AGE_NOTIFY_EMAIL='ann' is invalid: expected an e-mail address")
    assert soon.startswith("AGE_DEADLINE_HOURS='soon' is invalid: expected a number of hours")
    assert alone == "AGE_DEADLINE_HOURS is set, but nobody would be told: set AGE_NOTIFY_EMAIL too"
