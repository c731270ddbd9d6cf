"""A day of each person who works with the DAG, at a browser: an engineer, a labeller, an approver, the person on call.

Each must get there with few clicks, and without a terminal.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from age_tasks.demo.synthetic_faces import draw_sample
from age_tasks.resources import package_path
from tests.e2e.browser import WIDTH, at_most, fill, inside, log_in, press, see, start_run, watch
from tests.support.airflow import PASSWORD, Standalone
from tests.support.new_faces import draw_new_faces

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3600)]

DAG, PARAMETERS, PROMOTION = "age_retraining", "Run Parameters", "Promotion"
TRAINING = "Training (empty: the value of the recipe)"
WRONG, RIGHT = "f-negative.jpg,-3", "f-negative.jpg,3"
QUICK = {
    "model": {"image_size": 64},
    "baseline": {"epochs": 1},
    "finetune": {"epochs": 1},
    "gate": {"max_test_mae": 40},
}


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with labels that have faults, and a recipe that trains for an epoch."""
    folder = tmp_path_factory.mktemp("faces")
    draw_sample(folder, 200, seed=3, faults=True)
    demo = yaml.safe_load(package_path("recipes/demo.yaml").read_text())
    recipe = {section: demo.get(section, {}) | QUICK.get(section, {}) for section in demo.keys() | QUICK.keys()}
    recipe["validate"] = {"max_quarantine_fraction": 0.2}
    (folder / "quick.yaml").write_text(yaml.safe_dump(recipe))
    return folder


@pytest.fixture(scope="module")
def airflow(
    browser: Chrome, faces: Path, tmp_path_factory: pytest.TempPathFactory, start_airflow: Callable[..., Standalone]
) -> Standalone:
    """An Airflow that watches the labels; somebody has logged in."""
    root = tmp_path_factory.mktemp("place")
    draw_new_faces(root / "new", 20, seed=8)
    airflow = start_airflow(
        AGE_UNLABELLED=str(root / "new" / "images"),
        AGE_LABELS=str(faces / "labels.csv"),
        AGE_STORE=str(root / "store"),
        AGE_CACHE=str(root / "cache"),
        AGE_RECIPE=str(faces / "quick.yaml"),
        AGE_SCHEDULE="none",
        AGE_LABELS_POLL_SECONDS="1",
        AGE_SETTLE_SECONDS="3",
    )
    log_in(browser, airflow.url, "admin", PASSWORD)
    return airflow


@pytest.fixture(scope="module")
def first_run(browser: Chrome, airflow: Standalone) -> str:
    """The page of the run that new labels start by themselves on a new Airflow."""
    airflow.wait("a first run", lambda: airflow.runs(DAG))
    page = page_of(airflow, 0)
    watch(browser, page, "Success")
    return page


def page_of(airflow: Standalone, number: int) -> str:
    """The page of a run, in the order in which they started."""
    return f"{airflow.url}/dags/{DAG}/runs/{airflow.runs(DAG)[number]['dag_run_id']}"


def test_an_engineer_gets_from_the_trigger_to_the_verdict_with_three_clicks(
    browser: Chrome, airflow: Standalone, first_run: str
):
    with at_most(clicks=3):
        page = start_run(browser, airflow.url, DAG, {PROMOTION: {"gate.max_test_mae": "1"}})
        watch(browser, page, "Success")
        press(browser, "Model report")
        with inside(browser, "Model report"):
            see(browser, "Not published.")
            see(browser, "with 1 changed setting")


def test_an_engineer_compares_two_runs_with_four_clicks(browser: Chrome, airflow: Standalone, first_run: str):
    with at_most(clicks=4):
        browser.get(airflow.url)
        press(browser, "Age models")
        with inside(browser, "Age models"):
            see(browser, "All runs")
            for box in browser.find_elements(By.CSS_SELECTOR, "input[name=run]")[:2]:
                box.click()
            press(browser, "Compare")
            see(browser, "is not significantly different from A")
            see(browser, "gate.max_test_mae")


