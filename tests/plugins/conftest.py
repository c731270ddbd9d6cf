"""Airflow in the process of the tests, with a home and a database of its own."""

import os
import tempfile
from pathlib import Path

import pytest
from fastapi import FastAPI

from age_tasks.environment import PROJECT

# Airflow reads these once, when it is first imported: by the test modules, before any test.
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
    """Airflow's own app, in which Airflow has loaded the plugin."""
    from airflow.api_fastapi.app import create_app
    from airflow.utils.db import initdb

    initdb()
    return create_app(apps="core")
