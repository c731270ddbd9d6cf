"""A stage's numbers on a real StatsD socket."""

import socket
from collections.abc import Iterator

import pytest

from tests.support.airflow import AirflowProcess


@pytest.fixture
def statsd() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(1)
        yield listening


def received(listening: socket.socket) -> list[str]:
    """Our metrics that have arrived; Airflow sends its own too."""
    found = []
    try:
        while True:
            found.append(listening.recv(1024).decode())
    except TimeoutError:
        return sorted(line for line in found if line.startswith("airflow.age."))


def test_each_number_is_a_gauge_of_its_stage_and_nothing_else_is_sent(
    statsd: socket.socket, airflow_process: AirflowProcess
):
    host, port = statsd.getsockname()
    env = {"AIRFLOW__METRICS__STATSD_ON": "True", "AIRFLOW__METRICS__STATSD_PORT": str(port)}
    airflow_process.call("metrics.send", env | {"AIRFLOW__METRICS__STATSD_HOST": host})
    assert received(statsd) == ["airflow.age.evaluate.finetune_mae:6.75|g", "airflow.age.evaluate.test_images:1139|g"]