def test_a_labeller_corrects_a_row_and_its_run_starts_by_itself(
    browser: Chrome, airflow: Standalone, faces: Path, first_run: str
):
    before = len(airflow.runs(DAG))
    labels = faces / "labels.csv"
    with at_most(clicks=1):
        browser.get(first_run)
        press(browser, "Label validation")
        with inside(browser, "Label validation"):
            see(browser, "age out of range")
        labels.write_text(labels.read_text().replace(WRONG, RIGHT))
        airflow.wait("a run with the corrected label", lambda: len(airflow.runs(DAG)) > before)
    page = page_of(airflow, before)
    watch(browser, page, "Success")
    press(browser, "Label validation")
    with inside(browser, "Label validation"):
        see(browser, "Since the last run")


def test_a_labeller_finds_the_quarantine_with_one_click(browser: Chrome, airflow: Standalone, first_run: str):
    browser.get(airflow.url)
    with at_most(clicks=1):
        press(browser, "Labels")
        with inside(browser, "Labels"):
            see(browser, "The newest validation")
            see(browser, "file name not valid")
            see(browser, "Labels to look at")


def test_a_labeller_finds_what_to_label_next_with_one_click(browser: Chrome, airflow: Standalone, first_run: str):
    """The promotion of the first run has started the ranking."""
    airflow.wait("a ranking", lambda: [run for run in airflow.runs("age_label_next") if run["state"] == "success"])
    browser.get(airflow.url)
    with at_most(clicks=1):
        press(browser, "Labels")
        with inside(browser, "Labels"):
            see(browser, "What to label next")
            see(browser, "Of 20 images without labels")
            see(browser, "what to label next, for Label Studio")


def test_a_labeller_says_that_a_label_is_right_with_two_clicks(browser: Chrome, first_run: str):
    browser.get(first_run)
    with at_most(clicks=2):
        press(browser, "Labels to look at")
        with inside(browser, "Labels to look at"):
            press(browser, "This label is right")
            see(browser, "1 of this list confirmed")


def test_an_approver_decides_with_everything_on_one_page_four_clicks_from_home(
    browser: Chrome, airflow: Standalone, first_run: str
):
    form = {
        TRAINING: {"finetune.epochs": "2"},
        PROMOTION: {"require_approval": True, "gate.policy": "not_worse", "gate.tolerance_years": "10"},
    }
    run = start_run(browser, airflow.url, DAG, form)
    watch(browser, run, "Required Actions")
    browser.set_window_size(WIDTH, 1150)
    browser.get(airflow.url)
    with at_most(clicks=4):
        press(browser, "Required Actions")
        see(browser, "May the candidate become the champion?")
        press(browser, "approve")
        if "required_actions" not in browser.current_url:
            press(browser, "Required Action (1)")
        for text in (
            "The gate: passed",
            "on the same",
            "test images",
            "gate.policy not_worse",
            "images are new since v",
            "Rules:",
            "Cost:",
        ):
            see(browser, text)
        for choice in ("Approve", "Reject"):
            (button,) = [each for each in browser.find_elements(By.TAG_NAME, "button") if each.text.strip() == choice]
            assert in_view(browser, button), choice
        fill(browser, "comment", "looks right")
        press(browser, "Approve")
        see(browser, "Response received")
    watch(browser, run, "Success")


def test_the_person_on_call_sees_the_cause_of_a_failure_with_two_clicks(
    browser: Chrome, airflow: Standalone, first_run: str
):
    run = start_run(browser, airflow.url, DAG, {PARAMETERS: {"labels": "nowhere/labels.csv"}})
    watch(browser, run, "Failed")
    browser.get(f"{airflow.url}/dags/{DAG}")
    with at_most(clicks=2):
        browser.get(run)
        press(browser, "Model report")
        with inside(browser, "Model report"):
            see(browser, "Stage snapshot failed.")
            see(browser, "nowhere/labels.csv")


def in_view(browser: Chrome, element: object) -> bool:
    """Whether all of an element is inside the window."""
    script = "const at = arguments[0].getBoundingClientRect(); return at.top >= 0 && at.bottom <= window.innerHeight;"
    return bool(browser.execute_script(script, element))
