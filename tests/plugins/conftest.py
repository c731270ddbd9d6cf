"""Airflow in the process of the tests, with a home and a database of its own, and clients of its pages."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from age_tasks.environment import PROJECT
from age_tasks.runs.run import Workspace
from age_tasks.store.base import Store

Client = Callable[..., TestClient]
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


@pytest.fixture
def client(api_server: FastAPI, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Make a client with a role (None: without rights) or without a login; the pages read the store that is given."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    def client(store: Store | str, role: str | None = "viewer", anonymous: bool = False) -> TestClient:
        monkeypatch.setenv("AGE_STORE", store if isinstance(store, str) else store.url)
        token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="ann", role=role))
        headers = {} if anonymous else {"Authorization": f"Bearer {token}"}
        return TestClient(api_server, headers=headers, raise_server_exceptions=False)

    return client


@pytest.fixture
def reader(client: Client, finished: Workspace) -> TestClient:
    """A client with the role of a viewer, and a store with a finished run."""
    return client(finished.store)
