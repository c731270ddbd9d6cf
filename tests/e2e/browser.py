"""A real browser for tests: headless Chromium, which reaches this machine only, logged in as a person would be."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support import expected_conditions as until
from selenium.webdriver.support.wait import WebDriverWait

WIDTH, HEIGHT = 1400, 1000  # of the window in pixels
PATIENCE = 120  # seconds; a busy machine draws slowly
TRAINING_SECONDS = 1500
# Airflow's own way with pages of plugins; ours send a policy that lets no script run.
OF_AIRFLOW = "allow-scripts and allow-same-origin for its sandbox attribute can escape its sandboxing."
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


_pressed: list[str] = []


@contextlib.contextmanager
def at_most(clicks: int) -> Iterator[None]:
    """So many buttons, links and tabs may be pressed meanwhile; fields of a form are filled in without.

    Raises:
        AssertionError: there were more.
    """
    before = len(_pressed)
    yield
    assert len(_pressed) - before <= clicks, f"{len(_pressed) - before} clicks: {_pressed[before:]}"


@contextlib.contextmanager
def open_browser(profile: Path) -> Iterator[Chrome]:
    """Chromium with an empty `profile`; skips the test where it is not installed."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("no browser: apt-get install chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = chromium
    for argument in (*ARGUMENTS, f"--user-data-dir={profile}", f"--window-size={WIDTH},{HEIGHT}"):
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


def start_run(
    browser: Chrome,
    address: str,
    dag: str,
    form: dict[str, dict[str, str | bool]],
    when_filled: Callable[[], None] = lambda: None,
) -> str:
    """Fill in the DAG's trigger form, section by section, and press its button; returns the run's page."""
    browser.get(f"{address}/dags/{dag}")
    press(browser, "Trigger")
    for section, fields in form.items():
        unfold(browser, section)
        for name, value in fields.items():
            fill(browser, name, value)
    when_filled()
    press(browser, "Trigger")
    WebDriverWait(browser, PATIENCE).until(until.url_contains(f"/dags/{dag}/runs/"))
    return browser.current_url


def fill(browser: Chrome, name: str, value: str | bool) -> None:
    """Fill in a field of a form: a text or number, a choice, or a switch, which `True` turns."""
    field = f"element_{name}"
    if value is True:
        patiently(browser, lambda: _turn_on(find(browser, f"[id='switch:{field}']")), f"no switch {name}")
    elif browser.find_elements(By.CSS_SELECTOR, f"[id='{field}'] [role=combobox]"):
        find(browser, f"[id='{field}'] [role=combobox]").send_keys(value, Keys.ENTER)
    else:
        find(browser, f"input[name='{field}']").send_keys(value)


def unfold(browser: Chrome, section: str) -> None:
    """Open a section of a form, unless it is open."""
    patiently(
        browser,
        lambda: (button := _by_text(browser, section)).get_attribute("aria-expanded") == "true" or _click(button),
        f"no section '{section}'",
    )


def press(browser: Chrome, text: str) -> None:
    """Click the button, link or tab that says this; of several the last, which is the one on top."""
    _pressed.append(text)
    patiently(browser, lambda: _click(_by_text(browser, text)), f"nothing to press that says '{text}'")


def patiently(browser: Chrome, ask: Callable[[], object], otherwise: str, seconds: float = PATIENCE) -> None:
    """Wait until `ask` returns something true; elements that the page has replaced are looked up again.

    Raises:
        TimeoutException: it never did; `otherwise` says so.
    """
    WebDriverWait(browser, seconds, ignored_exceptions=[WebDriverException, IndexError]).until(
        lambda _: ask(), otherwise
    )


def see(browser: Chrome, text: str, seconds: float = PATIENCE) -> None:
    """Wait for a text on the page, or in the frame that was entered.

    Raises:
        TimeoutException: it did not come.
    """
    patiently(browser, lambda: text in find(browser, "body").text, f"no '{text}' on {browser.current_url}", seconds)


def watch(browser: Chrome, page: str, sign: str) -> None:
    """Look at a run until its head shows the sign, such as `Success`.

    Raises:
        AssertionError: it has ended otherwise.
    """

    def shown() -> bool:
        head = find(browser, "[data-testid=header-card]").text
        assert sign in head or not {"Failed", "Success"} & set(head.split()), f"no '{sign}': {head}"
        return sign in head

    browser.get(page)
    patiently(browser, shown, f"no '{sign}' at {page}", TRAINING_SECONDS)


def find(browser: Chrome, selector: str) -> WebElement:
    """The first element of a CSS selector, once it can be seen."""
    return WebDriverWait(browser, PATIENCE).until(until.visibility_of_element_located((By.CSS_SELECTOR, selector)))


@contextlib.contextmanager
def inside(browser: Chrome, page: str) -> Iterator[None]:
    """In the frame that shows a plugin's page."""
    browser.switch_to.frame(find(browser, f"iframe[title='{page}']"))
    try:
        yield
    finally:
        browser.switch_to.default_content()


def complaints(browser: Chrome) -> list[str]:
    """What the browser has reported since it was last asked: blocked scripts, missing files."""
    said = [entry["message"] for entry in browser.get_log("browser") if entry["level"] in {"SEVERE", "WARNING"}]
    return [message for message in said if not message.endswith(OF_AIRFLOW)]


def _by_text(browser: Chrome, text: str) -> WebElement:
    each = browser.find_elements(By.XPATH, f"(//button | //a)[.//text()[normalize-space()='{text}']]")
    return [element for element in each if element.is_displayed() and element.is_enabled()][-1]


def _turn_on(switch: WebElement) -> bool:
    """Click a switch unless it is on: a click while its section still opens may be lost."""
    if switch.get_attribute("data-state") == "checked":
        return True
    switch.click()
    return False


def _click(element: WebElement) -> bool:
    element.click()
    return True
