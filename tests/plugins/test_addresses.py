"""Addresses of pages in Airflow's UI."""

import pytest
from age_retraining_plugin.addresses import models_page, report_page, within_airflow


def test_links_on_airflow_s_own_pages_name_no_host(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://ages.example.org/airflow/")
    assert models_page() == "https://ages.example.org/airflow/plugin/age-models"
    report = report_page("age_retraining", "set:a?#")
    assert within_airflow(report) == "/airflow/dags/age_retraining/runs/set%3Aa%3F%23/plugin/model-report"
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "")
    assert within_airflow(report_page("age_retraining", "one")) == "/dags/age_retraining/runs/one/plugin/model-report"
