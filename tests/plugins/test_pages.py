"""The pages as Airflow's API server serves them, to people with and without a login."""

import json
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from bs4 import BeautifulSoup
from fastapi.testclient import TestClient

from age_tasks.environment import PROJECT
from age_tasks.maintenance.reindex import reindex
from age_tasks.pipeline import STAGES
from age_tasks.registry.approval import Approval
from age_tasks.registry.decisions import answer_of, put_decision
from age_tasks.registry.promotions import promote, rollback
from age_tasks.reports.label_issues_page import LabelIssue, LabelIssues
from age_tasks.runs.keys import live_file, live_file_of_share, safe_run_key
from age_tasks.runs.live_status import LiveStatus
from age_tasks.runs.records import now
from age_tasks.runs.run import Workspace
from age_tasks.store.base import Store
from age_tasks.store.files import FileStore
from tests.support.airflow_runs import add_run
from tests.support.builders import promoted
from tests.support.page import Page
from tests.support.records import put_record

RUN_ID = "manual__2026-11-22T10:15:00+00:00"
KEY = "manual__2026-11-22T10-15-00-00-00"

Client = Callable[..., TestClient]
OUTPUT = {"sha256": "0" * 64, "bytes": 1}


def record(store: Store, stage: str, run: str = KEY, **facts: object) -> None:
    """A stage's record as the runner writes it."""
    put_record(store, stage, run, **facts)


def test_tabs_and_navigation_lead_to_the_pages(client: Client, finished: Workspace):
    (plugin,) = [
        each
        for each in client(finished.store, "admin").get("/api/v2/plugins").json()["plugins"]
        if each["name"] == "age_retraining"
    ]
    views = {view["url_route"]: view for view in plugin["external_views"]}
    assert {route: view["destination"] for route, view in views.items()} == {
        "age-models": "nav",
        "age-labels": "nav",
        "model-report": "dag_run",
        "label-validation": "dag_run",
        "labels-to-look-at": "dag_run",
        "summary": "task_instance",
    }
    parts = {"{DAG_ID}": "age_retraining", "{RUN_ID}": "finished", "{TASK_ID}": "evaluate"}
    for view in views.values():
        address = view["href"]
        for name, value in parts.items():
            address = address.replace(name, value)
        assert client(finished.store).get(f"/{address}").status_code == 200, address


def without_navigation(page: str) -> str:
    """A page as it is stored: the links to the other pages of its run are added when it is served."""
    (navigation,) = re.findall(r"\n<nav.*?</nav>", page)
    return page.replace(navigation, "")


def test_the_report_page_is_the_published_report(reader: TestClient, finished: Workspace):
    page = reader.get("/age/age_retraining/finished/report")
    assert page.url.path == "/age/age_retraining/finished/publish/report.html"
    assert without_navigation(page.text) == finished.store.get("runs/finished/publish/report.html").decode()
    assert '<a href="../validation">' in page.text
    assert '<a href="../../../models?search=finished#run-finished">' in page.text
    assert page.headers["content-type"] == "text/html; charset=utf-8"


def test_the_validation_page_serves_every_file_it_links_to(reader: TestClient, finished: Workspace):
    page = reader.get("/age/age_retraining/finished/validation")
    assert "Label validation" in page.text
    for name in finished.require_record("validate").outputs:
        answer = reader.get(str(page.url.join(quote(name))))
        assert answer.status_code == 200, name
        served = without_navigation(answer.text).encode() if name == "index.html" else answer.content
        assert served == finished.store.get(f"runs/finished/validate/{name}")
    assert reader.get(str(page.url.join("quarantine.csv"))).headers["content-type"] == "text/csv; charset=utf-8"


def test_the_summary_page_shows_the_summary_of_the_stage(reader: TestClient, finished: Workspace):
    page = reader.get("/age/age_retraining/finished/tasks/evaluate").text
    summary = finished.require_record("evaluate").summary
    assert "finetune MAE" in page
    assert f"{summary['finetune_mae']:.4g}" in page
    assert 'href="../report"' in page
    assert 'href="../validation"' in reader.get("/age/age_retraining/finished/tasks/validate").text


