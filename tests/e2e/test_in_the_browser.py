"""A person at a browser: starts a run with the form, reads its pages, approves, and goes back to an earlier model.

`make screenshots` does it on the demo's faces and keeps what is seen in `docs/`.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest
from selenium.webdriver import Chrome

from age_tasks.demo.synthetic_faces import draw_sample
from age_tasks.registry.label_confirmations import CONFIRMED, confirmation
from age_tasks.registry.promotions import champion, history
from age_tasks.store import open_store
from tests.e2e.browser import (
    HEIGHT,
    WIDTH,
    complaints,
    fill,
    inside,
    log_in,
    press,
    see,
    start_run,
    watch,
)
from tests.support.airflow import PASSWORD, Standalone

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3600)]

SCREENSHOTS = os.environ.get("SCREENSHOTS")  # the folder to keep them in
TRAINING, PROMOTION = "Training (empty: the value of the recipe)", "Promotion"
SMALL = {} if SCREENSHOTS else {"model.image_size": "64"}
LENIENT = {"gate.max_test_mae": "40"}
WHY, WHY_BACK = "looks right on children too", "v2 takes too many minors for adults"


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Labels as they are typed into the form."""
    if SCREENSHOTS:
        return "demo/faces/labels.csv"
    return str(draw_sample(tmp_path_factory.mktemp("faces"), 300, seed=3, faults=True).labels)


@pytest.fixture(scope="module")
def airflow(
    browser: Chrome, tmp_path_factory: pytest.TempPathFactory, start_airflow: Callable[..., Standalone]
) -> Standalone:
    """An Airflow that knows no labels but those that a form names; somebody has logged in."""
    root = tmp_path_factory.mktemp("place")
    airflow = start_airflow(AGE_STORE=str(root / "store"), AGE_CACHE=str(root / "cache"), AGE_SCHEDULE="none")
    log_in(browser, airflow.url, "admin", PASSWORD)
    return airflow


@pytest.fixture(scope="module")
def asked(browser: Chrome, airflow: Standalone, labels: str) -> str:
    """The page of a run that was started with the form, and has come to the question whether to promote."""
    form = {
        "Run Parameters": {"labels": labels, "recipe": "demo"},
        TRAINING: {**SMALL, "baseline.epochs": "1", "finetune.epochs": "1"},
        PROMOTION: {"require_approval": True, **LENIENT},
    }
    page = start_run(browser, airflow.url, "age_retraining", form, lambda: screenshot(browser, "page-form", 1600))
    watch(browser, page, "Required Actions")
    return page


@pytest.fixture(scope="module")
def approved(browser: Chrome, asked: str) -> str:
    """The page of that run after somebody has approved and it has ended."""
    browser.get(f"{asked}/tasks/approve/required_actions")
    see(browser, "May the candidate become the champion?")
    fill(browser, "comment", WHY)
    screenshot(browser, "page-approval")
    press(browser, "Approve")
    see(browser, "Response received")
    watch(browser, asked, "Success")
    return asked


@pytest.fixture(scope="module")
def replaced(browser: Chrome, airflow: Standalone, labels: str, approved: str) -> str:
    """The page of a second run that trained for longer; its model has replaced the first, and nobody was asked."""
    form = {
        "Run Parameters": {"labels": labels, "recipe": "demo"},
        TRAINING: {**SMALL, "baseline.epochs": "1"},
        PROMOTION: LENIENT,
    }
    page = start_run(browser, airflow.url, "age_retraining", form)
    watch(browser, page, "Success")
    return page


def screenshot(browser: Chrome, name: str, height: int = HEIGHT) -> None:
    """Keep what is seen in a window of that many pixels' height."""
    if SCREENSHOTS:
        browser.set_window_size(WIDTH, height)
        time.sleep(5)  # what moves has come to rest, what is loaded has come
        browser.save_screenshot(str(Path(SCREENSHOTS) / f"{name}.png"))
        browser.set_window_size(WIDTH, HEIGHT)


