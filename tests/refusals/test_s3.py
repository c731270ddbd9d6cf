"""Answers of S3 and settings of its client that are refused."""

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from age_tasks.store import open_store
from age_tasks.store.base import Store
from age_tasks.store.s3 import ATTEMPTS
from tests.support.answering_server import (
    HTML,
    KEY_ID,
    Answer,
    AnsweringServer,
    answering_s3,
    answering_tls,
    s3_error,
)
from tests.support.ports import free_ports
from tests.support.refusals import walks
from tests.support.walks import Walk

MODULE = "store/s3_errors.py"
TRIES = f"in {ATTEMPTS} attempts"
OPERATIONS: dict[str, Callable[[Store], object]] = {
    "PUT": lambda store: store.put("a", b"content"),
    "GET": lambda store: store.get("a"),
    "HEAD": lambda store: store.entry("a"),
    "list": lambda store: store.list(),
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[AnsweringServer]:
    with answering_s3(monkeypatch, tmp_path / "home") as server:
        server.objects["store/a"] = b"content"
        yield server


def operation(name: str) -> Callable[[], None]:
    """One on the store, by a client that reads the variables anew."""

    def act() -> None:
        OPERATIONS[name](open_store("s3://age/store"))

    return act


def answers(part: str, name: str, answer: Answer, *says: str) -> object:
    return pytest.param(name, answer, says, marks=walks(MODULE, part), id=f"{part[:50]} {name} {answer.status}")


def code(part: str, status: int, name: str, *says: str, message: str = "") -> object:
    return answers(part, "PUT", s3_error(status, name, message), *says)


@pytest.mark.parametrize(
    ("name", "answer", "says"),
    [
        code("_refusals: access denied{}; {}", 403, "AccessDenied", "check the AWS keys and their permissions"),
        code("have expired or are no longer valid", 400, "ExpiredToken", "get new ones and set them"),
        code("_refusals: the server failed or was too busy", 503, "SlowDown", TRIES, "run it again later"),
        code("_refusals: the data was corrupted", 400, "BadDigest", "corrupted in transit", "check the network"),
        code("a quota of the bucket or account", 403, "QuotaExceeded", "raise the quota", "prune --delete"),
        code("the server has no space left", 507, "XMinioStorageFull", "prune --delete, or enlarge"),
        code("does not accept an object of", 413, "EntityTooLarge", "0.0 MB", "raise its limit for one object"),
        code("wants the bucket in the host name", 403, "SecondLevelDomainForbidden", "addressing_style = virtual"),
        code("clock and the server's", 403, "RequestTimeTooSkewed", "correct the clock"),
        code("refuses the request's checksum", 400, "InvalidArgument", "update the server",
             message="Unsupported header"),
        code("does not know the access key", 403, "InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"),
        code("the signature does not match", 403, "SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"),
        code("the object is archived", 403, "InvalidObjectState", "restore it with the storage provider's tools"),
        code("encryption key", 400, "KMS.DisabledException", "check the key and the permission to use it"),
        code("replaced while it was read", 412, "PreconditionFailed", "run it again"),
        code("does not support this request", 501, "NotImplemented", "(PUT)", "set AWS_ENDPOINT_URL"),
        code("the storage account is suspended", 403, "UserSuspended", "clear this up with the storage provider"),
        code("is not a valid bucket name", 400, "InvalidBucketName", "'age'", "correct AGE_STORE"),
        code("does not accept the object's name", 400, "KeyTooLongError", "shorten the prefix in the address"),
        code("object lock", 403, "ObjectLocked", "use a bucket without object lock"),
        code("no_bucket: there is no bucket", 404, "NoSuchBucket", "'age'", "create it or correct AGE_STORE"),
        code("_answer: {} ({}, HTTP {}{}){}; {}", 409, "SomethingNew", "no such thing", "correct what it names",
             message="no such thing"),
        code("explain: {}{}; {}", 403, "AccessDenied", "at http://127.0.0.1:", "check the AWS keys"),
        answers("_status: the server failed or was too busy", "PUT", Answer(502, HTML, b"<html>"), "HTTP 502", "later"),
        answers("that the AWS credentials have not expired, and {}", "HEAD", Answer(400), "AWS_DEFAULT_REGION"),
        answers("begins with https:// if", "PUT", Answer(400, {}, b"no"), "AWS_ENDPOINT_URL begins with https://"),
        answers("_status: access denied", "HEAD", Answer(403), "s3:ListBucket", "clock"),
        answers("that is not S3 denied access", "PUT", Answer(403, HTML, b"<html>"), "a web page", "AWS_ENDPOINT_URL"),
        answers("the proxy wants a user and password", "GET", Answer(407), "correct HTTPS_PROXY, or set NO_PROXY"),
        answers("has no S3 interface under this address", "GET", Answer(404, HTML, b"<html>"), "set AWS_ENDPOINT_URL"),
        answers("does not accept a request this long", "GET", Answer(414), "shorten the prefix"),
        answers("wants the length of the content", "PUT", Answer(411), "check proxies that change requests"),
        answers("the answer is not one of S3", "GET", Answer(418), "HTTP 418", "set AWS_ENDPOINT_URL"),
        answers("the server redirects, and does not say", "PUT", Answer(303), "check AWS_ENDPOINT_URL"),
        answers("_redirect: {}{}; {}", "PUT", Answer(302, {"Location": "/login"}), "/login", "set AWS_ENDPOINT_URL"),
        answers("this is not an answer of S3", "GET", Answer(200, HTML, b"<html>"), "a web page", "AWS_ENDPOINT_URL"),
        answers("check the network and any proxy", "GET", Answer(200, {"ETag": f'"{"0" * 32}"'}, b"x"),
                f"in {ATTEMPTS} reads", "upload the object again"),
    ],
)  # fmt: skip
def test_an_answer_that_was_cleared_up(
    refused: Walk, server: AnsweringServer, name: str, answer: Answer, says: tuple[str, ...]
):
    server.plan = lambda request: answer
    again = refused(operation(name), "s3://age/store", *says)
    server.plan = lambda request: None
    again()


@walks(MODULE, "_answer: not found{}; {}")
def test_an_object_that_is_not_there(refused: Walk, server: AnsweringServer):
    content = server.objects.pop("store/a")
    again = refused(operation("GET"), "s3://age/store/a: not found", "restore it, or run again what writes it")
    server.objects["store/a"] = content
    again()


@walks(MODULE, "_redirect: {}{}; if that is the S3 server, set {}={}")
def test_a_redirect_is_followed_by_a_variable(refused: Walk, server: AnsweringServer, monkeypatch: pytest.MonkeyPatch):
    there = server.url.replace("127.0.0.1", "localhost")
    to_there = Answer(301, {"Location": f"{there}/age/store/a"})
    server.plan = lambda request: to_there if request.headers["host"].startswith("127") else None
    again = refused(operation("GET"), f"redirects to {there}", f"set AWS_ENDPOINT_URL={there}")
    monkeypatch.setenv("AWS_ENDPOINT_URL", refused.message.rpartition("AWS_ENDPOINT_URL=")[2])
    again()


@walks(MODULE, "{}: to itself{}; check {}, and the proxy before the server")
def test_a_redirect_to_itself(refused: Walk, server: AnsweringServer):
    server.plan = lambda request: Answer(301, {"Location": f"{server.url}/age"})
    again = refused(operation("GET"), "to itself", "check AWS_ENDPOINT_URL")
    server.plan = lambda request: None
    again()


@pytest.mark.parametrize(
    ("told", "says"),
    [
        pytest.param("", "to the bucket's region", marks=walks(MODULE, "_refusals: the bucket is not in the region")),
        pytest.param("eu-north-1", "set AWS_DEFAULT_REGION=eu-north-1",
                     marks=walks(MODULE, "_redirect: the bucket is in the region")),
    ],
)  # fmt: skip
def test_a_region(refused: Walk, server: AnsweringServer, monkeypatch: pytest.MonkeyPatch, told: str, says: str):
    def plan(request: object) -> Answer | None:
        if not told:
            there = "/eu-north-1/s3/" in request.headers["authorization"]
            return None if there else s3_error(400, "AuthorizationHeaderMalformed")
        other = "eu-north-1" if "/us-east-1/s3/" in request.headers["authorization"] else "us-east-1"
        return s3_error(301, "PermanentRedirect", headers={"x-amz-bucket-region": other})

    server.plan = plan
    again = refused(operation("PUT"), "AWS_DEFAULT_REGION", says)
    if told:  # regions that send to each other, until a person decides
        server.plan = lambda request: None
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    again()


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        pytest.param({"AWS_PROFILE": "nobody"}, ["AWS_PROFILE='nobody'", "correct or unset AWS_PROFILE"],
                     marks=walks(MODULE, "there is no such profile")),
        pytest.param({"AWS_CONFIG_FILE": "{broken}"}, ["configuration file of AWS", "AWS_CONFIG_FILE"],
                     marks=walks(MODULE, "the configuration file of AWS can't be read")),
        pytest.param({"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": "ipv9"}, ["correct AWS_EC2_METADATA_SERVICE_"],
                     marks=[walks(MODULE, "the AWS settings are invalid"), walks(MODULE, "wrong: {}{}; {}")]),
        pytest.param({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
                     ["no credentials", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"],
                     marks=walks(MODULE, "no credentials{}; set {} and {}")),
        pytest.param({"AWS_ENDPOINT_URL": "localhost:9000"}, ["'localhost:9000' is not an address", "http://host:port"],
                     marks=walks(MODULE, "is not an address; set {} to")),
        pytest.param({"AWS_ENDPOINT_URL_S3": " "}, ["AWS_ENDPOINT_URL_S3 holds nothing but blanks", "or unset it"],
                     marks=walks(MODULE, "holds nothing but blanks; give it a value")),
        pytest.param({"AWS_RETRY_MODE": "often"}, ["AWS_RETRY_MODE='often'", "legacy, standard or adaptive"],
                     marks=walks(MODULE, "_check_variables: {}: {}={} is invalid; set it to {}, or unset it")),
        pytest.param({"AWS_CONFIG_FILE": "/no/config"}, ["AWS_CONFIG_FILE='/no/config'", "correct or unset AWS_CONF"],
                     marks=walks(MODULE, "there is no such file; correct or unset {}")),
        pytest.param({"AWS_DEFAULT_REGION": "us east"}, ["AWS_DEFAULT_REGION='us east'", "without blanks"],
                     marks=walks(MODULE, "write it without blanks")),
        pytest.param({"AWS_CA_BUNDLE": "/no/ca.pem"}, ["AWS_CA_BUNDLE='/no/ca.pem'", "correct or unset AWS_CA_BUNDLE"],
                     marks=walks(MODULE, "can't be used: {}; correct or unset")),
        pytest.param({"AWS_ACCESS_KEY_ID": f"{KEY_ID}\n"}, ["AWS_ACCESS_KEY_ID contains a line break"],
                     marks=[walks(MODULE, "set it without (the value is not shown)"),
                            walks(MODULE, "_problem: a line break")]),
        pytest.param({"AWS_ACCESS_KEY_ID": f"{KEY_ID}\x07"}, ["contains a control character"],
                     marks=walks(MODULE, "_problem: a control character")),
        pytest.param({"AWS_ACCESS_KEY_ID": f" {KEY_ID}"}, ["contains a blank"],
                     marks=walks(MODULE, "_problem: a blank")),
        pytest.param({"AWS_ACCESS_KEY_ID": f"{KEY_ID}é"}, ["contains a character that is not ASCII"],
                     marks=walks(MODULE, "_problem: {}")),
        pytest.param({"AWS_ENDPOINT_URL": "http://s3.invalid", "HTTP_PROXY": "nonsense:x"},
                     ["'nonsense:x'", "correct HTTP_PROXY and HTTPS_PROXY"],
                     marks=walks(MODULE, "an address can't be read")),
        pytest.param({"AWS_ENDPOINT_URL": "http://s3.invalid", "HTTP_PROXY": "http://127.0.0.1:{closed}"},
                     ["proxy", "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"],
                     marks=walks(MODULE, "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY, or")),
        pytest.param({"AWS_ENDPOINT_URL": "http://127.0.0.1:{closed}"},
                     [TRIES, "check AWS_ENDPOINT_URL, the bucket name and the network"],
                     marks=walks(MODULE, "_connection: {} (in {} attempts){}; {}")),
        pytest.param({"AWS_ENDPOINT_URL": "https://127.0.0.1:{here}"},
                     ["does not speak TLS", "write http:// in AWS_ENDPOINT_URL"],
                     marks=walks(MODULE, "does not speak TLS")),
    ],
)  # fmt: skip
def test_a_setting_of_the_client_that_is_corrected(
    refused: Walk,
    server: AnsweringServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    says: list[str],
):
    (tmp_path / "broken").write_text("[default\nregion = x\n= y\n")
    filled = {"broken": tmp_path / "broken", "closed": free_ports(1)[0], "here": server.server_address[1]}
    with monkeypatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value.format(**filled)) if value else patch.delenv(name)
        again = refused(operation("PUT"), *says)
        assert KEY_ID not in refused.message
    again()


