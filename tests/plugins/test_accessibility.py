"""axe-core, in a real browser, finds nothing serious on any page: on wide and narrow screens, light and dark."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.keys import Keys

from age_tasks.runs.keys import live_file, run_file
from age_tasks.runs.live_status import LiveStatus
from age_tasks.runs.records import now
from age_tasks.runs.run import Workspace
from age_tasks.store.files import FileStore
from tests.e2e.browser import open_browser
from tests.support.records import put_record

AXE = Path(__file__).parents[1] / "support" / "axe"
RUN = "/age/age_retraining/finished"
PAGES = {
    "models": "/age/models",
    "labels": "/age/labels",
    "report": f"{RUN}/report",
    "validation": f"{RUN}/validation",
    "quarantine": f"{RUN}/validate/quarantine_by_reason.html",
    "labels to look at": f"{RUN}/labels",
    "gate": f"{RUN}/tasks/gate",
    "approve": f"{RUN}/tasks/approve",
    "evaluate": f"{RUN}/tasks/evaluate",
    "progress of a run": "/age/age_retraining/broken/report",
    "a stage at work": "/age/age_retraining/live/tasks/baseline",
    "compare": "/age/compare?run=finished&run=broken",
    "nothing there": "/age/age_retraining/none/report",
}
WIDTHS = (1400, 1100, 700, 390)  # pixels; a window of 1400 has 700 at a zoom of 200 %
EPOCH = {"epoch": 1, "mae": 9.4, "val_mae": 10.1, "learning_rate": 0.001, "seconds": 2.0}
RUN_AXE = """
const done = arguments[arguments.length - 1];
axe.run().then(found => done(found.violations
  .filter(each => ["serious", "critical"].includes(each.impact))
  .map(each => [each.id, each.nodes[0].html.slice(0, 200), each.nodes[0].failureSummary])));
"""
REACHABLE = """
return [...document.querySelectorAll("a[href], button, input, summary, [tabindex='0']")]
  .filter(each => each.checkVisibility()).map(each => each.outerHTML.slice(0, 120));
"""
FOCUSED = """
const at = document.activeElement, style = getComputedStyle(at);
return at === document.body ? null : [at.outerHTML.slice(0, 120), style.outlineStyle !== "none"];
"""
WIDER = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The script of axe-core, in the version of its lock file."""
    if shutil.which("npm") is None:
        pytest.skip("no npm command, which installs axe-core: apt-get install npm")
    folder = tmp_path_factory.mktemp("axe")
    for file in AXE.iterdir():
        shutil.copy(file, folder)
    done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"npm can't install axe-core: {done.stderr.strip()[-300:]}")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with open_browser(tmp_path_factory.mktemp("browser") / "profile") as browser:
        yield browser


@pytest.fixture
def pages(client: Callable[..., TestClient], finished: Workspace, tmp_path: Path) -> dict[str, Path]:
    """Each page in a file: of a finished run, and of one that failed."""
    shutil.copytree(Path(finished.store.where("runs")).parent, tmp_path / "store")
    store = FileStore(tmp_path / "store")
    put_record(store, "snapshot", "broken", status="failed", error="labels.csv: no such file")
    store.put(run_file("broken"), store.get(run_file("finished")))
    status = {"at": now(), "what": "epoch 2 of at most 9, images", "done": 40, "total": 80, "per_second": 9.7}
    status |= {"seconds_left": 4.1, "note": "train MAE so far 8.91 years", "epochs": [EPOCH], "most_epochs": 9}
    store.put(live_file("live", "baseline"), LiveStatus.model_validate(status).to_bytes())
    reader, files = client(store), {}
    for name, address in PAGES.items():
        answer = reader.get(address)
        assert answer.status_code == (404 if name == "nothing there" else 200), name
        files[name] = tmp_path / f"{name}.html"
        files[name].write_text(answer.text)
    return files


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_has_a_serious_finding_or_is_wider_than_the_screen(
    theme: str, axe: str, browser: Chrome, pages: dict[str, Path]
):
    media = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    found: dict[tuple[str, int], Any] = {}
    for width in WIDTHS:
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        for name, file in pages.items():
            browser.get(file.as_uri())
            wider = browser.execute_script(WIDER)
            browser.execute_script(axe)
            found[name, width] = [*browser.execute_async_script(RUN_AXE), *([f"{wider} px too wide"] if wider else [])]
    assert {place: each for place, each in found.items() if each} == {}


@pytest.mark.parametrize("name", PAGES)
def test_everything_that_can_be_used_is_reached_by_the_keyboard_and_shows_it(
    name: str, browser: Chrome, pages: dict[str, Path]
):
    browser.get(pages[name].as_uri())
    wanted, reached = browser.execute_script(REACHABLE), []
    for _ in range(len(wanted)):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        reached.append(browser.execute_script(FOCUSED))
    assert [html for html, _ in filter(None, reached)] == wanted
    assert [html for html, visible in filter(None, reached) if not visible] == []
