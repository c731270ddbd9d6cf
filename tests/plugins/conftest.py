"""An Airflow without a database: enough to build operators and send what they send."""

import os

import pytest


@pytest.fixture(scope="session")
def bare_airflow(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment of its own, without a person's settings and keys."""
    hidden = ("AGE_", "AWS_", "AIRFLOW_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    return env | {"AIRFLOW_HOME": str(tmp_path_factory.mktemp("bare") / "home"), "PYTHONWARNINGS": "ignore"}
