"""Servers on this machine that receive notices: one for e-mail, and one for Apprise's JSON over HTTP."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import NamedTuple

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.support.ports import free_ports


class Mail(NamedTuple):
    """An e-mail that arrived."""

    recipients: list[str]
    subject: str
    html: str


class Received:
    """What has arrived, the oldest first, and the variables of an Airflow that sends it there."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.posts: list[dict[str, str]] = []
        self.variables: dict[str, str] = {}

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 the name that aiosmtpd calls
        message = message_from_bytes(envelope.original_content, policy=default)
        assert isinstance(message, EmailMessage)
        body = message.get_body(("html",))
        assert body
        self.mails.append(Mail(envelope.rcpt_tos, str(message["Subject"]), str(body.get_content())))
        return "250 Message accepted"

    def clear(self) -> None:
        """Forget what has arrived."""
        self.mails.clear()
        self.posts.clear()


@contextmanager
def notice_servers() -> Iterator[Received]:
    """Both servers, until the context ends."""
    received = Received()
    (port,) = free_ports(1)

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            received.posts.append(json.loads(self.rfile.read(length)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    mail = Controller(received, hostname="127.0.0.1", port=port)
    web = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    received.variables = {
        "AIRFLOW_CONN_SMTP_DEFAULT": smtp_connection(port),
        "AIRFLOW_CONN_APPRISE_DEFAULT": apprise_connection(web.server_port),
    }
    mail.start()
    Thread(target=web.serve_forever, daemon=True).start()
    try:
        yield received
    finally:
        mail.stop()
        web.shutdown()
        web.server_close()


def smtp_connection(port: int) -> str:
    """The connection `smtp_default` to a server on this machine."""
    extra = {"from_email": "airflow@example.org", "disable_tls": True, "disable_ssl": True, "retry_limit": 1}
    return json.dumps({"conn_type": "smtp", "host": "127.0.0.1", "port": port, "extra": extra})


def apprise_connection(port: int) -> str:
    """The connection `apprise_default` to a server on this machine."""
    services = [{"path": f"json://127.0.0.1:{port}/notices", "tag": "team"}]
    return json.dumps({"conn_type": "apprise", "extra": {"config": services}})
