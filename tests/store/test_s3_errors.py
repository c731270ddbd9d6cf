"""What a server, a network or a wrong setting can answer: one line with the cause and a cure that fits."""

import itertools
import os
import random
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from age_tasks.errors import AgeTasksError, SettingsError, StoreError, StoreRefusedError
from age_tasks.store import open_store, s3
from age_tasks.store.s3 import ATTEMPTS
from age_tasks.store.s3_errors import shown
from tests.support.answering_server import (
    HTML,
    KEY_ID,
    SECRET,
    XML,
    Answer,
    AnsweringServer,
    Plan,
    Request,
    answering_tls,
    s3_error,
)
from tests.support.ports import free_ports
from tests.support.s3_answers import CONSOLE, OPERATIONS, PAGE, TOKEN, check, combinations, one_line, server

__all__ = ["server"]  # a fixture


def refused(operation: str = "PUT", kind: type[AgeTasksError] = StoreRefusedError) -> str:
    """The message of an operation that fails."""
    with pytest.raises(kind) as caught:
        OPERATIONS[operation](open_store("s3://age/store"))
    return one_line(caught.value)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("status", "location", "cure"),
    [
        (301, "https://s3.example.com/age/store/a?X-Amz-Signature=feed", "set AWS_ENDPOINT_URL=https://s3.example.com"),
        (302, "https://login.example.com:8443/sso?next=/age", "set AWS_ENDPOINT_URL=https://login.example.com:8443"),
        (307, "http://age.s3.eu-west-3.amazonaws.com/store/a", "AWS_ENDPOINT_URL=http://s3.eu-west-3.amazonaws.com"),
        (308, "https://user:pa55word@[::1]:9000/age", r"AWS_ENDPOINT_URL=https://\[::1\]:9000"),
        (301, "{self}/age/store/a", "to itself .*check AWS_ENDPOINT_URL"),
        (302, "/login", "redirects to /login"),
        (303, "", "does not say where to"),
    ],
)
def test_a_redirect_is_one_line_that_names_the_target(
    server: AnsweringServer, operation: str, status: int, location: str, cure: str
):
    location = location.replace("{self}", server.url)
    server.plan = lambda request: Answer(status, HTML | ({"Location": location} if location else {}), PAGE)
    said = refused(operation)
    assert re.search(cure, said), said
    assert f"HTTP {status}" in said
    assert not re.search("feed|pa55word|later", said)
    assert len(server.asked) == 1


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    "elsewhere",
    [
        s3_error(301, "PermanentRedirect", headers={"x-amz-bucket-region": "eu-north-1"}),
        s3_error(400, "AuthorizationHeaderMalformed", "the region is wrong", "<Region>eu-north-1</Region>"),
        s3_error(400, "IllegalLocationConstraintException", headers={"x-amz-bucket-region": "eu-north-1"}),
    ],
)
def test_the_region_that_the_server_tells_is_used(server: AnsweringServer, elsewhere: Answer, operation: str):
    server.objects["store/a"] = b"content"
    server.plan = lambda request: None if "/eu-north-1/s3/" in request.headers["authorization"] else elsewhere
    if operation == "HEAD" and "x-amz-bucket-region" not in elsewhere.headers:
        assert "AWS_DEFAULT_REGION" in refused(operation)  # the answer to a HEAD tells no region
    else:
        OPERATIONS[operation](open_store("s3://age/store"))
        assert len(server.asked) == 2


def test_regions_that_send_to_each_other_end_with_one_line(server: AnsweringServer):
    def plan(request):
        other = "eu-north-1" if "/us-east-1/s3/" in request.headers["authorization"] else "us-east-1"
        return s3_error(301, "PermanentRedirect", headers={"x-amz-bucket-region": other})

    server.plan = plan
    assert "set AWS_DEFAULT_REGION=" in refused()
    assert len(server.asked) <= 3


def test_threads_that_are_told_another_region_at_once_all_go_on(server: AnsweringServer):
    store, together = open_store("s3://age/store"), threading.Barrier(8, timeout=60)
    server.objects["store/a"] = b"content"

    def plan(request: Request) -> Answer | None:
        if "/eu-north-1/s3/" in request.headers["authorization"]:
            return None
        together.wait()
        return s3_error(301, "PermanentRedirect", headers={"x-amz-bucket-region": "eu-north-1"})

    server.plan = plan
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(store.get, ["a"] * 8)) == [b"content"] * 8


