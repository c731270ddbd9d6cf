"""A real browser for tests: headless Chromium, which reaches this machine only, logged in as a person would be."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support import expected_conditions as until
from selenium.webdriver.support.wait import WebDriverWait

PATIENCE = 60  # seconds; a busy machine draws slowly
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost",  # no page may need the network
)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    """A window of its own, without cookies; skips where Chromium or its driver is not installed."""
    with open_browser(tmp_path / "profile") as driver:
        yield driver


@contextlib.contextmanager
def open_browser(profile: Path, width: int = 1280, height: int = 1000) -> Iterator[Chrome]:
    """Chromium with an empty `profile`, in a window of so many pixels."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("no browser: apt-get install chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = chromium
    for argument in (*ARGUMENTS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = Chrome(options, ChromeService(driver))
    try:
        yield browser
    finally:
        browser.quit()


def log_in(browser: Chrome, address: str, user: str, password: str) -> None:
    """Fill in the form of Airflow's simple auth manager and wait for the UI."""
    browser.get(f"{address}/auth/login")
    find(browser, "input[name=username]").send_keys(user)
    find(browser, "input[name=password]").send_keys(password)
    find(browser, "button[type=submit]").click()
    WebDriverWait(browser, PATIENCE).until_not(until.url_contains("/auth/login"))
    find(browser, "nav, #root a")


def find(browser: Chrome, selector: str) -> WebElement:
    """The first element of a CSS selector, once it can be seen."""
    return WebDriverWait(browser, PATIENCE).until(until.visibility_of_element_located((By.CSS_SELECTOR, selector)))


def enter_page(browser: Chrome, title: str) -> None:
    """Go into the frame that shows a plugin's page; `browser.switch_to.default_content()` leaves it."""
    browser.switch_to.frame(find(browser, f"iframe[title='{title}']"))
    find(browser, "body > *")


def complaints(browser: Chrome) -> list[str]:
    """What the browser has reported since it was last asked: blocked scripts, missing files."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] in {"SEVERE", "WARNING"}]
