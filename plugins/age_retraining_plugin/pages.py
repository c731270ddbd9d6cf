"""The pages in Airflow's UI: reports and label validations of runs, summaries of tasks, and the versions of the model.

People who may see the runs of the DAG `age_retraining` may see the pages. These show text and images that others wrote,
and are served from the origin of the API. So no script runs on them, and they load nothing from elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import Annotated

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.middleware.base import RequestResponseEndpoint

from age_retraining_plugin import label_issues
from age_retraining_plugin.forms import form_of, require_own_form, token_for
from age_retraining_plugin.run_progress import progress, step
from age_retraining_plugin.run_state import RunState, run_state
from age_tasks.environment import Locations
from age_tasks.errors import DamagedError, MissingInputError, NotFoundError, SettingsError, StoreError
from age_tasks.pipeline import SHARED_WORK, STAGES, tasks_in_order
from age_tasks.registry import label_ranking
from age_tasks.reports.gate_summary import approve_page, gate_summary
from age_tasks.reports.html import render
from age_tasks.reports.label_issues_page import ORDERS, SHOWN, label_issues_page
from age_tasks.reports.live_section import LiveSection, live_section, live_sections
from age_tasks.reports.model_report import report_so_far
from age_tasks.reports.models_page import models_page
from age_tasks.reports.run_summary import results
from age_tasks.runs.records import StageRecord
from age_tasks.runs.run import StoredRun, find_run
from age_tasks.store import open_store
from age_tasks.store.base import Store

DAG = "age_retraining"
# The stages that write a page, the latest first, and its file.
REPORT = (("publish", "report.html"),)
VALIDATION = (("validate", "index.html"),)
SERVED = frozenset({"validate", "split", "evaluate", "gate", "publish"})
PAGE_OF = {"validate": "validation", "evaluate": "report", "gate": "report", "publish": "report"}
TASKS = tasks_in_order()
# The DAGs beside it, and what a run of them does.
OTHERS = {
    "age_rollback": "makes an earlier version the champion again; it trains no model and validates no labels",
    "age_score_batch": "predicts the ages of new images with the champion; it trains no model and validates no labels",
    "age_label_next": "ranks images without labels by what to label next, see the page Labels; it trains no model",
}
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
WITH_FORMS = {
    "Content-Security-Policy": HEADERS["Content-Security-Policy"].replace("form-action 'none'", "form-action 'self'")
}
REFRESH = {"Refresh": "15"}  # seconds
REFRESH_LIVE = {"Refresh": "5"}  # as often as a stage says how far it is
NO_LABEL_ISSUES = (
    "No labels to look at",
    "This run has no list: an earlier version wrote it, or its features had no room in the cache.",
)
MOST_RUNS = 4  # side by side
HOW_TO_COMPARE = ("No runs to compare", f"Tick two to {MOST_RUNS} runs on the page Age models, then choose Compare.")
MESSAGES = {
    401: ("Not logged in", "Log in to Airflow, then open this page again."),
    403: (
        "Not allowed",
        f"These pages are for people who may see the runs of the DAG {DAG}; to confirm labels, "
        "a person must be allowed to start them.",
    ),
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
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
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


MaySeeRuns = Annotated[None, Depends(requires_access_dag("GET", DagAccessEntity.RUN))]


@dataclass(frozen=True)
class Asked:
    """The run that a path names, and who asks for it."""

    dag: str
    run_id: str
    user: BaseUser

    def state(self, run_id: str = "") -> RunState | None:
        """The state of the run in Airflow; None if Airflow has no such run.

        Args:
            run_id: another id under which the run may be known.
        """
        details = DagDetails(id=self.dag)
        logs = get_auth_manager().is_authorized_dag(
            method="GET", access_entity=DagAccessEntity.TASK_LOGS, details=details, user=self.user
        )
        found = run_state(self.dag, self.run_id, TASKS, logs)
        return found or (run_state(self.dag, run_id, TASKS, logs) if run_id else None)

    def may_start_runs(self) -> bool:
        """Whether the person may start runs of the DAG, and so say which labels are right."""
        return get_auth_manager().is_authorized_dag(
            method="POST", access_entity=DagAccessEntity.RUN, details=DagDetails(id=DAG), user=self.user
        )


def the_run(dag_id: str, run_id: str) -> StoredRun:
    """The run that a path names; 404 if it names none of this DAG."""
    if dag_id != DAG:
        raise HTTPException(404)
    store = _store(Locations.from_env().store)
    try:
        return StoredRun(find_run(run_id, lambda: store), store)
    except SettingsError:
        raise HTTPException(404) from None


def asked(dag_id: str, run_id: str, user: GetUserDep, _: MaySeeRuns) -> Asked:
    """What a tab of a run asks for, if the person may see the runs of its DAG."""
    return Asked(dag_id, run_id, user)


RunOfPath = Annotated[StoredRun, Depends(the_run)]
FormOfRequest = Annotated[dict[str, str], Depends(form_of)]
AskedByPath = Annotated[Asked, Depends(asked)]


@app.get("/models")
def models(
    search: Annotated[str, Query(max_length=200)] = "",
    page: Annotated[int, Query(ge=1)] = 1,
    log: Annotated[int, Query(ge=1)] = 1,
) -> HTMLResponse:
    return HTMLResponse(models_page(_store(Locations.from_env().store), search, page, log), headers=WITH_FORMS)


@app.get("/labels")
def labels_of_all_runs(fault: Annotated[str, Query(max_length=200)] = "", order: str = "line") -> HTMLResponse:
    from age_tasks.reports.labels_page import ORDERS as ORDERS_OF_ROWS  # brings Pillow, which most pages do not need
    from age_tasks.reports.labels_page import labels_page

    if order not in ORDERS_OF_ROWS:
        raise HTTPException(404)
    return HTMLResponse(labels_page(_store(Locations.from_env().store), fault, order))


@app.get("/labels/next/{name}")
def what_to_label_next(name: str) -> Response:
    """The newest ranking, as a table or as tasks for Label Studio."""
    if name not in {label_ranking.TABLE, label_ranking.TASKS}:
        raise HTTPException(404)
    kind = TYPES[PurePosixPath(name).suffix]
    return Response(_store(Locations.from_env().store).get(label_ranking.NEXT + name), media_type=kind)


@app.get("/compare")
def compared(run: Annotated[list[str], Query()] = []) -> HTMLResponse:  # noqa: B006, as FastAPI wants it
    """Runs side by side; `run` is given once for each."""
    keys = list(dict.fromkeys(run))
    if not 2 <= len(keys) <= MOST_RUNS:
        return _message(400, *HOW_TO_COMPARE)
    from age_tasks.reports.compare_page import compare_page  # brings pandas, which no other page needs

    try:
        return HTMLResponse(compare_page([the_run(DAG, key) for key in keys]))
    except MissingInputError:  # one was never started
        raise HTTPException(404) from None


@app.get("/{dag_id}/{run_id}/report")
def report(asked: AskedByPath) -> Response:
    return _tab(asked, "model report", REPORT)


@app.get("/{dag_id}/{run_id}/validation")
def validation(asked: AskedByPath) -> Response:
    return _tab(asked, "label validation", VALIDATION)


@app.get("/{dag_id}/{run_id}/labels")
def labels(asked: AskedByPath, show: str = "open", order: str = "suspicion") -> Response:
    if show not in SHOWN or order not in ORDERS:
        raise HTTPException(404)
    if asked.dag != DAG:
        return _of_another_dag(asked, "This run has no labels to look at", "../../")
    run = the_run(asked.dag, asked.run_id)
    record = run.record(label_issues.STAGE)
    if record is None or not record.done:
        return _tab(asked, "list of labels to look at", ((label_issues.STAGE, label_issues.FILE),))
    if label_issues.FILE not in record.outputs:
        return _message(200, *NO_LABEL_ISSUES)
    found = label_issues.label_issues(run)
    confirmed = label_issues.confirmations_of(found, run.store)
    token = token_for(asked.user) if asked.may_start_runs() else ""
    page = label_issues_page(run.key, found, confirmed, show, order, token)
    return HTMLResponse(page, headers=WITH_FORMS)


@app.post("/{dag_id}/{run_id}/labels", dependencies=[Depends(requires_access_dag("POST", DagAccessEntity.RUN, DAG))])
def confirm_label(asked: AskedByPath, request: Request, form: FormOfRequest) -> Response:
    """Keep what a person says about a label, and show the list again."""
    require_own_form(request, form, asked.user)
    run = the_run(asked.dag, asked.run_id)
    sha256, show, order = form.get("sha256", ""), form.get("show", ""), form.get("order", "")
    if show not in SHOWN or order not in ORDERS:
        raise HTTPException(404)
    label_issues.confirm(run, sha256, form.get("age", ""), form.get("right") == "yes", asked.user.get_name())
    return RedirectResponse(f"labels?show={show}&order={order}", 303)


@app.get("/{dag_id}/{run_id}/tasks/{stage}")
def summary(asked: AskedByPath, stage: str) -> HTMLResponse:
    if asked.dag != DAG:
        return _of_another_dag(asked, f"Summary of {stage}", "../../../")
    run = the_run(asked.dag, asked.run_id)
    if stage == "approve":
        page, goes_on = approve_page(run)
        return HTMLResponse(page, headers=REFRESH if goes_on else None)
    if stage in SHARED_WORK:
        return _shares(asked, run, stage)
    if stage not in STAGES:
        raise HTTPException(404)
    record = run.record(stage)
    state = _state_of(asked, run)
    task = state.tasks.get(stage) if state else None
    running = not record or bool(task and (task.active or task.retrying))
    live = live_section(run, stage) if running else None
    page = render(
        "stage_summary.html.j2",
        run_key=run.key,
        stage=stage,
        record=record,
        step=step(stage, record, task),
        again=bool(record) and running,
        live=live,
        gate=gate_summary(record.summary) if record and stage == "gate" else None,
        page=PAGE_OF.get(stage),
    )
    ended = state.over if state else record is not None
    return HTMLResponse(page, headers=None if ended else REFRESH_LIVE if live else REFRESH)


@app.get("/{dag_id}/{run_id}/{stage}/{name:path}")
def file(run: RunOfPath, stage: str, name: str) -> Response:
    """A file that the record of the stage lists; no other can be reached."""
    kind = TYPES.get(PurePosixPath(name).suffix)
    if stage not in SERVED or kind is None:
        raise HTTPException(404)
    content = run.read(stage, name)
    if (stage, name) in (*REPORT, *VALIDATION):
        content = _with_navigation(content.decode(), run, "../").encode()
    return Response(content, media_type=kind)


def _shares(asked: Asked, run: StoredRun, work: str) -> HTMLResponse:
    """What tasks do that share the work of a stage, each a share of the images; their results are in the cache."""
    state = _state_of(asked, run)
    task = state.tasks.get(work) if state else None
    if task is None:
        raise HTTPException(404)
    shared = SHARED_WORK[work]
    text = f"{shared.does[0].upper()}{shared.does[1:]}. {task.reason}".replace("`", "")
    goes_on = task.active or task.retrying
    live = live_sections(run, work) if goes_on else []
    page = render("shared_work.html.j2", headline=f"{work}: {task.in_words}", text=text, live=live)
    return HTMLResponse(page, headers=(REFRESH_LIVE if live else REFRESH) if goes_on else None)


def _with_navigation(page: str, run: StoredRun, up: str) -> str:
    """The page with links to the others of its run.

    Args:
        up: the relative address of the folder of the run's pages.
    """
    links = render("navigation.html.j2", run_key=run.key, up=up)
    return page.replace("<body>", f"<body>\n{links}", 1)


def _tab(asked: Asked, wanted: str, places: tuple[tuple[str, str], ...]) -> Response:
    """A redirect to the page, or the state of the run while it has none."""
    if asked.dag != DAG:
        return _of_another_dag(asked, f"This run has no {wanted}", "../../")
    run = the_run(asked.dag, asked.run_id)
    records = {stage: record for stage in STAGES if (record := run.record(stage))}
    for stage, name in places:
        if name in (records[stage].outputs if stage in records else ()):
            return RedirectResponse(f"{stage}/{name}")
    if places is REPORT and "evaluate" in records and all(record.done for record in records.values()):
        return HTMLResponse(_with_navigation(report_so_far(run, "../"), run, ""), headers=REFRESH)
    state = _state_of(asked, run)
    if not (state or records or run.started()):
        return _message(404, *MESSAGES[404])
    found = progress(wanted, places[-1][0], STAGES, records, state)
    live = _at_work(run, records, state) if found.goes_on else []
    page = render(
        "run_progress.html.j2",
        run_key=run.key,
        wanted=wanted,
        progress=found,
        live=live,
        results=list(results(records)),
    )
    return HTMLResponse(page, headers=(REFRESH_LIVE if live else REFRESH) if found.goes_on else None)


def _at_work(run: StoredRun, records: Mapping[str, StageRecord], state: RunState | None) -> list[LiveSection]:
    """How far the stage is that is being executed, or each task that shares the work before it; empty if none says."""
    tasks = state.tasks if state else {}
    active = [
        name for name in TASKS if (task := tasks.get(name)) and (task.active or (name in SHARED_WORK and task.retrying))
    ]
    to_come = [stage for stage in STAGES if stage not in records]
    at_work = next(iter([*active, *to_come]), "")
    if at_work in SHARED_WORK:
        return live_sections(run, at_work)
    section = live_section(run, at_work) if at_work in STAGES else None
    return [section] if section else []


def _state_of(asked: Asked, run: StoredRun) -> RunState | None:
    """The state of a run in Airflow; a link may name it by the key of its folder."""
    try:
        return asked.state(run.settings().id)
    except (MissingInputError, DamagedError):
        return asked.state()


def _of_another_dag(asked: Asked, headline: str, up: str) -> HTMLResponse:
    """What a run of another DAG did: Airflow shows the tabs of a plugin on the runs of every DAG.

    Args:
        up: the relative address of the folder of all pages.
    """
    state = asked.state() if asked.dag in OTHERS else None
    if state is None:
        return _message(404, *MESSAGES[404])
    headers = None if state.over else REFRESH
    page = render(
        "other_run.html.j2",
        dag=asked.dag,
        run_id=asked.run_id,
        headline=headline,
        up=up,
        does=OTHERS[asked.dag],
        steps=[step(task.task, None, task) for task in state.tasks.values()],
        results={name: task.result for name, task in state.tasks.items() if task.result is not None},
    )
    return HTMLResponse(page, headers=headers)


def _message(status: int, headline: str, text: str) -> HTMLResponse:
    return HTMLResponse(render("message.html.j2", headline=headline, text=text), status)


@cache
def _store(url: str) -> Store:
    """The store at an address; shared by all requests, so that connections are kept."""
    return open_store(url, attempts=2)