@pytest.mark.parametrize(
    ("operation", "answer", "says"),
    [
        ("PUT", Answer(413, HTML, PAGE), r"does not accept an object of 0\.0 MB \(HTTP 413\).*raise its limit"),
        ("PUT", Answer(403, HTML, PAGE), r"not S3 denied access \(HTTP 403, a web page\).*check AWS_ENDPOINT_URL"),
        ("HEAD", Answer(403, HTML, PAGE), r"not S3 denied access \(HTTP 403, a web page\)"),
        ("PUT", Answer(405, HTML, PAGE), r"does not support this request \(PUT\).*set AWS_ENDPOINT_URL"),
        ("PUT", Answer(400, {"Content-Type": "text/plain"}, b"Client sent an HTTP request to an HTTPS server.\n"),
         r"HTTP 400.*https://"),
        ("GET", Answer(200, HTML, CONSOLE), "a web page.*not an answer of S3.*set AWS_ENDPOINT_URL"),
        ("HEAD", Answer(200, HTML, CONSOLE), "a web page.*not an answer of S3.*set AWS_ENDPOINT_URL"),
        ("PUT", Answer(200, HTML, CONSOLE), "not.* S3.*set AWS_ENDPOINT_URL"),
        ("DELETE", Answer(200, HTML, CONSOLE), "not an answer of S3.*set AWS_ENDPOINT_URL"),
        ("list", Answer(200, HTML, CONSOLE), "not.* S3.*set AWS_ENDPOINT_URL"),
        ("list", Answer(200, {}, b"<html></html>"), "none of a listing's fields.*set AWS_ENDPOINT_URL"),
        ("list", Answer(200, XML, b""), "none of a listing's fields.*set AWS_ENDPOINT_URL"),
        ("GET", Answer(404, HTML, PAGE), "no S3 interface.*set AWS_ENDPOINT_URL"),
        ("HEAD", Answer(404, HTML, PAGE), "no S3 interface.*set AWS_ENDPOINT_URL"),
        ("PUT", Answer(404), "no S3 interface.*set AWS_ENDPOINT_URL"),
        ("PUT", Answer(401, {"WWW-Authenticate": "Basic"}), r"denied access \(HTTP 401\)"),
        ("GET", Answer(407, {}, b""), "proxy wants a user.*HTTPS_PROXY"),
        ("PUT", Answer(411, HTML, PAGE), "HTTP 411"),
        ("GET", Answer(418, {"Content-Type": "application/json"}, b'{"error": "no"}'), "HTTP 418"),
    ],
)  # fmt: skip
def test_answers_that_are_not_s3s_give_status_and_cure(
    server: AnsweringServer, operation: str, answer: Answer, says: str
):
    server.plan = lambda request: answer
    said = refused(operation)
    assert re.search(says, said), said
    assert "later" not in said
    assert len(server.asked) <= 2


@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 429])
@pytest.mark.parametrize("body", [b"", PAGE, b"<Error/>"])
def test_what_can_pass_says_later(server: AnsweringServer, status: int, body: bytes):
    server.plan = lambda request: Answer(status, HTML, body)
    assert re.search(rf"in {ATTEMPTS} attempts \(.*HTTP {status}.*run it again later", refused(kind=StoreError))
    assert len(server.asked) == ATTEMPTS


def test_a_read_that_its_etag_contradicts_confirms_no_other(server: AnsweringServer):
    """Seen: an answer cut to nothing, and one without content, were taken for an empty object."""
    etag = {"ETag": '"9a0364b9e99bb480dd25e1f0284c8555"'}
    answers = [Answer(200, etag, b""), Answer(200, {}, b""), Answer(200, etag, b"content")]
    server.plan = lambda request: answers[min(len(server.asked), 3) - 1]
    assert open_store("s3://age/store").get("a") == b"content"
    server.plan = lambda request: Answer(204)
    assert "the answer to a GET has the status 204: this is not an answer of S3" in refused("GET")


