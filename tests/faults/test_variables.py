"""Generated values of every environment variable: refused by name, or taken for what they say; no secret is shown."""

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import strategies as st

from age_tasks.environment import GROUPS, MLflowVariables, Variables, describe_environment, environment_problems
from age_tasks.errors import SettingsError
from age_tasks.registry.mlflow_mirror import log_champion
from age_tasks.store import open_store, s3
from tests.faults.generated import SECRET, generated, outcome, texts
from tests.faults.tally import Tally

TRUE, FALSE = {"true", "yes", "on", "1", "t", "y"}, {"false", "no", "off", "0", "f", "n"}
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
FIELDS = {group.variable(field): (group, field) for group in GROUPS for field in group.model_fields}
OURS = sorted({variable.name for variable in describe_environment()} & set(FIELDS))
SECRETS = {"MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"}
RIGHT = ("12", "0.5", "true", "off", "all", "16g", "ann@example.org,bob@example.org", "a=b", "image:1",
    "labels.csv", "a:b", "/tmp/x", "~/x", "file:///tmp/a%20b", "s3://bucket/x", '{"finetune.epochs": 3}',
    "http://host:5000", "kubernetes")  # fmt: skip


def as_text_says(value: Any, text: str, group: type[Variables], field: str) -> bool:
    """Whether a value is what a person who wrote this text meant, by a reading of its own."""
    text = text.strip()
    kind = str(group.model_fields[field].annotation)
    if "bool" in kind:
        return (value is True and text.lower() in TRUE) or (value is False and text.lower() in FALSE)
    if "float" in kind:
        return bool(NUMBER.fullmatch(text)) and value == float(text)
    if "int" in kind:
        return bool(re.fullmatch("[+-]?[0-9]+", text)) and value == int(text)
    if "Path" in kind:
        path = str(Path(text).expanduser())
        if text.lower().startswith("file://"):
            path = unquote(text[7:], errors="surrogateescape").removeprefix("localhost")
        return isinstance(value, Path) and value == Path(path).absolute()
    return field == "set" or value == text


def check_ours(name: str, text: str, tally: Tally) -> None:
    """One `AGE_*` or `MLFLOW_TRACKING_*` variable, in each group that reads it."""
    with tally.attempt("variables"):
        for group in GROUPS:
            field = next((field for field in group.model_fields if group.variable(field) == name), "")
            if not field:
                continue
            found, refused = outcome(lambda: group.from_env({name: text}), name)  # noqa: B023
            if refused is not None:
                assert isinstance(refused, SettingsError)
                assert set(str(refused).split("\n")) <= set(environment_problems({name: text}))
            elif text.strip():
                assert as_text_says(getattr(found, field), text, group, field), (name, text, getattr(found, field))
                others = group.from_env({}).model_dump(exclude={field, "images"})
                assert found.model_dump(exclude={field, "images"}) == others
                assert SECRET not in repr(found) or name not in SECRETS
            else:
                assert found == group.from_env({})
        assert not any(SECRET in line for line in environment_problems({name: text}))


test_some_of_our_variables, test_many_of_our_variables = generated(
    30_000, name=st.sampled_from(OURS), text=texts(*RIGHT, nul=False)
)(check_ours)


def check_together(values: dict[str, str], tally: Tally) -> None:
    """Several variables at once: a line for each that is wrong, and none for another."""
    with tally.attempt("variables"):
        wrong = {line for name, text in values.items() for line in environment_problems({name: text})}
        together = environment_problems(values)
        crossed = ("AGE_DEADLINE_HOURS", "AGE_CACHE_VOLUME", "AGE_STORE", "AGE_NOTIFY_EMAIL")
        assert {line for line in together if not line.startswith(crossed)} <= wrong
        assert not any(SECRET in line for line in together)


test_some_variables_together, test_many_variables_together = generated(
    3_000, values=st.dictionaries(st.sampled_from(OURS), texts(*RIGHT, nul=False), max_size=6)
)(check_together)


