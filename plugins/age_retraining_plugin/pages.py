"""The pages in Airflow's UI: reports and label validations of runs, summaries of tasks, and the versions of the model.

People who may see the runs of the DAG `age_retraining` may see the pages. These show text and images that others wrote,
and are served from the origin of the API. So no script runs on them, and they load nothing from elsewhere.
"""

from functools import cache
from pathlib import PurePosixPath
from typing import Annotated

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.middleware.base import RequestResponseEndpoint

from age_tasks.environment import Locations
from age_tasks.errors import NotFoundError, SettingsError, StoreError
from age_tasks.pipeline import STAGES
from age_tasks.reports.html import render
from age_tasks.reports.models_page import models_page
from age_tasks.reports.run_summary import results
from age_tasks.runs.run import StoredRun, find_run
from age_tasks.store import open_store
from age_tasks.store.base import Store

DAG = "age_retraining"
# The stages that write a page, the latest first, and its file.
REPORT = (("publish", "report.html"), ("evaluate", "report.html"))
VALIDATION = (("validate", "index.html"),)
SERVED = frozenset(stage for stage, _ in (*REPORT, *VALIDATION))
PAGE_OF = {"validate": "validation", "evaluate": "report", "gate": "report", "publish": "report"}
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
    ".md": "text/plain; charset=utf-8",
    ".png": "image/png",
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src data: 'self'; style-src 'unsafe-inline' 'self'; "
    "script-src 'none'; connect-src 'none'; form-action 'none'; frame-ancestors 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, no-store",
    "Referrer-Policy": "no-referrer",
}
REFRESH = {"Refresh": "15"}  # seconds
MESSAGES = {
    401: ("Not logged in", "Log in to Airflow, then open this page again."),
    403: ("Not allowed", f"These pages are for people who may see the runs of the DAG {DAG}."),
    404: ("Not found", f"There is no such page. Pages exist for runs of the DAG {DAG}, summaries for its stages."),
}

app = FastAPI(
    title="Age models",
    openapi_url=None,
    redirect_slashes=False,
    dependencies=[Depends(requires_access_dag("GET", DagAccessEntity.RUN, DAG))],
)


@app.middleware("http")
async def guarded(request: Request, call_next: RequestResponseEndpoint) -> Response:
    """Add the headers that make hostile content harmless to every response, errors too."""
    response = await call_next(request)
    response.headers.update(HEADERS)
    return response


@app.exception_handler(AnyHTTPException)
def refused(_: Request, error: AnyHTTPException) -> HTMLResponse:
    return _message(error.status_code, *MESSAGES.get(error.status_code, ("Request failed", error.detail)))


@app.exception_handler(NotFoundError)
def not_there(_: Request, error: NotFoundError) -> HTMLResponse:
    return _message(404, *MESSAGES[404])


@app.exception_handler(StoreError)
def unreachable(_: Request, error: StoreError) -> HTMLResponse:
    return _message(502, "The store can't be read", str(error))


@app.exception_handler(SettingsError)
def wrong_settings(_: Request, error: SettingsError) -> HTMLResponse:
    return _message(503, "Invalid settings of the API server", str(error))


def the_run(dag_id: str, run_id: str) -> StoredRun:
    """The run that a path names; 404 if it names none of this DAG."""
    if dag_id != DAG:
        raise HTTPException(404)
    store = _store(Locations.from_env().store)
    try:
        return StoredRun(find_run(run_id, lambda: store), store)
    except SettingsError:
        raise HTTPException(404) from None


RunOfPath = Annotated[StoredRun, Depends(the_run)]


@app.get("/models")
def models() -> HTMLResponse:
    return HTMLResponse(models_page(_store(Locations.from_env().store)))


@app.get("/{dag_id}/{run_id}/report")
def report(run: RunOfPath) -> Response:
    return _page_of(run, "model report", REPORT)


@app.get("/{dag_id}/{run_id}/validation")
def validation(run: RunOfPath) -> Response:
    return _page_of(run, "label validation", VALIDATION)


@app.get("/{dag_id}/{run_id}/tasks/{stage}")
def summary(run: RunOfPath, stage: str) -> HTMLResponse:
    if stage not in STAGES:
        raise HTTPException(404)
    record = run.record(stage)
    page = render("stage_summary.html.j2", run_key=run.key, stage=stage, record=record, page=PAGE_OF.get(stage))
    return HTMLResponse(page, headers=None if record else REFRESH)


@app.get("/{dag_id}/{run_id}/{stage}/{name:path}")
def file(run: RunOfPath, stage: str, name: str) -> Response:
    """A file that the record of the stage lists; no other can be reached."""
    kind = TYPES.get(PurePosixPath(name).suffix)
    if stage not in SERVED or kind is None:
        raise HTTPException(404)
    return Response(run.read(stage, name), media_type=kind)


def _page_of(run: StoredRun, wanted: str, places: tuple[tuple[str, str], ...]) -> Response:
    """A redirect to the page, or the progress of the run while it has none."""
    records = {stage: record for stage in STAGES if (record := run.record(stage))}
    for stage, name in places:
        if name in (records[stage].outputs if stage in records else ()):
            return RedirectResponse(f"{stage}/{name}")
    failed = next((record for record in records.values() if not record.done), None)
    page = render(
        "run_progress.html.j2",
        run_key=run.key,
        wanted=wanted,
        comes_with=places[-1][0],
        stages=STAGES,
        records=records,
        failed=failed,
        results=list(results(records)),
    )
    return HTMLResponse(page, headers=None if failed else REFRESH)


def _message(status: int, headline: str, text: str) -> HTMLResponse:
    return HTMLResponse(render("message.html.j2", headline=headline, text=text), status)


@cache
def _store(url: str) -> Store:
    """The store at an address; shared by all requests, so that connections are kept."""
    return open_store(url, attempts=2)
