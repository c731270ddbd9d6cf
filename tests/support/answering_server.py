"""A server that answers requests of S3 as a test says: any status, headers and body, or none.

with answering_server() as server:
    server.plan = lambda request: Answer(413, HTML, b"<html>…")
    ...
server.asked   # the requests so far
"""

import contextlib
import hashlib
import os
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest

from age_tasks.store import s3

KEY_ID, SECRET = "AKIACANARYKEYID0", "canary-secret-hush"
HTML = {"Content-Type": "text/html"}
XML = {"Content-Type": "application/xml"}


class Request(NamedTuple):
    """What was asked."""

    method: str
    path: str  # with the query
    headers: dict[str, str]  # names in lower case
    body: bytes


class Answer(NamedTuple):
    """What to say; `cut` bytes of the body are missing, and the connection is reset there."""

    status: int
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes = b""
    cut: int = 0


Plan = Callable[[Request], Answer | None]
"""From a request to its answer; None for that of a small store in memory."""


def s3_error(
    status: int, code: str, message: str = "", more: str = "", headers: dict[str, str] | None = None
) -> Answer:
    """An error as S3 tells it."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{escape(message)}</Message>{more}</Error>"
    return Answer(status, XML | (headers or {}), body.encode())


class AnsweringServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.plan: Plan = lambda request: None
        self.asked: list[Request] = []
        self.times: list[float] = []
        self.objects: dict[str, bytes] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that hangs up is no news here."""

    def answer(self, request: Request) -> Answer:
        self.times.append(time.monotonic())
        self.asked.append(request)
        return self.plan(request) or self._as_s3(request)

    def _as_s3(self, request: Request) -> Answer:
        url = urlsplit(request.path)
        bucket, _, key = unquote(url.path).lstrip("/").partition("/")
        mark = {"x-amz-request-id": "1"}
        if request.method == "PUT":
            self.objects[key] = request.body
            return Answer(200, mark | {"ETag": _etag(request.body)})
        if request.method == "DELETE":
            self.objects.pop(key, None)
            return Answer(204, mark)
        if request.method == "HEAD" and not key:
            return Answer(200, mark)
        if "list-type" in url.query:
            prefix = parse_qs(url.query).get("prefix", [""])[0]
            items = "".join(
                f"<Contents><Key>{escape(name)}</Key><Size>{len(body)}</Size><ETag>{_etag(body)}</ETag></Contents>"
                for name, body in sorted(self.objects.items())
                if name.startswith(prefix)
            )
            listing = (
                f"<ListBucketResult><Name>{bucket}</Name><IsTruncated>false</IsTruncated>{items}</ListBucketResult>"
            )
            return Answer(200, mark | XML, listing.encode())
        if key not in self.objects:
            return s3_error(404, "NoSuchKey", headers=mark)
        body, etag = self.objects[key], _etag(self.objects[key])
        if request.headers.get("if-match", etag) != etag:
            return s3_error(412, "PreconditionFailed", headers=mark)
        if wanted := request.headers.get("range"):
            first, last = wanted.removeprefix("bytes=").split("-")
            return Answer(206, mark | {"ETag": etag}, body[int(first) : int(last) + 1])
        return Answer(200, mark | {"ETag": etag}, body)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: AnsweringServer

    def log_message(self, format: str, *arguments: object) -> None:
        """Quiet."""

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.answer(Request(self.command, self.path, headers, body))
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status >= 200 and answer.status not in {204, 304}:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command == "HEAD" or answer.status in {204, 304}:
            return
        self.wfile.write(answer.body[: len(answer.body) - answer.cut])
        if answer.cut:
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())
            raise ConnectionResetError

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _handle


def _etag(body: bytes) -> str:
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


@contextlib.contextmanager
def answering_server() -> Iterator[AnsweringServer]:
    """Serve until the end of the context."""
    with AnsweringServer() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.shutdown()


@contextlib.contextmanager
def answering_s3(patch: pytest.MonkeyPatch, home: Path) -> Iterator[AnsweringServer]:
    """A server that the AWS variables lead to; no person's own settings, and no pauses between attempts."""
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        patch.delenv(name)
    patch.setenv("HOME", str(home))
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name, value in (
        ("AWS_ACCESS_KEY_ID", KEY_ID), ("AWS_SECRET_ACCESS_KEY", SECRET), ("AWS_DEFAULT_REGION", "us-east-1"),
    ):  # fmt: skip
        patch.setenv(name, value)
    patch.setattr(s3, "PAUSE_SECONDS", 0.0)
    with answering_server() as server:
        patch.setenv("AWS_ENDPOINT_URL", server.url)
        yield server


@contextlib.contextmanager
def answering_tls(folder: Path) -> Iterator[tuple[str, Path]]:
    """The address of a server with a certificate of an authority of its own, and the certificate."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    with AnsweringServer() as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://localhost:{server.server_address[1]}", certificate
        server.shutdown()
