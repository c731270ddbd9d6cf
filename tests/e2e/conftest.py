"""The Airflow of the tests in a browser and over the REST API."""

import contextlib
from collections.abc import Callable, Iterator

import pytest
from selenium.webdriver import Chrome

from tests.e2e.browser import open_browser
from tests.support.airflow import Standalone


@pytest.fixture(scope="module")
def start_airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Standalone]]:
    """Start an Airflow with these variables; it ends with the module."""
    with contextlib.ExitStack() as stack:

        def start(**variables: str) -> Standalone:
            airflow = Standalone(tmp_path_factory.mktemp("airflow") / "home", variables)
            stack.callback(airflow.stop)
            airflow.start()
            return airflow

        yield start


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with open_browser(tmp_path_factory.mktemp("browser") / "profile") as browser:
        yield browser
