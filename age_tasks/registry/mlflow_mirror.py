"""Copies published versions to an MLflow server; used only where `MLFLOW_TRACKING_URI` is set.

Uses the server's REST API, since MLflow's client conflicts with the package versions that Airflow needs. Authenticates
with `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`, or with `MLFLOW_TRACKING_TOKEN`. If the server cannot be
reached, a warning is logged: the store is authoritative.
"""

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pandas as pd
import requests

from age_tasks.environment import MLflowVariables

log = logging.getLogger(__name__)

MODEL, CHAMPION_ALIAS = "age", "champion"  # the registered model, and the alias of its version in use
VERSION_TAG = "age_version"  # our version's key, by which MLflow's version is found
PROXIED = "mlflow-artifacts:"  # scheme of artifacts that the server itself stores
TIMEOUT = (10, 300)  # seconds to connect, and between two bytes
MAX_METRICS, MAX_PARAMETERS = 1000, 100  # per request, by MLflow's limits
MAX_PARAMETER_LENGTH = 6000  # characters, by MLflow's limit

Json = dict[str, Any]


class Refused(requests.RequestException):
    """The server answered with an error; the message is the server's."""


class Server:
    """A client of an MLflow tracking server.

    Attributes:
        shown: its address without user and password, for messages.
    """

    def __init__(self, given: MLflowVariables) -> None:
        parts = urlsplit(given.uri)
        port = f":{parts.port}" if parts.port else ""
        self.shown = f"{parts.scheme}://{parts.hostname}{port}"
        self._address = given.uri.rstrip("/")
        self._session = requests.Session()
        if given.username:
            self._session.auth = (given.username, given.password)
        elif given.token:
            self._session.headers["Authorization"] = f"Bearer {given.token}"

    def get(self, call: str, **parameters: str) -> Json | None:
        """The answer to a GET request; None for status 404."""
        answer = self._session.get(f"{self._address}/api/2.0/mlflow/{call}", params=parameters, timeout=TIMEOUT)
        return None if answer.status_code == 404 else _read(answer)

    def post(self, call: str, **content: object) -> Json:
        """The answer to a POST request with `content` as JSON."""
        return _read(self._session.post(f"{self._address}/api/2.0/mlflow/{call}", json=content, timeout=TIMEOUT))

    def put(self, folder: str, name: str, path: Path) -> None:
        """Upload a file to an artifact folder that the server itself stores."""
        artifact = quote(f"{folder.removeprefix(PROXIED).strip('/')}/{name}")
        address = f"{self._address}/api/2.0/mlflow-artifacts/artifacts/{artifact}"
        with path.open("rb") as file:
            _read(self._session.put(address, data=file, timeout=TIMEOUT))


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
    with _server() as server:
        if not _version_number(server, version):
            _register(server, version, _log_run(server, version, settings, metrics, histories, files))


def log_champion(version: str) -> None:
    """Move the alias to the champion."""
    with _server() as server:
        if number := _version_number(server, version):
            server.post("registered-models/alias", name=MODEL, alias=CHAMPION_ALIAS, version=number)
        else:
            log.warning(
                "MLflow (%s) has no version %s: the alias %s is unchanged", server.shown, version, CHAMPION_ALIAS
            )


@contextlib.contextmanager
def _server() -> Iterator[Server]:
    """The tracking server that `MLFLOW_TRACKING_URI` names; its errors are logged as warnings."""
    server = Server(MLflowVariables.from_env())
    try:
        yield server
    except (requests.RequestException, ValueError, KeyError, OSError) as error:
        # The text of other errors may contain the address with its password.
        reason = error if isinstance(error, Refused) else type(error).__name__
        log.warning("MLflow (%s) is unreachable or refused the request (%s): not logged there", server.shown, reason)


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
    if not answer.ok:
        raise Refused(f"{answer.status_code} {answer.reason}: {answer.text[:200]}")
    content: Json = answer.json() if answer.content else {}
    return content


def _milliseconds() -> int:
    return int(time.time() * 1000)