def test_a_run_started_with_the_form_has_its_settings(airflow: Standalone, asked: str, labels: str):
    (run,) = airflow.runs("age_retraining")
    assert unquote(asked).endswith(run["dag_run_id"])
    given = {name: value for name, value in run["conf"].items() if value not in (None, "", {})}
    assert given["labels"] == labels
    assert (given["recipe"], given["require_approval"]) == ("demo", True)
    typed = {name: given[name] for name in ("baseline.epochs", "finetune.epochs", "gate.max_test_mae")}
    assert typed == {"baseline.epochs": "1", "finetune.epochs": "1", "gate.max_test_mae": "40"}


def test_the_question_is_among_the_required_actions(browser: Chrome, airflow: Standalone, asked: str):
    screenshot(browser, "page-run")
    browser.get(airflow.url)
    press(browser, "Required Actions")
    for text in ("May the candidate become the champion?", "better than the baseline", "There is no champion yet."):
        see(browser, text)


def test_an_approval_with_its_reason_makes_the_candidate_the_champion(
    browser: Chrome, airflow: Standalone, approved: str
):
    entry = champion(open_store(airflow.env["AGE_STORE"]))
    assert (entry.name, entry.who) == ("v1", "admin")
    assert entry.why.endswith(f": {WHY}")
    press(browser, "Age models")
    with inside(browser, "Age models"):
        see(browser, "v1 is in use")
        see(browser, WHY)


def test_the_run_s_tabs_are_its_report_and_its_validation(browser: Chrome, approved: str):
    browser.get(approved)
    press(browser, "Model report")
    with inside(browser, "Model report"):
        see(browser, "Approved by admin")
        see(browser, "years")
    screenshot(browser, "page-report")
    press(browser, "Label validation")
    with inside(browser, "Label validation"):
        see(browser, "Label validation")
        see(browser, "are quarantined")
    screenshot(browser, "page-validation")


def test_a_label_is_confirmed_with_two_clicks(browser: Chrome, airflow: Standalone, approved: str):
    browser.get(approved)
    press(browser, "Labels to look at")
    with inside(browser, "Labels to look at"):
        see(browser, "0 of this list confirmed")
        press(browser, "This label is right")
        see(browser, "1 of this list confirmed")
    store = open_store(airflow.env["AGE_STORE"])
    (key,) = store.list(CONFIRMED)
    assert confirmation(store, key).who == "admin"


def test_a_task_s_summary_is_its_tab(browser: Chrome, approved: str):
    browser.get(f"{approved}/tasks/evaluate")
    press(browser, "Summary")
    with inside(browser, "Summary"):
        see(browser, "finetune MAE")


def test_a_rollback_with_its_reason_puts_the_first_model_back(browser: Chrome, airflow: Standalone, replaced: str):
    store = open_store(airflow.env["AGE_STORE"])
    assert champion(store).name == "v2"
    form = {"Run Parameters": {"to": "1", "reason": WHY_BACK}}
    watch(browser, start_run(browser, airflow.url, "age_rollback", form), "Success")
    assert [entry.name for entry in history(store)] == ["v1", "v2", "v1"]
    press(browser, "Age models")
    with inside(browser, "Age models"):
        see(browser, "v1 is in use")
        see(browser, f"Rolled back. {WHY_BACK}")
    screenshot(browser, "page-models", 1400)


def test_the_tabs_of_a_rollback_say_what_it_did(browser: Chrome, airflow: Standalone, replaced: str):
    (run,) = airflow.runs("age_rollback")
    browser.get(f"{airflow.url}/dags/age_rollback/runs/{run['dag_run_id']}")
    press(browser, "Model report")
    with inside(browser, "Model report"):
        see(browser, "makes an earlier version the champion again")


def test_the_browser_reported_no_errors(browser: Chrome, replaced: str):
    assert complaints(browser) == []
