"""Addresses of pages in Airflow's UI, for links in questions and notices."""

from urllib.parse import quote, urlsplit

from airflow.sdk.configuration import conf

from age_retraining_plugin.plugin import PREFIX


def run_page(dag_id: str, run_id: str) -> str:
    """The run's page."""
    return f"{_base()}/dags/{dag_id}/runs/{quote(run_id, safe='')}"


def report_page(dag_id: str, run_id: str) -> str:
    """The run's tab with the model report."""
    return f"{run_page(dag_id, run_id)}/plugin/model-report"


def question_page(dag_id: str, run_id: str) -> str:
    """The question that the task `approve` of a run asks."""
    return f"{run_page(dag_id, run_id)}/tasks/approve/required_actions"


def models_page() -> str:
    """The page with all versions."""
    return f"{_base()}/plugin/age-models"


def run_files(dag_id: str, run_id: str) -> str:
    """The folder of the run's files among the pages of the plugin."""
    return f"{_base()}{PREFIX}/{dag_id}/{quote(run_id, safe='')}"


def within_airflow(address: str) -> str:
    """The address without scheme and host, for links on Airflow's own pages: people may reach it by several names."""
    return urlsplit(address)._replace(scheme="", netloc="").geturl()


def _base() -> str:
    address: str = conf.get("api", "base_url", fallback="")
    return address.rstrip("/")
