"""An Airflow with a database of its own, in processes of their own."""

import os

import pytest

from age_tasks.demo.synthetic_faces import Sample
from tests.support.airflow import airflow_command


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory, sample: Sample) -> dict[str, str]:
    """The environment of an Airflow with its own database, store and cache."""
    root = tmp_path_factory.mktemp("airflow")
    env = {name: value for name, value in os.environ.items() if not name.startswith("AGE_")}
    env |= {"AIRFLOW_HOME": str(root / "home"), "AGE_STORE": str(root / "store"), "AGE_CACHE": str(root / "cache")}
    env |= {"AGE_LABELS": str(sample.labels), "AGE_RECIPE": "demo", "PYTHONWARNINGS": "ignore"}
    airflow_command(env, "version")
    return env
