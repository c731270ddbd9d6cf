"""The trigger form in a real browser: what is typed arrives as it was typed, or is refused with value and bound."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from selenium.webdriver import Chrome

from tests.e2e.browser import fill, find, log_in, open_browser, press, see, start_run, unfold
from tests.support.airflow import PASSWORD, Standalone

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

DAG, TRAINING = "age_retraining", "Training (empty: the value of the recipe)"
TYPED = {
    "model.image_size": "5",
    "baseline.learning_rate": "1e-3",
    "finetune.learning_rate": "5e-05",
    "finetune.last_layers": "13",
}


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, start_airflow: Callable[..., Standalone]) -> Standalone:
    root = tmp_path_factory.mktemp("place")
    return start_airflow(AGE_STORE=str(root / "store"), AGE_CACHE=str(root / "cache"), AGE_SCHEDULE="none")


@pytest.fixture(scope="module")
def browser(airflow: Standalone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with open_browser(tmp_path_factory.mktemp("browser") / "profile") as browser:
        log_in(browser, airflow.url, "admin", PASSWORD)
        yield browser


def test_a_text_that_is_no_such_number_stays_in_the_form(browser: Chrome, airflow: Standalone):
    browser.get(f"{airflow.url}/dags/{DAG}")
    press(browser, "Trigger")
    assert find(browser, "input[name='element_labels']")  # open from the start
    see(browser, "demo: Small and fast")
    unfold(browser, TRAINING)
    see(browser, "Recipes: demo 0.0001, gpu_full 0.0001, quick 0.001, reference 5e-05, strong 0.001")
    fill(browser, "baseline.epochs", "-4")
    press(browser, "Trigger")
    see(browser, "Invalid input for param baseline.epochs: '-4' does not match '(?#a whole number, 1 to 10,000)")
    assert airflow.runs(DAG) == []


def test_numbers_arrive_as_they_were_typed_and_one_out_of_its_bounds_fails_the_first_task(
    browser: Chrome, airflow: Standalone, tmp_path: Path
):
    given = {"Run Parameters": {"labels": str(tmp_path / "labels.csv"), "recipe": "demo"}, TRAINING: TYPED}
    start_run(browser, airflow.url, DAG, given)
    (run,) = airflow.wait("a failed run", lambda: [run for run in airflow.runs(DAG) if run["state"] == "failed"])
    assert {name: value for name, value in run["conf"].items() if name in TYPED} == TYPED
    log = airflow.api(f"dags/{DAG}/dagRuns/{quote(run['dag_run_id'], safe='')}/taskInstances/snapshot/logs/1")
    assert "model.image_size = '5': Input should be greater than or equal to 32; nothing was computed" in str(log)
