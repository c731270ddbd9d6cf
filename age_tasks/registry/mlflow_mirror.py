"""Copies published versions to an MLflow server; used only where `MLFLOW_TRACKING_URI` is set.

Uses the server's REST API, since MLflow's client conflicts with the package versions that Airflow needs. Authenticates
with `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`, or with `MLFLOW_TRACKING_TOKEN`. Whatever is wrong with
the address or the server is logged as a warning and fails nothing: the store is authoritative.
"""

import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pandas as pd
import requests
from requests.auth import HTTPBasicAuth

from age_tasks.environment import MLflowVariables
from age_tasks.errors import without_user

log = logging.getLogger(__name__)

MODEL, CHAMPION_ALIAS = "age", "champion"  # the registered model, and the alias of its version in use
VERSION_TAG = "age_version"  # our version's key, by which MLflow's version is found
PROXIED = "mlflow-artifacts:"  # scheme of artifacts that the server itself stores
TIMEOUT = (10, 300)  # seconds to connect, and between two bytes
MAX_METRICS, MAX_PARAMETERS = 1000, 100  # per request, by MLflow's limits
MAX_PARAMETER_LENGTH = 6000  # characters, by MLflow's limit

Json = dict[str, Any]


_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_VARIABLES = {name: MLflowVariables.variable(name) for name in ("uri", "username", "password", "token")}


class Refused(requests.RequestException):
    """The server answered with an error, or not as MLflow does; the message says how."""


class UnusableError(Exception):
    """The variables name no server, or can't be sent; the message says what they should be."""


class Server:
    """A client of an MLflow tracking server.

    Attributes:
        shown: its address without user, password and query, for messages.

    Raises:
        UnusableError: the variables can't be used.
    """

    def __init__(self, given: MLflowVariables) -> None:
        self.shown = shown_address(given.uri)
        _check_address(given.uri)
        for name in ("username", "password", "token"):
            if not getattr(given, name).isprintable():
                raise UnusableError(f"{_VARIABLES[name]} contains a line break or control character: set it without")
        self._address = given.uri.rstrip("/")
        self._session = requests.Session()
        if given.username:
            self._session.auth = HTTPBasicAuth(given.username.encode(), given.password.encode())
        elif given.token:
            self._session.headers["Authorization"] = f"Bearer {given.token}".encode()

    def get(self, call: str, **parameters: str) -> Json | None:
        """The answer to a GET request; None for status 404."""
        answer = self._ask("GET", f"mlflow/{call}", params=parameters)
        return None if answer.status_code == 404 and "html" not in _kind(answer) else _read(answer)

    def post(self, call: str, **content: object) -> Json:
        """The answer to a POST request with `content` as JSON."""
        return _read(self._ask("POST", f"mlflow/{call}", json=content))

    def put(self, folder: str, name: str, path: Path) -> None:
        """Upload a file to an artifact folder that the server itself stores."""
        artifact = quote(f"{folder.removeprefix(PROXIED).strip('/')}/{name}")
        with path.open("rb") as file:
            _read(self._ask("PUT", f"mlflow-artifacts/artifacts/{artifact}", data=file))

    def _ask(self, method: str, call: str, **content: Any) -> requests.Response:
        """The answer. A redirect is not followed: it would turn a POST into a GET."""
        address = f"{self._address}/api/2.0/{call}"
        return self._session.request(method, address, timeout=TIMEOUT, allow_redirects=False, **content)


def log_version(
    version: str,
    settings: Mapping[str, Any],
    metrics: Mapping[str, Any],
    histories: Mapping[str, pd.DataFrame],
    files: Mapping[str, Path],
) -> None:
    """Log a promoted version, unless it is logged already.

    Args:
        version: its key in the registry; begins with the run's.
        settings: section by section, as in `run.json`.
        metrics: the content of `metrics.json`.
        histories: `history.csv` of each training, by stage.
        files: name among the MLflow run's artifacts → local file.
    """

    def log_to(server: Server) -> None:
        if not _version_number(server, version):
            _register(server, version, _log_run(server, version, settings, metrics, histories, files))

    _mirror(log_to)