@pytest.mark.parametrize(
    "path",
    [
        "/age/models",
        "/age/labels",
        "/age/compare?run=finished&run=another",
        "/age/age_retraining/finished/report",
        "/age/age_retraining/finished/validation",
        "/age/age_retraining/finished/tasks/split",
        "/age/age_retraining/finished/validate/quarantine.csv",
        "/age/age_retraining/finished/publish/report.html",
        "/age/another_dag/finished/publish/report.html",
    ],
)
def test_pages_require_the_right_to_see_runs(client: Client, finished: Workspace, path: str):
    assert client(finished.store, anonymous=True).get(path).status_code == 401
    refused = client(finished.store, role=None).get(path)
    assert refused.status_code == 403
    assert "finished" not in refused.text
    forged = TestClient(client(finished.store).app, headers={"Authorization": "Bearer forged"})
    assert forged.get(path).status_code == 403


@pytest.mark.parametrize("path", ["/age/openapi.json", "/age/docs", "/age/redoc"])
def test_there_is_no_openapi_page(reader: TestClient, path: str):
    assert reader.get(path).status_code == 404


def test_a_stage_at_work_says_how_far_it_is(client: Client, tmp_path: Path):
    store, run_id = FileStore(tmp_path / "store"), f"live-{uuid.uuid4()}"
    record(store, "split", run_id)
    add_run(run_id, "running", {"split": "success", "baseline": "running"})
    row = {"epoch": 1, "mae": 9.4, "val_mae": 10.1, "learning_rate": 0.001, "seconds": 2.0}
    status = {"what": "epoch 2 of at most 9, images", "done": 40, "total": 80, "per_second": 9.7, "seconds_left": 4.1}
    status |= {"at": now(), "note": "train MAE so far 8.91 years", "epochs": [row], "most_epochs": 9}
    store.put(live_file(run_id, "baseline"), LiveStatus.model_validate(status).to_bytes())
    for page in (f"{run_id}/tasks/baseline", f"{run_id}/report"):
        answer = client(store).get(f"/age/age_retraining/{page}")
        assert answer.headers["refresh"] == "5"
        text = Page(answer.text).text
        assert "Epoch 2 of at most 9, images: 40 of 80, 10 per second, train MAE so far 8.91 years" in text
        assert "validation MAE: 10.10" in text
    store.delete(live_file(run_id, "baseline"))
    answer = client(store).get(f"/age/age_retraining/{run_id}/tasks/baseline")
    assert "Epoch 2" not in answer.text
    assert answer.headers["refresh"] == "15"


def test_two_runs_are_compared_from_the_list_of_all_runs(client: Client, finished: Workspace, tmp_path: Path):
    shutil.copytree(Path(finished.store.where("runs")).parent, tmp_path / "store")
    store = FileStore(tmp_path / "store")
    for key in store.list("runs/finished/"):
        content = re.sub(rb'"(run|id)": "finished"', rb'"\1": "second"', store.get(key))
        store.put(key.replace("runs/finished/", "runs/second/"), content)
    reindex(store)
    reader = client(store)
    models = reader.get("/age/models")
    assert "form-action 'self'" in models.headers["content-security-policy"]
    form = BeautifulSoup(models.text, "html.parser").select_one("form[action=compare]")
    ticked = [box["value"] for box in form.select("input[name=run]")]
    assert sorted(ticked) == ["finished", "second"]
    page = reader.get(f"/age/{form['action']}", params={"run": ticked})
    assert page.status_code == 200
    assert "B is not significantly different from A." in Page(page.text).text


def test_the_page_for_labellers_shows_the_newest_validation(reader: TestClient, finished: Workspace):
    page = Page(reader.get("/age/labels").text)
    summary = finished.require_record("validate").summary
    assert page.verdict.startswith(f"Accepted. {summary['accepted']} of {summary['rows']} rows are used")
    assert {"Quarantined rows", "Labels to look at", "Downloads"} <= set(page.headings)
    for address in page.addresses:
        if address.startswith("age_retraining/"):
            assert reader.get(f"/age/{address}").status_code == 200, address
    filtered = Page(reader.get("/age/labels", params={"fault": "age out of range", "order": "file name"}).text)
    assert filtered.row("", 5)[2:4] == ["f-999.jpg", "999"]
    assert not any("f-empty.jpg" in text for text in filtered.texts("td"))
    assert reader.get("/age/labels", params={"order": "nothing"}).status_code == 404


