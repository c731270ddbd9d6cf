"""The mirror in MLflow, against a real server in its own virtual environment."""

import os
import re
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import requests

from age_tasks.registry.mlflow_mirror import flatten, log_champion, log_version, numeric_metrics
from tests.support.answering_server import Answer, answering_server
from tests.support.ports import free_ports

SETTINGS = {"recipe": "demo", "finetune": {"epochs": 3, "learning_rate": 5e-5}, "card": {"owner": "us"}}
METRICS = {"images": 40, "finetune": {"mae": {"value": 6.5, "low": 6.1, "high": 6.9}}, "champion": None}
HISTORY = pd.DataFrame({"epoch": [1, 2], "mae": [9.0, 8.0], "val_mae": [9.5, 8.5]})
SERVER = "mlflow==3.17.2"


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server on SQLite."""
    folder = request.config.cache.mkdir("mlflow") / "venv"
    python = folder / "bin" / "python"
    if not (folder / "bin" / "mlflow").exists():
        venv.create(folder, with_pip=True)
        installed = subprocess.run([python, "-m", "pip", "install", "--quiet", SERVER], capture_output=True, text=True)
        if installed.returncode:
            pytest.skip(f"{SERVER} can't be installed here: {installed.stderr.strip().splitlines()[-1]}")
    root, port = tmp_path_factory.mktemp("mlflow"), free_ports(1)[0]
    address = f"http://127.0.0.1:{port}"
    options = ["--host=127.0.0.1", f"--port={port}", "--workers=1", f"--backend-store-uri=sqlite:///{root}/mlflow.db"]
    options.append(f"--artifacts-destination={root}/artifacts")
    with (root / "log").open("w") as log:
        process = subprocess.Popen(
            [python, "-m", "mlflow", "server", *options], stdout=log, stderr=log, cwd=root, start_new_session=True
        )
        try:
            _wait(address, process, root / "log")
            yield address
        finally:
            os.killpg(process.pid, 15)
            process.wait(30)


@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_versions_curves_and_the_champion_are_logged(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    (tmp_path / "report.html").write_text("<h1>Age model report</h1>")
    (tmp_path / "model.keras").write_bytes(b"weights")
    files = {"report.html": tmp_path / "report.html", "model/model.keras": tmp_path / "model.keras"}
    for version in ("monday-0a1b", "tuesday-2c3d", "tuesday-2c3d"):  # a task that is tried again
        log_version(version, SETTINGS, METRICS, {"finetune": HISTORY}, files)
        log_champion(version)
    versions = _get(server, "model-versions/search", filter="name = 'age'")["model_versions"]
    assert len(versions) == 2
    champion = _get(server, "registered-models/alias", name="age", alias="champion")["model_version"]
    run = _get(server, "runs/get", run_id=champion["run_id"])["run"]
    assert run["info"]["run_name"] == "tuesday-2c3d"
    assert run["info"]["status"] == "FINISHED"
    assert {"key": "finetune.learning_rate", "value": "5e-05"} in run["data"]["params"]
    found = {metric["key"]: metric["value"] for metric in run["data"]["metrics"]}
    assert (found["finetune.mae.value"], found["finetune.mae.low"], found["finetune.mae.high"]) == (6.5, 6.1, 6.9)
    curve = _get(server, "metrics/get-history", run_id=champion["run_id"], metric_key="finetune/val_mae")["metrics"]
    assert [(point["step"], point["value"]) for point in curve] == [(1, 9.5), (2, 8.5)]
    folder = champion["source"].removeprefix("mlflow-artifacts:").strip("/")
    answer = requests.get(f"{server}/api/2.0/mlflow-artifacts/artifacts/{folder}/model.keras", timeout=60)
    assert answer.content == b"weights"

    log_champion("monday-0a1b")  # rolled back
    champion = _get(server, "registered-models/alias", name="age", alias="champion")["model_version"]
    assert _get(server, "runs/get", run_id=champion["run_id"])["run"]["info"]["run_name"] == "monday-0a1b"


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "no-such-host.invalid"])
def test_a_server_that_is_down_is_a_warning_without_its_password(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    host = host.format(port=free_ports(1)[0])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://team:s3cret@{host}")
    log_version("monday-0a1b", SETTINGS, METRICS, {"finetune": HISTORY}, {})
    (warning,) = caplog.messages
    assert f"MLflow (http://{host}) is unreachable" in warning
    assert "s3cret" not in caplog.text


def test_an_invalid_address_is_a_warning(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    log_champion("monday-0a1b")
    assert "not logged there" in caplog.text


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("localhost:5000", r"\(localhost:5000\).*no http://.*MLFLOW_TRACKING_URI to http://localhost:5000"),
        ("mlflow.example.org", "MLFLOW_TRACKING_URI to http://mlflow.example.org"),
        ("team:s3cret@host:5000/x", "MLFLOW_TRACKING_URI to http://host:5000/x"),
        ("sqlite:///mlflow.db", r"\(sqlite:///mlflow.db\).*a database.*mlflow server --backend-store-uri"),
        ("postgresql://team:s3cret@db/x", r"\(postgresql://db/x\).*a database"),
        ("./mlruns", "folder.*such as http://host:5000"),
        ("file:///tmp/mlruns", "folder.*such as http://host:5000"),
        ("databricks", "service, not a server's address"),
        ("http://host:5o00", r"\(http://host:5o00\).*malformed.*such as http://host:5000"),
        ("http://team:s3cret@host:99999", r"\(http://host:99999\).*malformed"),
        ("http://", "malformed"),
        ("http://[::1", "malformed"),
        ("http://ho st:5000", "malformed"),
        ("http//host:5000", "MLFLOW_TRACKING_URI to"),
        ("http://" + "a" * 70 + ":5000", "not logged there"),
        ("http://host\nname:5000", "malformed"),
    ],
)
def test_an_address_of_no_server_is_a_warning_that_says_what_it_should_be(
    uri: str, says: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    log_version("monday-0a1b", SETTINGS, METRICS, {"finetune": HISTORY}, {})
    log_champion("monday-0a1b")
    first, second = caplog.messages
    assert first == second
    assert re.search(says, first), first
    assert first.isprintable()
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"MLFLOW_TRACKING_TOKEN": "s3cret\nmore"}, "MLFLOW_TRACKING_TOKEN contains a line break"),
        ({"MLFLOW_TRACKING_USERNAME": "a\tb"}, "MLFLOW_TRACKING_USERNAME contains"),
        (
            {"MLFLOW_TRACKING_USERNAME": "a", "MLFLOW_TRACKING_PASSWORD": "s3cret\r\nX: y"},
            "MLFLOW_TRACKING_PASSWORD con",
        ),
        ({"REQUESTS_CA_BUNDLE": "/no/such/ca.pem", "MLFLOW_TRACKING_URI": "https://127.0.0.1:9"}, "REQUESTS_CA_BUNDLE"),
    ],
)
def test_a_variable_that_can_not_be_used_is_named(
    variables: dict[str, str], says: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    log_champion("monday-0a1b")
    assert re.search(says, caplog.messages[0]), caplog.messages
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(301, {"Location": "https://me:s3cret@host/x?token=s3cret"}), "redirects to https://host/x; set MLFLOW"),
        (
            Answer(200, {"Content-Type": "text/html"}, b"<html>sign in</html>"),
            "not MLflow's .a web page.*MLFLOW_TRACKING",
        ),
        (Answer(404, {"Content-Type": "text/html"}, b"<html>nginx</html>"), "404: a web page"),
        (Answer(200, {}, b"[1, 2]"), "not MLflow's"),
        (Answer(200, {}, b'{"model_versions": 7}'), "not logged there"),
        (Answer(200, {}, b'{"model_versions": [{}]}'), "not logged there"),
        (Answer(401, {}, b"wrong\ntoken s3cret"), "401: wrong token .*MLFLOW_TRACKING_USERNAME"),
        (Answer(500, {}, b""), "500"),
        (Answer(200, {}, b'{"a": 1}' * 99, 100), "not logged there"),
    ],
)
def test_every_answer_of_a_server_is_at_most_a_warning(
    answer: Answer, says: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "s3cret")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with answering_server() as server:
        server.plan = lambda request: answer
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        log_version("monday-0a1b", SETTINGS, METRICS, {"finetune": HISTORY}, {})
    (warning,) = caplog.messages
    assert re.search(says, warning), warning
    assert warning.isprintable()
    assert "s3cret" not in caplog.text
    assert len(server.asked) == 1


def test_publish_imports_no_http_client():
    program = "import sys, age_tasks.stages.publish; print([m for m in ('requests', 'mlflow') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"[]\n"


def test_settings_and_metrics_are_flattened():
    assert flatten(SETTINGS)["finetune.epochs"] == 3
    assert numeric_metrics(METRICS) == {
        "images": 40,
        "finetune.mae.value": 6.5,
        "finetune.mae.low": 6.1,
        "finetune.mae.high": 6.9,
    }


def _get(server: str, call: str, **parameters: str) -> dict:
    return requests.get(f"{server}/api/2.0/mlflow/{call}", params=parameters, timeout=60).json()


def _wait(address: str, process: subprocess.Popen, log: Path) -> None:
    for _ in range(300):
        if process.poll() is not None:
            pytest.fail(f"the MLflow server ended: {log.read_text()[-500:]}")
        try:
            if requests.get(f"{address}/health", timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(1)
    pytest.fail(f"the MLflow server did not start: {log.read_text()[-500:]}")