def log_champion(version: str) -> None:
    """Move the alias to the champion."""

    def move_alias(server: Server) -> None:
        if number := _version_number(server, version):
            server.post("registered-models/alias", name=MODEL, alias=CHAMPION_ALIAS, version=number)
        else:
            log.warning(
                "MLflow (%s) has no version %s: the alias %s is unchanged", server.shown, version, CHAMPION_ALIAS
            )

    _mirror(move_alias)


def _mirror(action: Callable[[Server], None]) -> None:
    """Do this with the server that `MLFLOW_TRACKING_URI` names; whatever goes wrong is a warning."""
    address = shown_address(os.environ.get(_VARIABLES["uri"], ""))
    try:
        action(Server(MLflowVariables.from_env()))
    except UnusableError as error:
        log.warning("MLflow (%s): %s; not logged there", address, error)
    except Exception as error:  # the model is published already
        # The text of other errors may contain the address with its password.
        reason, cure = (str(error), "") if isinstance(error, Refused) else (type(error).__name__, _cure(error))
        for name in (_VARIABLES["password"], _VARIABLES["token"]):
            if secret := os.environ.get(name, "").strip():
                reason = reason.replace(secret, "***")
        log.warning("MLflow (%s) is unreachable or refused the request (%s): not logged there%s", address, reason, cure)


def shown_address(uri: str) -> str:
    """An address for messages: one line, without user, password and query."""
    line = without_user("".join(letter if letter.isprintable() else " " for letter in uri))
    scheme, mark, rest = line.rpartition("://")
    place = rest.partition("?")[0]
    host, slash, path = place.partition("/")
    host = host.rpartition("@")[2] if "@" in host else host
    return f"{scheme}{mark}{host}{slash}{path}".rstrip("/")[:200] if "@" not in path else f"{scheme}{mark}{host}"


def _check_address(uri: str) -> None:
    """Refuse what is not the address of a server over HTTP.

    Raises:
        UnusableError: with what the address should be.
    """
    wanted, name = "http://host:5000", _VARIABLES["uri"]
    try:
        parts = urlsplit(uri)
        port, host = parts.port, parts.hostname
    except ValueError:
        raise UnusableError(f"the address is malformed: set {name} to an address such as {wanted}") from None
    if parts.scheme in {"http", "https"} and host and port != 0 and uri.isprintable() and " " not in uri:
        return
    if _SCHEME.match(uri) or uri.startswith(("/", ".", "file:", "databricks")):
        if parts.scheme in {"http", "https"}:
            raise UnusableError(f"the address is malformed: set {name} to an address such as {wanted}")
        raise UnusableError(
            f"this is a database, folder or service, not a server's address: start `mlflow server "
            f"--backend-store-uri …` with it, and set {name} to the server's address, such as {wanted}"
        )
    place = shown_address(uri)
    if re.fullmatch(r"[\w.-]+(:\d+)?(/\S*)?", place):
        raise UnusableError(f"the address has no http:// or https://: set {name} to http://{place}")
    raise UnusableError(f"the address is malformed: set {name} to an address such as {wanted}")


def _cure(error: Exception) -> str:
    """What helps, where the kind of error tells; begins with "; "."""
    if isinstance(error, requests.exceptions.SSLError):
        if "WRONG_VERSION_NUMBER" in str(error) or "record layer failure" in str(error):
            return f"; the server does not speak TLS: write http:// in {_VARIABLES['uri']}"
        return "; set REQUESTS_CA_BUNDLE to the file with the certificate of its authority (PEM)"
    if isinstance(error, requests.exceptions.ProxyError):
        return "; check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
    if isinstance(error, requests.ConnectionError | requests.Timeout):
        return f"; check {_VARIABLES['uri']} and that the server runs"
    if isinstance(error, OSError) and "CA" in str(error):
        return "; correct or unset REQUESTS_CA_BUNDLE"
    return ""