def test_the_page_for_labellers_before_the_first_run(client: Client, tmp_path: Path):
    assert "No labels have been validated yet." in client(str(tmp_path / "new")).get("/age/labels").text


@pytest.mark.parametrize(("runs", "status"), [([], 400), (["finished"], 400), (["finished", "none"], 404)])
def test_runs_that_can_not_be_compared(reader: TestClient, runs: list[str], status: int):
    answer = reader.get("/age/compare", params={"run": runs})
    assert answer.status_code == status


@pytest.mark.parametrize("path", ["models", "age_retraining/finished/publish/report.html", "age_retraining/x/no"])
def test_the_content_security_policy_allows_no_script_and_no_other_host(reader: TestClient, path: str):
    headers = reader.get(f"/age/{path}").headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "img-src": "data: 'self'",
        "style-src": "'unsafe-inline' 'self'",
        "script-src": "'none'",
        "connect-src": "'none'",
        "form-action": "'self'" if path == "models" else "'none'",
        "frame-ancestors": "'self'",
        "base-uri": "'none'",
    }
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "private, no-store"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    "path",
    [
        "validate/../run.json",
        "validate/../snapshot/snapshot.csv",
        "validate/%2e%2e/snapshot/snapshot.csv",
        "validate/..%2fsnapshot%2fsnapshot.csv",
        "validate/%2e%2e%2fsnapshot%2fsnapshot.csv",
        "validate/..%5csnapshot%5csnapshot.csv",
        "validate/%252e%252e%252fsnapshot%252fsnapshot.csv",
        "validate/%c0%ae%c0%ae/snapshot/snapshot.csv",
        "validate//etc/passwd.csv",
        "validate/%2fetc%2fpasswd.csv",
        "validate/file:///etc/passwd.csv",
        "validate/quarantine.csv%00.html",
        "validate/%00",
        "validate/quarantine.csv/",
        "validate/stage.json",
        "validate/",
        "snapshot/snapshot.csv",
        "finetune/model.keras",
        "finetune/history.csv",
        "..%2f..%2fregistry/validate/index.html",
        "../../registry/promotions/x.json",
    ],
)
def test_no_path_leads_to_another_file(reader: TestClient, path: str):
    url = httpx.URL("http://testserver").copy_with(raw_path=f"/age/age_retraining/finished/{path}".encode())
    answer = reader.request("GET", url, follow_redirects=False)
    assert answer.status_code == 404
    assert "file_name,real_age" not in answer.text


@pytest.mark.parametrize("run_id", ["..", "%2e%2e", ".hidden", "-", "%00", "x" * 201, "%2f", "a%2fb"])
def test_no_run_id_leads_to_another_folder(reader: TestClient, run_id: str):
    url = httpx.URL("http://testserver").copy_with(raw_path=f"/age/age_retraining/{run_id}/report".encode())
    assert reader.request("GET", url, follow_redirects=False).status_code == 404


def test_other_file_types_are_not_served(client: Client, tmp_path: Path):
    store = FileStore(tmp_path)
    for name in ("page.svg", "script.js", "page.HTML", "page", "page.html.exe"):
        store.put(f"runs/{KEY}/validate/{name}", b"<script>1</script>")
        record(store, "validate", outputs={name: OUTPUT})
        assert client(store).get(f"/age/age_retraining/{RUN_ID}/validate/{name}").status_code == 404


def test_an_airflow_run_id_finds_the_folder_of_the_run(client: Client, store: Store):
    """In a folder, and in S3."""
    store.put(f"runs/{KEY}/validate/index.html", b"<h1>fit</h1>")
    record(store, "validate", outputs={"index.html": OUTPUT})
    page = client(store).get(f"/age/age_retraining/{quote(RUN_ID, safe='')}/validation")
    assert (page.status_code, page.text) == (200, "<h1>fit</h1>")


