"""What was published, in MLflow, for teams that keep their models there; used only where `MLFLOW_TRACKING_URI` is set.

Speaks the tracking server's REST API, since MLflow's own client wants other versions of packages that Airflow needs.
Takes `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`, or `MLFLOW_TRACKING_TOKEN`. A server that is down is a
warning: the store is what counts.
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

MODEL, ALIAS = "age", "champion"  # the registered model, and its alias that moves
VERSION_TAG = "age_version"  # the key of our version, by which theirs is found
PROXIED = "mlflow-artifacts:"
TIMEOUT = (10, 300)  # seconds to connect, and between two bytes
METRICS_AT_ONCE, PARAMETERS_AT_ONCE = 1000, 100  # that a server takes


class Refused(requests.RequestException):
    """The server answered with an error; the message is its own."""


class Server:
    """The few calls that are needed."""

    def __init__(self, given: MLflowVariables):
        parts = urlsplit(given.uri)
        self.shown = f"{parts.scheme}://{parts.hostname}" + (
            f":{parts.port}" if parts.port else ""
        )  # without a password
        self._address = given.uri.rstrip("/")
        self._session = requests.Session()
        if given.username:
            self._session.auth = (given.username, given.password)
        elif given.token:
            self._session.headers["Authorization"] = f"Bearer {given.token}"

    def get(self, call: str, **parameters: Any) -> dict | None:
        """The answer; None where the server has no such thing."""
        answer = self._session.get(f"{self._address}/api/2.0/mlflow/{call}", params=parameters, timeout=TIMEOUT)
        return None if answer.status_code == 404 else _read(answer)

    def post(self, call: str, **content: Any) -> dict:
        """The answer to `content` as JSON."""
        return _read(self._session.post(f"{self._address}/api/2.0/mlflow/{call}", json=content, timeout=TIMEOUT))

    def put(self, folder: str, name: str, path: Path) -> None:
        """Put a file below an artifact folder that the server serves itself."""
        place = quote(f"{folder.removeprefix(PROXIED).strip('/')}/{name}")
        with path.open("rb") as file:
            _read(
                self._session.put(
                    f"{self._address}/api/2.0/mlflow-artifacts/artifacts/{place}", data=file, timeout=TIMEOUT
                )
            )


def log_version(
    version: str, settings: dict, metrics: dict, histories: Mapping[str, pd.DataFrame], files: Mapping[str, Path]
) -> None:
    """Log a version that was promoted, once.

    Args:
        version: its key in the registry; begins with the run's.
        settings: section by section, as in `run.json`.
        metrics: the content of `metrics.json`.
        histories: `history.csv` of each training.
        files: name among the MLflow run's artifacts → local file.
    """
    with _server() as server:
        if not _known(server, version):
            _register(server, version, _logged(server, version, settings, metrics, histories, files))


def log_champion(version: str) -> None:
    """Move the alias to the version that is in use now."""
    with _server() as server:
        if number := _known(server, version):
            server.post("registered-models/alias", name=MODEL, alias=ALIAS, version=number)
        else:
            log.warning("MLflow (%s) has no version of %s: its alias %s stays", server.shown, version, ALIAS)


@contextlib.contextmanager
def _server() -> Iterator[Server]:
    """The tracking server that `MLFLOW_TRACKING_URI` names; what goes wrong with it is a warning."""
    server = Server(MLflowVariables.from_env())
    try:
        yield server
    except (requests.RequestException, ValueError, KeyError, OSError) as error:
        # Other errors' text may hold the address as it was given, with a password.
        reason = error if isinstance(error, Refused) else type(error).__name__
        log.warning("MLflow (%s) can't be reached or refuses (%s): not logged there", server.shown, reason)


def _logged(
    server: Server,
    version: str,
    settings: dict,
    metrics: dict,
    histories: Mapping[str, pd.DataFrame],
    files: Mapping[str, Path],
) -> dict:
    """The MLflow run that was made of all this."""
    found = server.get("experiments/get-by-name", experiment_name=MODEL)
    experiment = (found["experiment"] if found else server.post("experiments/create", name=MODEL))["experiment_id"]
    now, tags = _milliseconds(), [{"key": VERSION_TAG, "value": version}]
    created = server.post("runs/create", experiment_id=experiment, run_name=version, start_time=now, tags=tags)
    run = created["run"]["info"]
    parameters = [{"key": key, "value": str(value)[:6000]} for key, value in flat(settings).items()]
    for start in range(0, len(parameters), PARAMETERS_AT_ONCE):
        server.post("runs/log-batch", run_id=run["run_id"], params=parameters[start : start + PARAMETERS_AT_ONCE])
    points = [{"key": key, "value": value, "timestamp": now, "step": 0} for key, value in numbers(metrics).items()]
    for stage, history in histories.items():
        points += [
            {"key": f"{stage}/{key}", "value": float(row[key]), "timestamp": now, "step": int(row["epoch"])}
            for row in history.to_dict("records")
            for key in row
            if key != "epoch"
        ]
    for start in range(0, len(points), METRICS_AT_ONCE):
        server.post("runs/log-batch", run_id=run["run_id"], metrics=points[start : start + METRICS_AT_ONCE])
    if run["artifact_uri"].startswith(PROXIED):
        for name, path in files.items():
            server.put(run["artifact_uri"], name, path)
    else:
        log.warning("MLflow (%s) does not serve artifacts (--serve-artifacts): no files there", server.shown)
    server.post("runs/update", run_id=run["run_id"], status="FINISHED", end_time=_milliseconds())
    return run


def _register(server: Server, version: str, run: dict) -> None:
    if server.get("registered-models/get", name=MODEL) is None:
        server.post("registered-models/create", name=MODEL)
    source, tags = f"{run['artifact_uri']}/model", [{"key": VERSION_TAG, "value": version}]
    server.post("model-versions/create", name=MODEL, source=source, run_id=run["run_id"], tags=tags)


def _known(server: Server, version: str) -> str | None:
    """The number that MLflow gave the version."""
    wanted = f"name = '{MODEL}' AND tags.{VERSION_TAG} = '{version}'"
    found = (server.get("model-versions/search", filter=wanted) or {}).get("model_versions", [])
    return found[0]["version"] if found else None


def flat(settings: dict, before: str = "") -> dict[str, Any]:
    """`{"finetune": {"epochs": 3}}` as `{"finetune.epochs": 3}`."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= flat(value, f"{before}{key}.") if isinstance(value, dict) else {f"{before}{key}": value}
    return found


def numbers(metrics: dict) -> dict[str, float]:
    """The single numbers of `metrics.json`, each interval as `….low` and `….high`."""
    return {key: float(value) for key, value in flat(metrics).items() if isinstance(value, int | float)}


def _read(answer: requests.Response) -> dict:
    """The answer's content.

    Raises:
        Refused: the server's answer is an error.
    """
    if not answer.ok:
        raise Refused(f"{answer.status_code} {answer.reason}: {answer.text[:200]}")
    return answer.json() if answer.content else {}


def _milliseconds() -> int:
    return int(time.time() * 1000)