def _log_run(
    server: Server,
    version: str,
    settings: Mapping[str, Any],
    metrics: Mapping[str, Any],
    histories: Mapping[str, pd.DataFrame],
    files: Mapping[str, Path],
) -> Json:
    """Create an MLflow run with all that belongs to the version; returns the run's info."""
    now = _milliseconds()
    run = _create_run(server, version, now)
    parameters = [{"key": key, "value": str(value)[:MAX_PARAMETER_LENGTH]} for key, value in flatten(settings).items()]
    for start in range(0, len(parameters), MAX_PARAMETERS):
        server.post("runs/log-batch", run_id=run["run_id"], params=parameters[start : start + MAX_PARAMETERS])
    points = _points(metrics, histories, now)
    for start in range(0, len(points), MAX_METRICS):
        server.post("runs/log-batch", run_id=run["run_id"], metrics=points[start : start + MAX_METRICS])
    if run["artifact_uri"].startswith(PROXIED):
        for name, path in files.items():
            server.put(run["artifact_uri"], name, path)
    else:
        log.warning("MLflow (%s) does not serve artifacts (--serve-artifacts): no files are stored there", server.shown)
    server.post("runs/update", run_id=run["run_id"], status="FINISHED", end_time=_milliseconds())
    return run


def _create_run(server: Server, version: str, now: int) -> Json:
    found = server.get("experiments/get-by-name", experiment_name=MODEL)
    experiment = (found["experiment"] if found else server.post("experiments/create", name=MODEL))["experiment_id"]
    tags = [{"key": VERSION_TAG, "value": version}]
    created = server.post("runs/create", experiment_id=experiment, run_name=version, start_time=now, tags=tags)
    info: Json = created["run"]["info"]
    return info


def _points(metrics: Mapping[str, Any], histories: Mapping[str, pd.DataFrame], now: int) -> list[Json]:
    """Every metric, and every epoch's value of each column of the histories, as MLflow takes them."""
    points: list[Json] = [
        {"key": key, "value": value, "timestamp": now, "step": 0} for key, value in numeric_metrics(metrics).items()
    ]
    for stage, history in histories.items():
        points += [
            {"key": f"{stage}/{key}", "value": float(row[key]), "timestamp": now, "step": int(row["epoch"])}
            for row in history.to_dict("records")
            for key in row
            if key != "epoch"
        ]
    return points


def _register(server: Server, version: str, run: Json) -> None:
    """Make the MLflow run a version of the registered model."""
    if server.get("registered-models/get", name=MODEL) is None:
        server.post("registered-models/create", name=MODEL)
    source, tags = f"{run['artifact_uri']}/model", [{"key": VERSION_TAG, "value": version}]
    server.post("model-versions/create", name=MODEL, source=source, run_id=run["run_id"], tags=tags)


def _version_number(server: Server, version: str) -> str | None:
    """MLflow's number of the version; None if it is not logged."""
    wanted = f"name = '{MODEL}' AND tags.{VERSION_TAG} = '{version}'"
    found = (server.get("model-versions/search", filter=wanted) or {}).get("model_versions", [])
    return str(found[0]["version"]) if found else None


def flatten(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """`{"finetune": {"epochs": 3}}` as `{"finetune.epochs": 3}`."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= flatten(value, f"{before}{key}.") if isinstance(value, dict) else {f"{before}{key}": value}
    return found


def numeric_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The numbers in `metrics.json` by dotted name, such as `finetune.mae.low`; lists are left out."""
    return {key: float(value) for key, value in flatten(metrics).items() if isinstance(value, int | float)}


def _read(answer: requests.Response) -> Json:
    """The answer's content.

    Raises:
        Refused: the server's answer is an error.
    """
    if 300 <= answer.status_code < 400:
        target = shown_address(answer.headers.get("location", "")) or "nowhere"
        raise Refused(f"{answer.status_code}: it redirects to {target}; set {_VARIABLES['uri']} to the final address")
    said = " ".join(answer.text[:200].split()) if "html" not in _kind(answer) else "a web page"
    if not answer.ok:
        denied = answer.status_code in {401, 403}
        cure = f"check {_VARIABLES['username']}, its password or the token" if denied else "check the server's log"
        raise Refused(f"{answer.status_code}: {said}; {cure}")
    try:
        content = answer.json() if answer.content else {}
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise Refused(f"the answer is not MLflow's ({said}); set {_VARIABLES['uri']} to an MLflow server")
    return content


def _kind(answer: requests.Response) -> str:
    return str(answer.headers.get("content-type", "")).lower()


def _milliseconds() -> int:
    return int(time.time() * 1000)