@pytest.mark.parametrize("operation", ["PUT", "GET"])
def test_a_store_without_the_newer_checksums_works(server: AnsweringServer, operation: str):
    def plan(request):
        newer = [name for name in request.headers if "checksum" in name or "trailer" in name]
        if newer or "STREAMING" in request.headers.get("x-amz-content-sha256", ""):
            return s3_error(400, "InvalidArgument", f"Unsupported header '{newer}' received for this API call.")
        return None

    server.plan = plan
    server.objects["store/a"] = b"content"
    OPERATIONS[operation](open_store("s3://age/store"))
    assert all("content-md5" in request.headers for request in server.asked if request.method == "PUT")


def test_a_variable_can_not_turn_the_newer_checksums_on(server: AnsweringServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_supported")
    OPERATIONS["PUT"](open_store("s3://age/store"))
    assert not [name for name in server.asked[0].headers if "checksum" in name]


@pytest.mark.parametrize(
    ("status", "code", "message", "says"),
    [
        (400, "AuthorizationHeaderMalformed", "", "not in the region us-east-1.*AWS_DEFAULT_REGION"),
        (403, "SecondLevelDomainForbidden", "Please use virtual hosted style", "addressing_style = virtual"),
        (403, "QuotaExceeded", "", "quota.*raise the quota"),
        (403, "AccessDenied", "Cannot upload files, storage cap exceeded.", "quota.*raise the quota"),
        (413, "EntityTooLarge", "Upload exceeds quota.", "quota.*raise the quota"),
        (507, "XMinioStorageFull", "", "no space left.*free space"),
        (400, "EntityTooLarge", "", r"an object of 0\.0 MB.*raise its limit"),
        (404, "NoSuchBucket", "", "no bucket 'age'; create it or correct AGE_STORE"),
        (403, "RequestTimeTooSkewed", "", "correct the clock"),
        (403, "AccessDenied", "Request has expired", "correct the clock"),
        (403, "AccessDenied", "", "check the AWS keys and their permissions"),
        (403, "InvalidAccessKeyId", f"{KEY_ID} is unknown", "check the AWS keys"),
        (403, "SignatureDoesNotMatch", "", "denied.*check the AWS keys.*AWS_SECRET_ACCESS_KEY"),
        (400, "ExpiredToken", "", "get new ones"),
        (400, "KeyTooLongError", "", "shorten the prefix"),
        (403, "InvalidObjectState", "", "archived.*restore it"),
        (501, "NotImplemented", "", "another S3 server"),
        (403, "UserSuspended", "", "storage account"),
        (400, "KMS.DisabledException", "", "encryption key"),
        (409, "SomethingNew", f"no\nsuch {SECRET} thing", r"refused \(SomethingNew, HTTP 409: no such \*\*\* thing\)"),
    ],
)
def test_each_refusal_has_its_own_cure(server: AnsweringServer, status: int, code: str, message: str, says: str):
    server.plan = lambda request: s3_error(status, code, message)
    said = refused()
    assert re.search(says, said), said
    assert "later" not in said


def test_a_server_that_wants_the_bucket_in_the_host_name_gets_it(server: AnsweringServer, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url.replace("127.0.0.1", "localhost"))
    resolved = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **named: resolved("127.0.0.1", *rest, **named))
    virtual = []

    def plan(request):
        if not request.headers["host"].startswith("age.localhost"):
            return s3_error(403, "SecondLevelDomainForbidden", "Please use virtual hosted style to access.")
        virtual.append(request.path)
        return Answer(200, {"ETag": '"9a0364b9e99bb480dd25e1f0284c8555"'}, b"content")

    server.plan = plan
    assert open_store("s3://age/store").get("a") == b"content"
    assert virtual == ["/store/a"]


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"AWS_PROFILE": "nobody"}, "AWS_PROFILE='nobody'"),
        ({"AWS_CONFIG_FILE": "{broken}"}, "configuration file.*AWS_CONFIG_FILE"),
        ({"AWS_CONFIG_FILE": "{binary}"}, "configuration file.*AWS_CONFIG_FILE"),
        ({"AWS_SHARED_CREDENTIALS_FILE": "{broken}"}, "configuration file.*AWS_SHARED_CREDENTIALS_FILE"),
        ({"AWS_DEFAULT_REGION": "us east 1"}, "AWS_DEFAULT_REGION='us east 1'"),
        ({"AWS_DEFAULT_REGION": "us-east-1\n"}, "AWS_DEFAULT_REGION='us-east-1'.*without blanks"),
        ({"AWS_ACCESS_KEY_ID": f"{KEY_ID}\n"}, "AWS_ACCESS_KEY_ID contains a line break"),
        ({"AWS_ACCESS_KEY_ID": f"{KEY_ID}\r\nX: y"}, "AWS_ACCESS_KEY_ID contains a line break"),
        ({"AWS_ACCESS_KEY_ID": f" {KEY_ID}"}, "AWS_ACCESS_KEY_ID contains a blank"),
        ({"AWS_ACCESS_KEY_ID": f"{KEY_ID}é"}, "AWS_ACCESS_KEY_ID contains a character that is not ASCII"),
        ({"AWS_SECRET_ACCESS_KEY": f"{SECRET}\n"}, "AWS_SECRET_ACCESS_KEY contains a line break"),
        ({"AWS_SESSION_TOKEN": f"{TOKEN}\n{TOKEN}"}, "AWS_SESSION_TOKEN contains a line break"),
        ({"AWS_CA_BUNDLE": "/no/such/ca.pem"}, "AWS_CA_BUNDLE='/no/such/ca.pem'.*no such file"),
        ({"AWS_CA_BUNDLE": "{broken}"}, "AWS_CA_BUNDLE=.*no certificates"),
        ({"REQUESTS_CA_BUNDLE": "/no/such/ca.pem"}, "REQUESTS_CA_BUNDLE='/no/such/ca.pem'"),
        ({"AWS_ENDPOINT_URL": "localhost:9000"}, "AWS_ENDPOINT_URL='localhost:9000' is not an address.*http://host"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:90000"}, "AWS_ENDPOINT_URL='http://127.0.0.1:90000'"),
        ({"AWS_ENDPOINT_URL": "http://me:pa55word@host:x"}, "AWS_ENDPOINT_URL='http://host:x'"),
        ({"AWS_ENDPOINT_URL_S3": "ftp://host"}, "AWS_ENDPOINT_URL_S3='ftp://host'"),
        ({"AWS_ENDPOINT_URL": "http://ho st:9000"}, "AWS_ENDPOINT_URL='http://ho st:9000'"),
        ({"AWS_CA_BUNDLE": " "}, "AWS_CA_BUNDLE"),
        ({"HTTP_PROXY": "nonsense:x", "AWS_ENDPOINT_URL": "http://s3.invalid:9000"},
         "'nonsense:x'.*correct HTTP_PROXY"),
        ({"AWS_CONFIG_FILE": "{blank}", "AWS_DEFAULT_REGION": ""}, "region in .*blank='us east'"),
        ({"AWS_CONFIG_FILE": "{style}"}, "sideways.*correct AWS_CONFIG_FILE|sideways.*style"),
        ({"AWS_RETRY_MODE": "often"}, "AWS_RETRY_MODE='often' is invalid; set it to legacy, standard or adaptive"),
        ({"AWS_MAX_ATTEMPTS": "several"}, "AWS_MAX_ATTEMPTS='several' is invalid; set it to a number from 1 on"),
        ({"AWS_MAX_ATTEMPTS": "0"}, "AWS_MAX_ATTEMPTS='0' is invalid"),
        ({"AWS_METADATA_SERVICE_TIMEOUT": "1s"}, "AWS_METADATA_SERVICE_TIMEOUT='1s' is invalid.*number of seconds"),
        ({"AWS_RESPONSE_CHECKSUM_VALIDATION": "never"}, "AWS_RESPONSE_CHECKSUM_VALIDATION='never'.*when_required or"),
        ({"AWS_STS_REGIONAL_ENDPOINTS": "eu"}, "AWS_STS_REGIONAL_ENDPOINTS='eu' is invalid; set it to regional or leg"),
        ({"AWS_S3_US_EAST_1_REGIONAL_ENDPOINT": "LEGACY"}, "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT='LEGACY' is invalid"),
        ({"AWS_USE_FIPS_ENDPOINT": "1"}, "AWS_USE_FIPS_ENDPOINT='1' is invalid; set it to true or false"),
        ({"AWS_EC2_METADATA_DISABLED": "yes"}, "AWS_EC2_METADATA_DISABLED='yes' is invalid; set it to true or false"),
        ({"AWS_CONFIG_FILE": "/no/such/config"}, "AWS_CONFIG_FILE='/no/such/config': there is no such file"),
        ({"AWS_CONFIG_FILE": "~nobody-here/config"}, "AWS_CONFIG_FILE='~nobody-here/config': there is no such file"),
        ({"AWS_CONFIG_FILE": "/" + "x" * 5000}, "AWS_CONFIG_FILE=.*there is no such file"),
        ({"AWS_SHARED_CREDENTIALS_FILE": "~/no such"}, "AWS_SHARED_CREDENTIALS_FILE='~/no such': there is no such"),
        ({"AWS_DEFAULT_REGION": " "}, "AWS_DEFAULT_REGION holds nothing but blanks"),
        ({"AWS_ENDPOINT_URL_S3": " \t"}, "AWS_ENDPOINT_URL_S3 holds nothing but blanks"),
        ({"AWS_SESSION_TOKEN": "\n"}, "AWS_SESSION_TOKEN holds nothing but blanks"),
        ({"AWS_PROFILE": " "}, "AWS_PROFILE holds nothing but blanks"),
        ({"AWS_ENDPOINT_URL_S3": "localhost:9000"}, "AWS_ENDPOINT_URL_S3='localhost:9000' is not an address"),
        ({"AWS_DEFAULTS_MODE": "nonsense"}, "AWS_DEFAULTS_MODE"),
        ({"AWS_USE_FIPS_ENDPOINT": "true"}, "^$|FIPS"),
        ({"AWS_REQUEST_CHECKSUM_CALCULATION": "no"},
         "AWS_REQUEST_CHECKSUM_CALCULATION='no' is invalid; set it to when_required or when_supported"),
        ({"AWS_ROLE_ARN": "arn:aws:iam::1:role/x", "AWS_WEB_IDENTITY_TOKEN_FILE": "/no/such/token",
          "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "AWS_WEB_IDENTITY_TOKEN_FILE"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://example.com/x", "AWS_ACCESS_KEY_ID": "",
          "AWS_SECRET_ACCESS_KEY": ""}, "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("operation", ["PUT", "list"])
def test_a_wrong_setting_of_the_client_is_named(
    server: AnsweringServer,
    operation: str,
    variables: dict[str, str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    (tmp_path / "broken").write_text("[default\nregion = x\n= y\n")
    (tmp_path / "binary").write_bytes(b"[default]\n\xff\xfe = \x00\n")
    (tmp_path / "blank").write_text("[default]\nregion = us east\n")
    (tmp_path / "style").write_text("[default]\ns3 =\n  addressing_style = sideways\n")
    for name, value in variables.items():
        files = {file: tmp_path / file for file in ("broken", "binary", "blank", "style")}
        monkeypatch.setenv(name, value.format(**files))
        if not value:
            monkeypatch.delenv(name)
    try:
        OPERATIONS[operation](open_store("s3://age/store"))
    except (SettingsError, StoreRefusedError) as error:
        said = one_line(error)
        assert re.search(says, said), said
        assert "pa55word" not in said
        assert server.asked == []
    else:
        assert re.search(says, "")


@pytest.mark.parametrize(
    "variables",
    [
        {"AWS_RETRY_MODE": "Adaptive"},
        {"AWS_MAX_ATTEMPTS": "3", "AWS_METADATA_SERVICE_TIMEOUT": "2"},
        {"AWS_REQUEST_CHECKSUM_CALCULATION": "WHEN_REQUIRED", "AWS_USE_DUALSTACK_ENDPOINT": "False"},
        {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull},
        {"AWS_DEFAULTS_MODE": "in-region", "AWS_RETRY_MODE": "", "AWS_CONFIG_FILE": ""},
    ],
)
def test_settings_of_the_client_that_it_knows_are_no_obstacle(
    server: AnsweringServer, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    OPERATIONS["PUT"](open_store("s3://age/store"))
    assert server.asked


def test_a_key_of_the_credentials_file_is_not_shown(server: AnsweringServer, tmp_path: Path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    file = tmp_path / "credentials"
    file.write_text(f"[default]\naws_access_key_id = {KEY_ID}\n  more\naws_secret_access_key = {SECRET}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    assert "access_key_id in the AWS configuration file contains a line break" in refused(kind=SettingsError)
    file.write_text(f"[default]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\n")
    server.plan = lambda request: s3_error(400, "InvalidRequest", f"{KEY_ID} {SECRET} Signature=0a1b2c")
    assert "0a1b2c" not in refused()


def test_a_text_of_others_is_shown_without_its_secrets():
    said = shown(
        "b'AWS4-HMAC-SHA256 Credential=AK\\nIA/2026/x, SignedHeaders=host, Signature=0a1b' http://u:p@h/a?X=1\n"
    )
    assert not re.search("AK|0a1b|u:p|X=1", said)
    assert len(shown("x " * 5000)) < 300


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    with answering_tls(tmp_path) as served:
        yield served


def test_an_own_authority_is_named_and_may_be_given(
    server: AnsweringServer, tls: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", tls[0])
    assert re.search("certificate is not accepted.*self.signed.*set AWS_CA_BUNDLE", refused())
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tls[1]))
    OPERATIONS["PUT"](open_store("s3://age/store"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", tls[0].replace("localhost", "127.0.0.1"))
    assert re.search("certificate is not accepted.*write the name that the certificate is for", refused())


def test_a_server_without_tls_is_named(server: AnsweringServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url.replace("http:", "https:"))
    assert re.search("does not speak TLS.*write http://", refused())


def test_the_pauses_are_those_of_the_documentation(server: AnsweringServer, monkeypatch: pytest.MonkeyPatch):
    pauses: list[float] = []
    monkeypatch.setattr(s3, "PAUSE_SECONDS", 1.0)
    monkeypatch.setattr(s3.time, "sleep", pauses.append)
    body = b"content"
    etag = {"ETag": '"9a0364b9e99bb480dd25e1f0284c8555"'}
    plans: list[Plan] = [
        lambda request: Answer(503),
        lambda request: Answer(200, etag, body * 100_000, cut=100_000),
        lambda request: Answer(200, etag, b"CONTENT"),
    ]
    for plan, operation in itertools.product(plans, ("GET", "PUT")):
        if operation == "PUT" and plan is not plans[0]:
            continue
        pauses.clear()
        server.plan = plan
        refused(operation, StoreError)
        assert len(pauses) == ATTEMPTS - 1
        assert all(
            expected <= pause <= 1.2 * expected for pause, expected in zip(pauses, (1, 2, 4, 8, 16, 16), strict=True)
        )


@pytest.mark.parametrize("operation", [pytest.param(name, marks=pytest.mark.faults) for name in OPERATIONS])
@pytest.mark.timeout(120)
def test_a_server_that_is_away_for_20_seconds_fails_nothing(server: AnsweringServer, operation: str, monkeypatch):
    monkeypatch.setattr(s3, "PAUSE_SECONDS", 1.0)
    (port,) = free_ports(1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    done: list[BaseException | None] = []

    def act() -> None:
        try:
            OPERATIONS[operation](open_store("s3://age/store"))
            done.append(None)
        except BaseException as error:
            done.append(error)

    worker = threading.Thread(target=act)
    worker.start()
    time.sleep(20)
    assert not done
    back = socket.socket()
    back.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with AnsweringServer() as again:
        again.objects["store/a"] = b"content"
        again.server_close()
        back.bind(("127.0.0.1", port))
        back.listen(64)
        again.socket = back
        threading.Thread(target=again.serve_forever, daemon=True).start()
        worker.join(40)
        again.shutdown()
    assert done == [None]


def test_some_answers_are_right_or_one_line(server: AnsweringServer):
    store = open_store("s3://age/store")
    for status, body, operation in random.Random(os.environ.get("SEED", 14)).sample(combinations(), 100):
        check(server, store, status, body, operation)
