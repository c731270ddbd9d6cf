"""Answers of S3 servers, right and wrong, and what a store makes of each."""

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from age_tasks.errors import NotFoundError, SettingsError, StoreError
from age_tasks.store.base import Store
from age_tasks.store.s3 import ATTEMPTS
from tests.support.answering_server import (
    HTML,
    KEY_ID,
    SECRET,
    XML,
    Answer,
    AnsweringServer,
    answering_s3,
    s3_error,
)

TOKEN = "canary-token-hush"


PAGE = b"<html>\n<head><title>413 Request Entity Too Large</title></head>\n<body>nginx</body>\n</html>"


CONSOLE = b'<!doctype html><html lang="en"><head><meta charset="utf-8"/><title>Console</title></head><body></html>'


OPERATIONS: dict[str, Callable[[Store], object]] = {
    "PUT": lambda store: store.put("a", b"content"),
    "GET": lambda store: store.get("a"),
    "list": lambda store: store.list(),
    "HEAD": lambda store: store.exists("a"),
    "DELETE": lambda store: store.delete("a"),
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[AnsweringServer]:
    with answering_s3(monkeypatch, tmp_path / "home") as server:
        yield server


def one_line(error: BaseException) -> str:
    said = str(error)
    assert said.isprintable(), said
    assert not any(secret in said for secret in (KEY_ID, SECRET, TOKEN)), said
    assert "s3://age/store" in said
    assert len(said) < 900
    return said


STATUSES = (200, 201, 204, 206, 300, 301, 302, 303, 304, 305, 307, 308, 400, 401, 402, 403, 404, 405, 406, 407, 408,
            409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 423, 424, 425, 426, 428, 429, 431, 444, 451,
            499, 500, 501, 502, 503, 504, 505, 507, 508,
            509, 511, 520, 521, 525, 530, 598, 599, 600, 799, 999)  # fmt: skip


SECRETIVE = f"{KEY_ID} {SECRET}\r\nSignature=0a1b2c Credential={KEY_ID}/x"


BODIES: dict[str, Answer] = {
    "empty": Answer(0),
    "empty xml": Answer(0, XML),
    "page": Answer(0, HTML, PAGE),
    "console": Answer(0, HTML, CONSOLE),
    "page marked by nobody": Answer(0, {}, PAGE),
    "json": Answer(0, {"Content-Type": "application/json"}, b'{"message": "no", "code": 7}'),
    "json list": Answer(0, {"Content-Type": "application/json"}, b"[1, 2]"),
    "text": Answer(0, {"Content-Type": "text/plain"}, SECRETIVE.encode()),
    "binary": Answer(0, {}, bytes(range(256)) * 9),
    "cut xml": Answer(0, XML, b"<?xml version='1.0'?><Error><Code>Acc"),
    "other xml": Answer(0, XML, b"<a><b>1</b></a>"),
    "empty error": Answer(0, XML, b"<Error/>"),
    "doubled": Answer(0, XML, b"<Error><Code>A</Code><Code>B</Code><Message/><Message>x</Message></Error>"),
    "nested": Answer(0, XML, b"<Error><Code><b>A</b></Code><Message><i>x</i></Message></Error>"),
    "entities": Answer(0, XML, b'<!DOCTYPE a [<!ENTITY b "bbbb">]><Error><Code>&b;</Code></Error>'),
    "namespace": Answer(0, XML, b'<Error xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Code>SlowDown</Code></Error>'),
    "secretive": s3_error(0, "InvalidRequest", SECRETIVE),
    "secretive code": s3_error(0, SECRETIVE, SECRETIVE),
    "no key": s3_error(0, "NoSuchKey"),
    "no bucket": s3_error(0, "NoSuchBucket"),
    "denied": s3_error(0, "AccessDenied"),
    "skewed": s3_error(0, "RequestTimeTooSkewed"),
    "region": s3_error(0, "AuthorizationHeaderMalformed", "", "<Region>eu north\n1</Region>"),
    "endpoint": s3_error(0, "PermanentRedirect", "", "<Endpoint>x y\nz</Endpoint>"),
    "location": Answer(0, HTML | {"Location": f"https://{KEY_ID}:{SECRET}@host:99999/a?Signature=0a1b2c"}, PAGE),
    "bad location": Answer(0, {"Location": "http://[::1"}),
    "reset": Answer(0, XML, b"<Error><Code>SlowDown</Code></Error>" * 9, cut=150),
    "wrong length": Answer(0, {"ETag": '"x"', "Content-Range": "bytes 0-1/9"}, b"content"),
    "odd headers": Answer(0, {"ETag": "", "Last-Modified": "yesterday", "x-amz-bucket-region": "a b"}, b""),
}  # fmt: skip


def combinations() -> list[tuple[int, str, str]]:
    return list(itertools.product(STATUSES, BODIES, OPERATIONS))


def check(server: AnsweringServer, store: Store, status: int, body: str, operation: str) -> None:
    """One answer, always the same: a result, or one line."""
    answer = BODIES[body]._replace(status=status)
    server.plan, server.asked = (lambda request: answer), []
    began = time.monotonic()
    try:
        OPERATIONS[operation](store)
    except (StoreError, SettingsError) as raised:
        error: StoreError | SettingsError | None = raised
    else:
        error = None
    assert time.monotonic() - began < 10
    if error:
        said, missing = one_line(error), isinstance(error, NotFoundError)
        assert "0a1b2c" not in said
        assert missing or "; " in said
        assert len(server.asked) == ATTEMPTS if error.retry_helps and not missing else len(server.asked) <= 4
    else:
        assert status < 300 or (status in {304, 404, 410} or operation in {"HEAD", "DELETE"}), (status, body, operation)
