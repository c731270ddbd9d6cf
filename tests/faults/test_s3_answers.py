"""Generated answers of an S3 server: a right result, or one line with a cure; few requests, no secret, nothing lost."""

import hashlib
import random
import re
import time

import pytest

from age_tasks.errors import AgeTasksError, NotFoundError, SettingsError, StoreError
from age_tasks.store import open_store
from age_tasks.store.base import Store
from age_tasks.store.s3 import ATTEMPTS
from tests.faults.generated import attempts, check_message
from tests.faults.mutated_bytes import mutated
from tests.faults.tally import Tally
from tests.support.answering_server import HTML, XML, Answer, AnsweringServer, Request, s3_error
from tests.support.s3_answers import (
    BODIES,
    KEY_ID,
    OPERATIONS,
    SECRET,
    STATUSES,
    check,
    combinations,
    one_line,
    server,
)

__all__ = ["server"]
CODES = [
    "AccessDenied",
    "AccountProblem",
    "AllAccessDisabled",
    "AuthorizationHeaderMalformed",
    "BadDigest",
    "BucketAlreadyExists",
    "EntityTooLarge",
    "ExpiredToken",
    "IllegalLocationConstraintException",
    "IncompleteBody",
    "InternalError",
    "InvalidAccessKeyId",
    "InvalidArgument",
    "InvalidBucketName",
    "InvalidDigest",
    "InvalidObjectState",
    "InvalidRange",
    "InvalidRequest",
    "InvalidSecurity",
    "InvalidToken",
    "KeyTooLongError",
    "MalformedXML",
    "MethodNotAllowed",
    "MissingContentLength",
    "NoSuchBucket",
    "NoSuchKey",
    "NoSuchUpload",
    "NotImplemented",
    "OperationAborted",
    "PermanentRedirect",
    "PreconditionFailed",
    "QuotaExceeded",
    "Redirect",
    "RequestTimeTooSkewed",
    "RequestTimeout",
    "ServiceUnavailable",
    "SignatureDoesNotMatch",
    "SlowDown",
    "TemporaryRedirect",
    "TokenRefreshRequired",
    "TooManyBuckets",
    "XMinioStorageFull",
    "XAmzContentSHA256Mismatch",
    "KMS.DisabledException",
    "Throttling",
    "UnknownError",
    "404",
    "Not-A-Code",
]
MESSAGES = ["", "quota", "Request has expired", "storage cap exceeded", "virtual hosted style",
    f"{KEY_ID} {SECRET}", "a\nb\x1b[31m", "x" * 5000, "Signature=0a1b2c",
    f"http://me:{SECRET}@host/?X-Amz-Signature=0a1b2c", "é\u202e😀"]  # fmt: skip
TOKENS = [b"<", b">", b"</", b"&", b"&#0;", b"<Code>", b"</Code>", b"<Error>", b"]]>", b"<![CDATA[", b"\0",
    b"\xff", b"<?xml?>", b'"', b"<Size>-1</Size>", b"<Size>x</Size>", b"<Key>../x</Key>",
    b"<IsTruncated>true</IsTruncated>", b"<Key/>", b"9" * 50]  # fmt: skip
LISTING = (
    b"<ListBucketResult><Name>age</Name><IsTruncated>false</IsTruncated><KeyCount>1</KeyCount><Contents><Key>store/a</Key>"
    b'<Size>7</Size><ETag>"9a0364b9e99bb480dd25e1f0284c8555"</ETag></Contents></ListBucketResult>'
)
CONTENT = b"content"
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