class Caught(logging.Handler):
    """The messages that were logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        assert not record.exc_info


@pytest.fixture
def warned() -> Iterator[Caught]:
    caught, log = Caught(), logging.getLogger("age_tasks.registry.mlflow_mirror")
    log.addHandler(caught)
    yield caught
    log.removeHandler(caught)


def check_mlflow(values: dict[str, str], monkeypatch: pytest.MonkeyPatch, warned: Caught, tally: Tally) -> None:
    """What names the MLflow server: one line of warning, without a secret."""
    with tally.attempt("variables"):
        monkeypatch.setattr("requests.Session.request", _nobody)
        for field in MLflowVariables.model_fields:
            name = MLflowVariables.variable(field)
            os.environ.pop(name, None)
            if name in values:
                os.environ[name] = values[name]
        warned.lines.clear()
        try:
            log_champion("v1")
        finally:
            for field in MLflowVariables.model_fields:
                os.environ.pop(MLflowVariables.variable(field), None)
        (line,) = warned.lines
        assert line.startswith("MLflow (")
        assert line.isprintable() or not re.search(
            "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\ud800-\udfff]", line
        ), ascii(line)
        assert SECRET not in line
        assert len(line) < 700


def _nobody(session: Any, method: str, url: str, **given: Any) -> None:
    import requests

    request = requests.Request(method, url, headers=session.headers, auth=session.auth, params=given.get("params"))
    session.prepare_request(request)
    raise requests.ConnectionError(f"no one answers at {url}")


mlflow_texts = st.one_of(
    texts(*RIGHT, nul=False), st.just(SECRET), texts().map(lambda text: f"{SECRET}{text}".replace("\0", ""))
)
test_some_mlflow_variables, test_many_mlflow_variables = generated(
    10_000,
    values=st.fixed_dictionaries(
        {"MLFLOW_TRACKING_URI": texts(*RIGHT, nul=False).filter(lambda text: bool(text.strip()))},
        optional={
            "MLFLOW_TRACKING_USERNAME": texts(nul=False),
            "MLFLOW_TRACKING_PASSWORD": mlflow_texts.filter(lambda text: SECRET in text),
            "MLFLOW_TRACKING_TOKEN": mlflow_texts.filter(lambda text: SECRET in text),
        },
    ),
)(check_mlflow)


def client_variables() -> list[str]:
    """The variables that botocore knows, and those that TLS and proxies go by."""
    from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES

    found = {
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
    }
    found |= {"REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "AWS_DEFAULT_PROFILE", "AWS_REGION"}
    found |= {
        "AWS_ROLE_ARN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    }
    for _, variables, _, _ in BOTOCORE_DEFAUT_SESSION_VARIABLES.values():
        found |= set([variables] if isinstance(variables, str) else variables or [])
    return sorted(found - {"BOTO_CONFIG"})


AWS = client_variables()
AWS_SECRETS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine of nobody: no settings, no pauses, no way out, and no service of a cloud that gives keys."""
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(s3, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr("botocore.httpsession.URLLib3Session.send", _refuse)


def _refuse(session: Any, request: Any) -> None:
    from botocore.exceptions import EndpointConnectionError

    raise EndpointConnectionError(endpoint_url=request.url)


def check_client(values: dict[str, str], nowhere: None, tally: Tally) -> None:
    """The variables of the S3 client: whatever is wrong is one line that shows no key."""
    with tally.attempt("client_variables"):
        base = {"AWS_ACCESS_KEY_ID": "AKIACANARY", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1"}
        base |= {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_EC2_METADATA_DISABLED": "true"}
        before = dict(os.environ)
        os.environ.update(base | values)
        try:
            _, refused = outcome(lambda: open_store("s3://age/store").get("a"), "s3://age/store")
        finally:
            os.environ.clear()
            os.environ.update(before)
        assert refused is not None
        said = str(refused)
        for name in AWS_SECRETS & set(values):
            planted = values[name].strip()
            assert len(planted) < 8 or planted not in said, said


secret_texts = texts(nul=False).map(lambda text: f"{SECRET}{text}")
aws_values = st.dictionaries(
    st.sampled_from(AWS),
    texts(
        "us-east-1",
        "http://127.0.0.1:9000",
        "true",
        "standard",
        "3",
        "10",
        "path",
        "virtual",
        "/no/such/file",
        nul=False,
    ),
    min_size=1,
    max_size=2,
).map(lambda found: {name: f"{SECRET}{text}" if name in AWS_SECRETS and text else text for name, text in found.items()})
test_some_client_variables, test_many_client_variables = generated(1_000, few=10, values=aws_values)(check_client)