@walks(MODULE, "the server's certificate is not accepted")
def test_an_authority_of_ones_own(
    refused: Walk, server: AnsweringServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with answering_tls(tmp_path) as (address, certificate):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        again = refused(operation("PUT"), "certificate is not accepted", "set AWS_CA_BUNDLE")
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
        again()


@walks(MODULE, "_connection: {} (in {} attempts){}; {}")
def test_a_server_that_hangs_up_on_tls(refused: Walk, server: AnsweringServer, monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def hang_up() -> None:
            while True:
                try:
                    caller, _ = silent.accept()
                except OSError:
                    return
                caller.recv(10)
                caller.close()

        threading.Thread(target=hang_up, daemon=True).start()
        with monkeypatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", f"https://127.0.0.1:{silent.getsockname()[1]}")
            again = refused(operation("PUT"), TRIES, "check AWS_ENDPOINT_URL")
        silent.shutdown(socket.SHUT_RDWR)
    again()


def of_botocore() -> Iterator[object]:
    """Errors that the client raises in surroundings that no test has, such as a single sign-on."""
    from botocore import exceptions as given
    from botocore.parsers import ResponseParserError

    def raised(part: str, error: Exception, *says: str) -> object:
        return pytest.param(error, says, marks=walks(MODULE, part), id=type(error).__name__)

    yield raised("no region{}; set {}", given.NoRegionError(), "set AWS_DEFAULT_REGION")
    yield raised("write it as us-east-1", given.InvalidRegionError(region_name="x y"), "us-east-1")
    yield raised("or the object's name is too long", given.ParamValidationError(report="no"), "correct AGE_STORE")
    yield raised(
        "the AWS credentials can't be fetched",
        given.CredentialRetrievalError(provider="sso", error_msg="no"),
        "check their source, or run it again",
    )
    yield raised("the AWS sign-in is missing", given.SSOTokenLoadError(error_msg="no"), "aws sso login")
    yield raised("the proxy settings are invalid", given.InvalidProxiesConfigError(), "correct HTTPS_PROXY")
    yield raised("not the expected XML", ResponseParserError("no"), "set AWS_ENDPOINT_URL")
    yield raised("the bucket name and the AWS_ variables", RuntimeError("what?"), "RuntimeError in the client")


@pytest.mark.parametrize(("error", "says"), list(of_botocore()))  # fmt: skip
def test_an_error_of_the_client(
    refused: Walk, server: AnsweringServer, error: Exception, says: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
):
    store = open_store("s3://age/store")
    store.put("a", b"content")

    def fails(**_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(store._client, "put_object", fails)
        again = refused(lambda: store.put("a", b"content"), *says)
    again()
