"""Airflow inside the tests' process, with a home and a database of its own."""

import os
import tempfile
from pathlib import Path

import pytest
from fastapi import FastAPI

from age_tasks.environment import PROJECT

# Airflow reads these once, when it is first imported: before any test, by the modules that it tests.
HOME = Path(os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="age-airflow-")))
SETTINGS = f"""
[core]
dags_folder = {PROJECT / "dags"}
plugins_folder = {PROJECT / "plugins"}
load_examples = False
simple_auth_manager_users = admin:admin
simple_auth_manager_passwords_file = {HOME / "passwords.json"}
[api_auth]
jwt_secret = {"long enough to sign with, " * 3}
"""
if not (HOME / "airflow.cfg").exists():
    (HOME / "airflow.cfg").write_text(SETTINGS)


@pytest.fixture(scope="session")
def api_server() -> FastAPI:
    """Airflow's own app, which has found the plugin by itself."""
    from airflow.api_fastapi.app import create_app
    from airflow.utils.db import initdb

    initdb()
    return create_app(apps="core")


@pytest.fixture(scope="session")
def bare_airflow(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of an Airflow without a database, and without a person's settings and keys."""
    hidden = ("AGE_", "AWS_", "AIRFLOW_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    return env | {"AIRFLOW_HOME": str(tmp_path_factory.mktemp("bare") / "home"), "PYTHONWARNINGS": "ignore"}