@pytest.mark.parametrize(
    ("run_id", "key"), [("set:a", "set-a"), ("set:a", safe_run_key("set:a")), ("set:a", safe_run_key("set+a"))]
)
def test_a_run_id_with_signs_finds_its_own_folder_or_the_one_of_an_earlier_version(
    client: Client, tmp_path: Path, run_id: str, key: str
):
    store = FileStore(tmp_path)
    settings = {"config": {}, "labels": "", "images": "", "created": ""}
    store.put(f"runs/{key}/run.json", json.dumps(settings).encode())
    page = client(store).get(f"/age/age_retraining/{quote(run_id, safe='')}/validation")
    if key == safe_run_key("set+a"):
        assert page.status_code == 404  # it is another run's
    else:
        assert re.search(r"Run ([\w-]+)", page.text)[1] == key  # type: ignore[index]


def test_a_reused_stage_shows_the_output_of_the_earlier_run(client: Client, store: Store):
    store.put("runs/earlier/publish/report.html", b"<h1>made earlier</h1>")
    record(store, "publish", reused_from="earlier", outputs={"report.html": OUTPUT})
    reader = client(store)
    assert reader.get(f"/age/age_retraining/{RUN_ID}/report").text == "<h1>made earlier</h1>"
    assert "the result of run earlier" in reader.get(f"/age/age_retraining/{RUN_ID}/tasks/publish").text


def test_a_run_without_report_shows_its_progress(client: Client, tmp_path: Path):
    store = FileStore(tmp_path)
    reader = client(store)
    page = reader.get(f"/age/age_retraining/{RUN_ID}/report")
    assert page.status_code == 404  # nobody started it
    store.put(f"runs/{KEY}/run.json", json.dumps({"config": {}, "labels": "", "images": "", "created": ""}).encode())
    page = reader.get(f"/age/age_retraining/{RUN_ID}/report")
    assert page.status_code == 200
    assert "No stage of this run has finished" in page.text
    record(store, "snapshot")
    record(store, "validate", summary={"accepted": 9, "quarantined": 1, "rows": 10})
    page = reader.get(f"/age/age_retraining/{RUN_ID}/report")
    assert "2 of 8 stages have finished" in page.text
    assert "9 accepted, 1 quarantined of 10" in page.text
    assert page.headers["refresh"] == "15"
    record(store, "split", status="failed", error="too few labels for 10 age bins")
    page = reader.get(f"/age/age_retraining/{RUN_ID}/report")
    assert "too few labels for 10 age bins" in page.text
    assert "refresh" not in page.headers
    assert "Not finished." in reader.get(f"/age/age_retraining/{RUN_ID}/tasks/gate").text


@pytest.mark.parametrize(
    ("state", "tasks", "results", "said"),
    [
        ("failed", {"snapshot": "failed"}, {}, "Failed in snapshot."),
        ("success", {"split": "skipped"}, {"split": {"skipped": "2 new labels"}}, "Skipped by split. <span>2 new"),
    ],
)
def test_a_run_that_stopped_without_a_record_says_so_and_is_not_loaded_again(
    client: Client, tmp_path: Path, state: str, tasks: dict[str, str], results: dict[str, Any], said: str
):
    run_id = f"manual-{uuid.uuid4().hex}"
    add_run(run_id, state, tasks, results)
    reader = client(FileStore(tmp_path))
    for path in ("report", "validation"):
        page = reader.get(f"/age/age_retraining/{run_id}/{path}")
        assert said in page.text
        assert "refresh" not in page.headers
    (task,) = tasks
    page = reader.get(f"/age/age_retraining/{run_id}/tasks/{task}")
    assert tasks[task].capitalize() in page.text
    assert "refresh" not in page.headers


