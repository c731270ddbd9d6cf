"""Airflow's API server inside the test's process, with a database of its own."""

import pytest
from fastapi import FastAPI

from age_tasks.airflow_home import environment


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    """Airflow's own app, which has found the plugin by itself. Airflow reads its settings once, when it is imported."""
    home = tmp_path_factory.mktemp("airflow-api")
    (home / "airflow.cfg").write_text(f"[api_auth]\njwt_secret = {'long enough to sign with, ' * 3}\n")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment({"AIRFLOW_HOME": str(home)}).items():
            if name not in {"PATH", "PYTHONPATH"}:
                patch.setenv(name, value)
        from airflow.api_fastapi.app import create_app
        from airflow.utils.db import initdb

        initdb()
        return create_app(apps="core")
