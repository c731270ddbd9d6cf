"""An HTTP proxy before a real S3 server that injects faults of networks and servers into some requests.

with faulty_proxy(variables["AWS_ENDPOINT_URL"]) as proxy:
    proxy.plan = some(rate=0.2, kinds=FAULTS, seed=1)
    ...
proxy.done   # how often each fault was done
"""

import contextlib
import http.client
import os
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote, urlsplit

ERRORS = {
    "internal error": (500, "InternalError", "We encountered an internal error. Please try again."),
    "slow down": (503, "SlowDown", "Please reduce your request rate."),
    "clock is off": (
        403,
        "RequestTimeTooSkewed",
        "The difference between the request time and the server's is too large.",
    ),
    "credentials expired": (400, "ExpiredToken", "The provided token has expired."),
}
ERRORS["answer lost"] = ERRORS["internal error"]
# What passes when it is tried again.
FAULTS = (
    "internal error",
    "slow down",
    "answer lost",  # the server does what it is asked, and the caller hears of an error
    "request reset",  # half-way through the body that is sent
    "answer reset",  # half-way through the body that comes back
    "stall",  # nothing comes for a while, then the connection ends
    "answer stalls",  # half-way
    "request changed",  # one byte of the body
    "answer changed",
)

Plan = Callable[[str, str], str | None]
"""From method and path with query to the fault to do, None for none."""


def some(rate: float, kinds: Sequence[str], seed: int) -> Plan:
    """A random share of the requests."""
    rng, lock = random.Random(seed), threading.Lock()

    def plan(method: str, path: str) -> str | None:
        with lock:
            return rng.choice(kinds) if rng.random() < rate else None

    return plan


def first(count: int, kind: str, method: str = "", part: str = "") -> Plan:
    """The first `count` requests of this method whose path has this part."""
    left, lock = [count], threading.Lock()

    def plan(asked: str, path: str) -> str | None:
        with lock:
            left[0] -= (fits := left[0] > 0 and asked.startswith(method) and part in unquote(path))
            return kind if fits else None

    return plan


class FaultyProxy(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, upstream: str, stall: float):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream, self.stall = urlsplit(upstream).netloc, stall
        self.plan: Plan = lambda method, path: None
        self.lag = 0.0  # seconds that listings are behind
        self.done: Counter[str] = Counter()
        self.requests: Counter[tuple[str, str]] = Counter()  # method and path
        self._put_at: dict[str, float] = {}
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that hangs up is no news here."""

    def fault_of(self, method: str, path: str) -> str | None:
        with self._lock:
            self.requests[method, path] += 1
            if method == "PUT":
                self._put_at.setdefault(unquote(urlsplit(path).path), time.monotonic())
        return self.plan(method, path)

    def note(self, fault: str) -> None:
        with self._lock:
            self.done[fault] += 1

    def behind(self, path: str, listing: bytes) -> bytes:
        """A listing without the objects that were first put in the last `lag` seconds."""
        bucket = urlsplit(path).path.strip("/")
        with self._lock:
            new = {key for key, at in self._put_at.items() if time.monotonic() - at < self.lag}
        for key in new:
            shown = quote(key.removeprefix(f"/{bucket}/"), safe="/~")
            listing, hidden = re.subn(
                rb"<Contents><Key>" + re.escape(shown.encode()) + rb"</Key>.*?</Contents>",
                b"",
                listing,
                flags=re.DOTALL,
            )
            if hidden:
                self.note("listing lags")
        return listing


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyProxy

    def log_message(self, format: str, *arguments: object) -> None:
        """Quiet."""

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        fault = self.server.fault_of(self.command, self.path)
        if fault == "request reset":
            self.rfile.read(length // 2)
            return self._reset(fault)
        body = self.rfile.read(length)
        if fault in ERRORS and fault != "answer lost":
            return self._refuse(fault)
        if fault == "stall":
            return self._stall(fault)
        if fault == "request changed" and body:
            body = self._changed(body, fault)
        status, headers, content = self._ask(body)
        listing = "list-type=2" in self.path
        if listing:
            content = self.server.behind(self.path, content)
        if fault == "answer lost":
            return self._refuse(fault)
        if fault == "answer changed" and status < 300 and content and not listing:  # a listing has no checksum
            content = self._changed(content, fault)
        self._answer(status, headers, content, fault)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _handle

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """The server's answer to the request as it came: its signature covers the address that the caller used."""
        with contextlib.closing(http.client.HTTPConnection(self.server.upstream, timeout=60)) as upstream:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in {"connection", "expect"}:
                    upstream.putheader(name, value)
            upstream.endheaders(body or None)
            answer = upstream.getresponse()
            return answer.status, answer.getheaders(), answer.read()

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes, fault: str | None) -> None:
        self.send_response_only(status)
        length = str(len(content))
        for name, value in headers:
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value
            elif name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command == "HEAD":
            content = b""
        if fault in {"answer reset", "answer stalls"}:
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            return self._stall(fault) if fault == "answer stalls" else self._reset(fault)
        self.wfile.write(content)

    def _refuse(self, fault: str) -> None:
        self.server.note(fault)
        status, code, message = ERRORS[fault]
        content = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        self._answer(status, [("Content-Type", "application/xml")], content, None)

    def _stall(self, fault: str) -> None:
        self.server.note(fault)
        time.sleep(self.server.stall)
        self._hang_up()

    def _reset(self, fault: str) -> None:
        self.server.note(fault)
        self._hang_up()

    def _hang_up(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())  # with what lingers dropped, the caller's side gets a reset
        raise ConnectionResetError

    def _changed(self, content: bytes, fault: str) -> bytes:
        """With one random byte changed."""
        self.server.note(fault)
        at = random.randrange(len(content))
        return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@contextlib.contextmanager
def faulty_proxy(upstream: str, stall: float = 30.0) -> Iterator[FaultyProxy]:
    """Serve until the end of the context.

    Args:
        stall: seconds that a stall lasts.
    """
    with FaultyProxy(upstream, stall) as proxy:
        threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield proxy
        proxy.shutdown()