def test_the_page_of_shared_work_says_how_it_stands(client: Client, tmp_path: Path):
    run_id, store = f"manual-{uuid.uuid4().hex}", FileStore(tmp_path)
    add_run(run_id, "running", {"probe": ["success", "success"], "features": ["success", "running"]})
    page = client(store).get(f"/age/age_retraining/{run_id}/tasks/features")
    assert "features: running" in page.text
    assert page.headers["refresh"] == "15"
    assert "probe: success" in client(store).get(f"/age/age_retraining/{run_id}/tasks/probe").text
    assert "features is running" in client(store).get(f"/age/age_retraining/{run_id}/report").text
    for share, done, minutes in ((2, 1024, 0), (3, 7, 5)):
        at = (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()
        status = {"at": at, "what": f"frozen features, share {share}/4", "done": done, "total": 7588}
        status |= {"per_second": 101.0, "seconds_left": 65.0, "note": "", "epochs": [], "most_epochs": 0}
        key = live_file_of_share(run_id, "features", share, 4)
        store.put(key, LiveStatus.model_validate(status).to_bytes())
    for path in ("tasks/features", "report"):
        answer = client(store).get(f"/age/age_retraining/{run_id}/{path}")
        page = Page(answer.text)
        assert [each for each in page.headings if each.startswith("features")] == [page.headings[0]]
        assert page.headings[0].startswith("features 2 of 4 at ")  # share 3 was killed
        assert "Frozen features, share 2/4: 1024 of 7588, 101 per second" in page.text
        assert answer.headers["refresh"] == "5"
    other = f"manual-{uuid.uuid4().hex}"
    add_run(other, "running", {"snapshot": "running"})
    assert client(store).get(f"/age/age_retraining/{other}/tasks/features").status_code == 404


def test_a_stage_that_runs_again_is_not_shown_as_failed_for_good(client: Client, tmp_path: Path):
    run_id, store = f"manual-{uuid.uuid4().hex}", FileStore(tmp_path)
    add_run(run_id, "running", {"snapshot": "queued"})
    record(store, "snapshot", run_id, status="failed", error="no such file")
    page = client(store).get(f"/age/age_retraining/{run_id}/report")
    assert "snapshot is queued" in page.text
    assert page.headers["refresh"] == "15"
    assert "an earlier attempt" in client(store).get(f"/age/age_retraining/{run_id}/tasks/snapshot").text


@pytest.mark.parametrize("path", ["report", "validation", "tasks/rollback"])
def test_the_tabs_of_a_run_of_another_dag_of_ours_say_what_it_did(client: Client, tmp_path: Path, path: str):
    run_id = f"manual-{uuid.uuid4().hex}"
    add_run(run_id, "success", {"rollback": "success"}, {"rollback": "v1 is in <use>"}, dag="age_rollback")
    page = client(FileStore(tmp_path)).get(f"/age/age_rollback/{run_id}/{path}")
    assert page.status_code == 200
    assert "makes an earlier version the champion again" in page.text
    assert "v1 is in &lt;use&gt;" in page.text
    models = re.search(r'href="([./]+models)"', page.text)
    assert models
    assert client(FileStore(tmp_path)).get(str(page.url.join(models[1]))).url.path == "/age/models"
    assert client(FileStore(tmp_path), role=None).get(f"/age/age_rollback/{run_id}/{path}").status_code == 403


@pytest.fixture
def waiting(finished: Workspace, tmp_path: Path) -> FileStore:
    """A run that reused all results of another, and is not published: a person may be asked."""
    source, store = Path(finished.store.where("runs")).parent, FileStore(tmp_path / "store")
    shutil.copytree(source / "runs" / "finished", tmp_path / "store" / "runs" / "finished")
    settings = json.loads(store.get("runs/finished/run.json"))
    store.put(f"runs/{KEY}/run.json", json.dumps(settings | {"id": RUN_ID}).encode())
    for stage in STAGES[:-1]:
        reused = {"run": KEY, "reused_from": "finished"}
        done = json.loads(store.get(f"runs/finished/{stage}/stage.json"))
        store.put(f"runs/{KEY}/{stage}/stage.json", json.dumps(done | reused).encode())
    return store


def test_before_publish_the_report_is_that_of_the_run_itself(client: Client, waiting: FileStore):
    page = client(waiting).get(f"/age/age_retraining/{RUN_ID}/report")
    assert "Not decided yet" in page.text
    assert f"Run {KEY}, " in page.text
    assert "Run finished, " not in page.text
    assert page.headers["refresh"] == "15"
    (predictions,) = re.findall('<a href="([^"]*)">predicted ages', page.text)
    assert client(waiting).get(str(page.url.join(predictions))).text.startswith('"file_name",')


def test_the_summary_of_the_gate_shows_its_rules_in_a_table(client: Client, waiting: FileStore):
    page = Page(client(waiting).get(f"/age/age_retraining/{RUN_ID}/tasks/gate").text)
    assert page.row("test MAE")[2:4] == ["<= 40.00 years (recipe: 9.00)", "pass"]
    assert page.row("gate.max_test_mae") == ["gate.max_test_mae", "40", "9"]
    assert "×" not in page.text


def test_the_summary_of_approve_shows_the_question_and_every_answer(client: Client, waiting: FileStore):
    address = f"/age/age_retraining/{RUN_ID}/tasks/approve"
    page = client(waiting).get(address)
    assert Page(page.text).verdict.startswith("No answer so far.")
    assert Page(page.text).row("test MAE")[3] == "pass"
    assert page.headers["refresh"] == "15"
    for approved, who, hour in ((False, "ann", 10), (True, "bob", 11)):
        answer = Approval(approved, who, "looks <b>fine</b>", f"2026-11-24T{hour}:15:00+00:00")
        put_decision(waiting, answer_of(KEY, answer, ""))
    record(waiting, "publish")
    page = client(waiting).get(address)
    assert Page(page.text).verdict == "Approved by bob at 2026-11-24 11:15 UTC: looks <b>fine</b>."
    assert Page(page.text).row("2026-11-24 10:15 UTC")[1:] == ["ann", "refused", "looks <b>fine</b>"]
    assert "refresh" not in page.headers


def test_the_summary_of_approve_shows_the_faces_that_changed(client: Client, waiting: FileStore):
    address = f"/age/age_retraining/{RUN_ID}/tasks/approve"
    assert "Faces that got" not in client(waiting).get(address).text
    record(waiting, "evaluate", outputs={"got_worse.png": OUTPUT, "got_better.png": OUTPUT})
    page = Page(client(waiting).get(address).text)
    assert {"Faces that got worse", "Faces that got better"} <= set(page.headings)
    assert [image["src"] for image in page.soup.select("img")] == [
        "../evaluate/got_worse.png",
        "../evaluate/got_better.png",
    ]


def test_refused_labels_have_a_validation_page(client: Client, tmp_path: Path):
    store = FileStore(tmp_path)
    store.put(f"runs/{KEY}/validate/index.html", b"Refused")
    record(store, "validate", status="failed", error="too many rows in quarantine", outputs={"index.html": OUTPUT})
    assert client(store).get(f"/age/age_retraining/{RUN_ID}/validation").text == "Refused"


def test_runs_of_other_dags_have_no_pages(reader: TestClient):
    answer = reader.get("/age/age_rollback/finished/report")
    assert answer.status_code == 404
    assert "the DAG age_retraining" in answer.text


def test_text_from_the_store_is_escaped(client: Client, tmp_path: Path):
    store, evil = FileStore(tmp_path), '<script>x</script>"onload="y'
    record(store, "snapshot", summary={"reasons": {evil: 1}, evil: [evil]})
    record(store, "validate", status="failed", error=evil)
    promoted(store, tmp_path, "monday", "tuesday")
    promote(store, "monday", evil)
    run = f"age_retraining/{RUN_ID}"
    for path in ("models", f"{run}/report", f"{run}/tasks/snapshot", f"{run}/tasks/validate"):
        page = client(store).get(f"/age/{path}").text
        assert "<script" not in page
        assert "&lt;script&gt;x&lt;/script&gt;&#34;onload=&#34;y" in page


def test_the_models_page_shows_every_promotion_and_rollback(client: Client, tmp_path: Path):
    store = FileStore(tmp_path / "store")
    reader = client(store)
    assert "No model has been promoted yet" in reader.get("/age/models").text
    promoted(store, tmp_path, "monday", "tuesday")
    second = store.list("registry/promotions/")[-1]
    entry = json.loads(store.get(second))
    store.put("registry/promotions/000002-raced.json", json.dumps(entry | {"version": "monday"}).encode())
    rollback(store, "worse on children", to="2")
    page = reader.get("/age/models").text
    assert "v2 is in use" in page
    assert "<b>Promoted again.</b> worse on children" in page  # from v1, where a person went back to before
    assert "written at the same time" in page
    assert page.count("<circle") == 2
    assert 'href="age_retraining/tuesday/report"' in page
    assert "Roll back to an earlier version" in page
    assert "/dags/" not in page  # Airflow's own pages would open inside of this one
    store.delete("registry/versions/monday/manifest.json")
    reindex(store)
    page = reader.get("/age/models").text
    assert "removed" in page
    assert "<circle" not in page


def test_an_unreadable_store_is_reported_without_secrets(
    client: Client, s3: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    answer = client("s3://nobody-s-bucket/x").get("/age/models")
    assert answer.status_code == 502
    assert "there is no bucket &#39;nobody-s-bucket&#39;" in answer.text
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-and-secret")
    answer = client("s3://age/secrets").get(f"/age/age_retraining/{RUN_ID}/report")
    assert answer.status_code == 502
    assert "access denied" in answer.text
    assert "wrong-and-secret" not in answer.text
    assert s3["AWS_ACCESS_KEY_ID"] not in answer.text
    answer = client("ftp://user:secret@host/store").get("/age/models")
    assert answer.status_code == 503
    assert "secret" not in answer.text


def test_the_pages_import_no_heavy_module():
    """In a process of its own, since this one may have imported anything."""
    source = (PROJECT / "plugins" / "age_retraining_plugin" / "pages.py").read_text()
    ours = re.findall(r"^from (age_tasks[\w.]*) import", source, re.MULTILINE)
    code = f"import sys, {', '.join(ours)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, timeout=120)
    loaded = set(done.stdout.split())
    assert "age_tasks.reports.models_page" in loaded
    assert not loaded & {
        "PIL",
        "numpy",
        "tensorflow",
        "keras",
        "pandas",
        "great_expectations",
        "matplotlib",
        "scipy",
        "sklearn",
    }


ISSUES = [
    LabelIssue(
        file_name=f"{name}.jpg",
        line=line,
        sha256=name * 64,
        real_age=30.5,
        other_age=52,
        relative_error=error,
        new=name == "b",
        image=None,
    )
    for name, line, error in (("a", 2, 6.0), ("b", 3, 4.0), ("c", 4, 5.0))
]
LABELS_PAGE = f"/age/age_retraining/{RUN_ID}/labels"


@pytest.fixture
def labels_store(tmp_path: Path) -> FileStore:
    """A store with a run that has three labels to look at."""
    store = FileStore(tmp_path)
    found = LabelIssues(issues=ISSUES, previous_run="sunday").to_bytes()
    store.put(f"runs/{KEY}/evaluate/labels_to_look_at.json", found)
    record(store, "evaluate", outputs={"labels_to_look_at.json": OUTPUT})
    return store


def form_of(page: str, name: str) -> dict[str, str]:
    """The fields of the form beside a label, with the value of its button."""
    (item,) = [each for each in BeautifulSoup(page, "html.parser").select("ol.faces li") if name in each.text]
    fields = {field["name"]: field["value"] for field in item.select("input, button")}
    assert fields["token"]
    return {str(name): str(value) for name, value in fields.items()}


def names_on(page: str) -> list[str]:
    return re.findall(r"<br>(\w+\.jpg)<", page)


def test_what_to_label_next_is_downloaded_and_nothing_else_of_its_folder(client: Client, labels_store: FileStore):
    for name in ("next.csv", "tasks.json", "other.json"):
        labels_store.put(f"labels/next/{name}", b"[]")
    reader = client(labels_store)
    table, tasks = (reader.get(f"/age/labels/next/{name}") for name in ("next.csv", "tasks.json"))
    assert (table.content, table.headers["content-type"]) == (b"[]", "text/csv; charset=utf-8")
    assert (tasks.content, tasks.headers["content-type"]) == (b"[]", "application/json")
    assert reader.get("/age/labels/next/other.json").status_code == 404
    assert client(labels_store, anonymous=True).get("/age/labels/next/next.csv").status_code == 401


def test_labels_to_look_at_have_names_lines_and_orders(client: Client, labels_store: FileStore):
    reader = client(labels_store)
    page = reader.get(LABELS_PAGE)
    assert names_on(page.text) == ["a.jpg", "c.jpg", "b.jpg"]
    assert "line 3" in page.text
    assert "This label is right" not in page.text  # a viewer
    assert names_on(reader.get(f"{LABELS_PAGE}?show=all&order=line").text) == ["a.jpg", "b.jpg", "c.jpg"]
    assert names_on(reader.get(f"{LABELS_PAGE}?show=new").text) == ["b.jpg"]
    assert reader.get(f"{LABELS_PAGE}?show=other").status_code == 404
    assert reader.get(f"{LABELS_PAGE}?order=other").status_code == 404


def test_a_label_that_a_person_confirms_does_not_come_back(client: Client, labels_store: FileStore):
    labeller = client(labels_store, "user")
    page = labeller.get(LABELS_PAGE)
    assert "form-action 'self'" in page.headers["content-security-policy"]
    answer = labeller.post(LABELS_PAGE, data=form_of(page.text, "a.jpg"))
    assert answer.url.path.endswith("/labels")
    assert names_on(answer.text) == ["c.jpg", "b.jpg"]
    (key,) = labels_store.list("labels/confirmed/")
    entry = json.loads(labels_store.get(key))
    assert (entry["who"], entry["file_name"], entry["real_age"], entry["right"]) == ("ann", "a.jpg", 30.5, True)
    page = labeller.get(f"{LABELS_PAGE}?show=confirmed")
    assert "Confirmed by ann" in page.text
    labeller.post(LABELS_PAGE, data=form_of(page.text, "a.jpg"))  # taken back
    assert names_on(labeller.get(LABELS_PAGE).text) == ["a.jpg", "c.jpg", "b.jpg"]
    assert len(labels_store.list("labels/confirmed/")) == 2  # nothing is overwritten


@pytest.mark.parametrize(
    ("changed", "headers", "status"),
    [
        ({"token": ""}, {}, 400),
        ({"token": "forged"}, {}, 400),
        ({}, {"Sec-Fetch-Site": "cross-site"}, 400),
        ({}, {"Sec-Fetch-Site": "same-site"}, 400),
        ({"age": "31"}, {}, 404),
        ({"sha256": "d" * 64}, {}, 404),
        ({"show": "//elsewhere.example"}, {}, 404),
        ({"show": "x" * 9000}, {}, 413),
        ({}, {"Sec-Fetch-Site": "same-origin"}, 303),
    ],
)
def test_only_a_form_of_our_page_confirms_a_label(
    client: Client, labels_store: FileStore, changed: dict[str, str], headers: dict[str, str], status: int
):
    labeller = client(labels_store, "user")
    form = form_of(labeller.get(LABELS_PAGE).text, "a.jpg") | changed
    assert labeller.post(LABELS_PAGE, data=form, headers=headers, follow_redirects=False).status_code == status
    assert len(labels_store.list("labels/confirmed/")) == (1 if status == 303 else 0)


def test_who_may_not_start_runs_may_not_confirm_labels(client: Client, labels_store: FileStore):
    form = form_of(client(labels_store, "user").get(LABELS_PAGE).text, "a.jpg")
    for role, status in (("viewer", 403), (None, 403)):
        assert client(labels_store, role).post(LABELS_PAGE, data=form).status_code == status
    assert client(labels_store, anonymous=True).post(LABELS_PAGE, data=form).status_code == 401
    assert labels_store.list("labels/confirmed/") == []


def test_a_run_without_a_list_of_labels_says_so(client: Client, tmp_path: Path):
    store = FileStore(tmp_path)
    record(store, "evaluate")
    assert "This run has no list" in client(store).get(LABELS_PAGE).text
    record(store, "evaluate", status="failed", error="out of memory")
    assert "Stage evaluate failed." in client(store).get(LABELS_PAGE).text
