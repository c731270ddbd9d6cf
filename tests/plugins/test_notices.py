"""Notices by e-mail, received by a real SMTP server on this machine."""

import json
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.support.airflow import AirflowProcess
from tests.support.ports import free_ports


class Mailbox:
    """Keeps what an SMTP server receives: the recipients, and the message."""

    def __init__(self) -> None:
        self.received: list[tuple[list[str], EmailMessage]] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 the name that aiosmtpd calls
        message = message_from_bytes(envelope.original_content, policy=default)
        self.received.append((envelope.rcpt_tos, message))
        return "250 Message accepted"


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, int]]:
    """The mailbox, and the port of its server."""
    (port,) = free_ports(1)
    box = Mailbox()
    server = Controller(box, hostname="127.0.0.1", port=port)
    server.start()
    try:
        yield box, port
    finally:
        server.stop()


def text_of(message: EmailMessage) -> str:
    body = message.get_body(("html",))
    assert body
    return str(body.get_content())


def test_everyone_named_is_told_of_a_failure_and_of_a_late_run(
    mailbox: tuple[Mailbox, int], airflow_process: AirflowProcess
):
    box, port = mailbox
    extra = {"from_email": "airflow@example.org", "disable_tls": True, "disable_ssl": True}
    connection = {"conn_type": "smtp", "host": "127.0.0.1", "port": port, "extra": extra}
    env = {
        "AGE_NOTIFY_EMAIL": "ann@example.org,bob@example.org",
        "AGE_DEADLINE_HOURS": "12",
        "AIRFLOW_CONN_SMTP_DEFAULT": json.dumps(connection),
    }
    sent = airflow_process.call("notices.send_both", env)
    assert sent["hours"] == 12
    assert [event["state"] for event in sent["events"]] == ["running", "success"]
    (failed, late) = [message for _, message in box.received]
    assert [recipients for recipients, _ in box.received] == [["ann@example.org", "bob@example.org"]] * 2
    assert failed["Subject"] == "age_retraining: finetune failed"
    assert "&lt;b&gt;GPU&lt;/b&gt; lost" in text_of(failed)
    assert 'href="http://localhost:8080/dags/age_retraining/log"' in text_of(failed)
    assert late["Subject"] == "age_retraining: a run is late"
    assert "manual__1 is running; its deadline was 2026-11-23T15:00" in text_of(late)


def test_nothing_is_sent_if_nobody_is_named(airflow_process: AirflowProcess):
    assert airflow_process.call("notices.send_none") == [{}, None]