def any_answer(rng: random.Random) -> Answer:
    """An answer that a server, a proxy or a broken one of both could give."""
    status = rng.choice([rng.choice(STATUSES), 200, 206, 403, 404, 500, 503])
    match rng.randrange(5):
        case 0:
            answer = rng.choice(list(BODIES.values()))
        case 1:
            answer = s3_error(0, rng.choice(CODES), rng.choice(MESSAGES))
        case 2:
            body = mutated(s3_error(0, rng.choice(CODES), rng.choice(MESSAGES)).body, rng, TOKENS)
            answer = Answer(0, rng.choice([XML, HTML, {}]), body)
        case 3:
            answer = Answer(0, XML, mutated(LISTING, rng, TOKENS))
        case _:
            answer = Answer(0, {"ETag": f'"{MD5}"'}, rng.choice([CONTENT, b"CONTENT", b"", CONTENT * 1000]))
    headers = dict(answer.headers)
    for name, values in (
        ("ETag", ["", '"x"', "W/x", MD5, f'"{MD5}-2"']),
        ("x-amz-bucket-region", ["eu-north-1", "us-east-1", "x y", ""]),
        ("Location", ["/", "http://host/x", f"http://{KEY_ID}:{SECRET}@host", "//", "http://[", ""]),
        ("Retry-After", ["0", "1", "x", "99999"]),
        ("Last-Modified", ["yesterday", "Thu, 26 Nov 2026 00:00:00 GMT"]),
        ("x-amz-request-id", ["1"]),
        ("Content-Type", ["text/html", "application/json", ""]),
        ("x-amz-server-side-encryption", ["aws:kms", "AES256"]),
    ):
        if rng.random() < 0.12:
            headers[name] = rng.choice(values)
    cut = rng.randrange(len(answer.body)) if answer.body and rng.random() < 0.1 else 0
    return Answer(status, headers, answer.body, cut)


def check_sequence(rng: random.Random, server: AnsweringServer, store: Store, tally: Tally) -> None:
    """Some answers of any kind, and then those of a store that works."""
    with tally.attempt("s3_answers"):
        operation = rng.choice(list(OPERATIONS))
        planned = [any_answer(rng) for _ in range(rng.choice([1, 1, 2, 3, 99]))]
        server.objects.clear()
        server.objects["store/a"] = CONTENT
        given: list[Answer | None] = []

        def plan(request: Request) -> Answer | None:
            given.append(planned[min(len(given), 9) % len(planned)] if len(given) < len(planned) else None)
            return given[-1]

        server.plan, server.asked = plan, []
        began = time.monotonic()
        try:
            result, error = OPERATIONS[operation](store), None
        except AgeTasksError as raised:
            result, error = None, raised
        assert time.monotonic() - began < 30
        assert len(server.asked) <= 2 * ATTEMPTS + 2, len(server.asked)
        if error:
            assert isinstance(error, StoreError | SettingsError)
            said = one_line(error)
            assert not re.search("(?i)signature.{0,3}0a1b2c", said)  # unless the word itself was mutated
            if not isinstance(error, NotFoundError):
                check_message(error, "s3://age/store")
            assert operation in {"PUT", "DELETE"} or server.objects == {"store/a": CONTENT}  # nothing is lost
            return
        last = given[-1]
        context = (
            operation,
            result,
            [each and (each.status, dict(each.headers), each.body[:60], each.cut) for each in given],
        )
        missing = any(each and (each.status in {404, 410} or b"NoSuchKey" in each.body) for each in given)
        if operation == "GET":
            assert result == (CONTENT if last is None else last.body), context
            assert last is None or last.status != 204, context  # it has no content
        if operation == "PUT":
            assert last is not None or server.objects["store/a"] == CONTENT, context
        if operation == "HEAD":
            assert result is True or missing, context
        if operation == "DELETE":
            assert missing or last is not None or "store/a" not in server.objects, context
        assert missing or last is None or last.status < 300 or last.status == 304, context


def sequences(
    many: int, rng: random.Random, request: pytest.FixtureRequest, server: AnsweringServer, tally: Tally
) -> None:
    store = open_store("s3://age/store")
    for _ in attempts(many, request, few=60):
        check_sequence(rng, server, store, tally)
        if getattr(store, "_region", "") or getattr(store, "_style", ""):
            store = open_store("s3://age/store")


def test_some_sequences_of_answers(
    rng: random.Random, request: pytest.FixtureRequest, server: AnsweringServer, tally: Tally
):
    sequences(0, rng, request, server, tally)


@pytest.mark.faults
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(3))
def test_many_sequences_of_answers(
    part: int, rng: random.Random, request: pytest.FixtureRequest, server: AnsweringServer, tally: Tally
):
    sequences(3_500, rng, request, server, tally)


@pytest.mark.faults
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_answer_is_right_or_one_line(operation: str, server: AnsweringServer, tally: Tally):
    """The same answer to every request: any status with any body."""
    store = open_store("s3://age/store")
    for status, body, each in combinations():
        if each == operation:
            with tally.attempt("s3_answers"):
                check(server, store, status, body, operation)
