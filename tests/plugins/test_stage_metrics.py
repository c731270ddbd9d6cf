"""A stage's numbers on a real StatsD socket."""

import socket
from collections.abc import Iterator

import pytest

from tests.support.airflow import python

SEND = """
from airflow.sdk.configuration import conf
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics import stats_utils
from age_retraining_plugin.stage_metrics import send_numbers

# As Airflow's task runner does when it starts.
stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=True)
send_numbers("evaluate", {"run": "one", "finetune_mae": 6.75, "test_images": 1139, "passed": True, "champion": None})
send_numbers("rollback", "v3 is in use")
"""


@pytest.fixture
def statsd() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(1)
        yield listening


def received(listening: socket.socket) -> list[str]:
    """What came so far of ours; Airflow sends its own beside."""
    found = []
    try:
        while True:
            found.append(listening.recv(1024).decode())
    except TimeoutError:
        return sorted(line for line in found if line.startswith("airflow.age."))


def test_each_number_is_a_gauge_of_its_stage_and_nothing_else_is_sent(
    statsd: socket.socket, bare_airflow: dict[str, str]
):
    host, port = statsd.getsockname()
    on = {"AIRFLOW__METRICS__STATSD_ON": "True", "AIRFLOW__METRICS__STATSD_PORT": str(port)}
    done = python(bare_airflow | on | {"AIRFLOW__METRICS__STATSD_HOST": host}, SEND)
    assert done.returncode == 0, done.stderr[-3000:]
    assert received(statsd) == ["airflow.age.evaluate.finetune_mae:6.75|g", "airflow.age.evaluate.test_images:1139|g"]
