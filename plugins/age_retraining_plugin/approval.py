"""The task `approve`: a person decides whether a candidate becomes the champion."""

import contextlib
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Context, Param
from airflow.sdk.exceptions import TaskAwaitingInput

from age_retraining_plugin.addresses import report_page, run_files, within_airflow
from age_retraining_plugin.notices import ApprovalNotice, hours_for_answer
from age_retraining_plugin.runtimes.outcome import NO_USELESS_RETRY, TaskFailedForGood
from age_tasks.environment import Locations
from age_tasks.errors import AgeTasksError, SettingsError, StoreError
from age_tasks.registry.approval import Question
from age_tasks.registry.promotions import published_before
from age_tasks.reports.approval_question import RunFacts, facts_of, question
from age_tasks.runs.run import StoredRun, find_run
from age_tasks.store import open_store

# Without an answer, since the task was marked as done by hand, the question counts as asked and not approved.
APPROVAL_ENV = {
    "AGE_APPROVAL": "{{ (ti.xcom_pull(task_ids='approve') or {'asked': params.require_approval}) | tojson }}"
}

QUESTION = "question"  # the key of the XCom with what the question is about


class PromotionApproval(ApprovalOperator):
    """Asks whether the candidate may become the champion, if the form requires it and the gate passed.

    The XCom is the answer as `age_tasks.registry.approval` reads it, with what it is about: the gate may judge anew
    while nobody clears this task. `publish` runs after any answer, since it writes the report.
    """

    ui_color = "#f5e6c8"

    def execute(self, context: Context) -> Any:
        params, run = context["params"], context["dag_run"]
        if not params["require_approval"]:
            return {"asked": False}
        judged = context["ti"].xcom_pull(task_ids="gate")
        if judged is None:
            raise TaskFailedForGood("the gate has no result to decide on; clear the task gate")
        about = asdict(Question.about(judged))
        if not judged["passed"]:
            return {"asked": False, **about}
        if _published(judged["model"]):
            return {"asked": False}
        context["ti"].xcom_push(key=QUESTION, value=about)  # the gate may judge anew before the answer
        report, files = report_page(run.dag_id, run.run_id), run_files(run.dag_id, run.run_id)
        self.body = question(judged, within_airflow(report), _facts(run.run_id), within_airflow(files))
        self.response_timeout = timedelta(hours=hours_for_answer(context) / 2)  # until the reminder
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """The answer; or, in the middle of the time for it, a reminder, after which the task waits on.

        Raises:
            TaskAwaitingInput: as Airflow wants it to be told that the task waits.
        """
        if event.get("error_type") != "timeout":
            return self.answer(context, event)
        left = hours_for_answer(context) / 2
        ApprovalNotice(left)(context)
        raise TaskAwaitingInput(method_name="answer", timeout=timedelta(hours=left))

    def answer(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """What a person answered, or that the time is up."""
        if event.get("error_type") == "timeout":
            at = datetime.now(UTC).isoformat(timespec="seconds")
            return {"asked": True, "approved": False, "who": None, "why": "", "at": at, **_asked(context)}
        answer = super().execute_complete(context, event)
        person = answer["responded_by_user"]
        return {
            "asked": True,
            "approved": answer["chosen_options"] == [self.APPROVE],
            "who": person["name"] if person else None,
            "why": answer["params_input"].get("comment") or "",
            "at": answer["responded_at"].isoformat(timespec="seconds"),
            **_asked(context),
        }

    def skip(self, ti: Any, tasks: Any) -> None:
        """Skip no task: after a refusal, `publish` still writes the report."""


def approval_task(**options: Any) -> PromotionApproval:
    """The task `approve`; no answer in time counts as a refusal.

    It has no default option: Airflow would show that one as the button to press.

    Args:
        options: of the operator, such as `retries`.
    """
    comment = Param(
        None,
        type=["null", "string"],
        maxLength=500,
        title="Reason",
        description="A sentence for the readers of the report and the promotion log.",
    )
    return PromotionApproval(
        task_id="approve",
        subject="May the candidate become the champion?",
        params={"comment": comment},
        notifiers=[ApprovalNotice()],
        retry_policy=NO_USELESS_RETRY,
        **options,
    )


def _asked(context: Context) -> dict[str, str]:
    """What the question was about; nothing where an earlier version asked it."""
    about: dict[str, str] | None = context["ti"].xcom_pull(task_ids="approve", key=QUESTION)
    return about or {}


def _facts(run_id: str) -> RunFacts | None:
    """What the store says of the run; None if it can't be read here."""
    with contextlib.suppress(AgeTasksError):
        store = open_store(Locations.from_env().store)
        return facts_of(StoredRun(find_run(run_id, lambda: store), store))
    return None


def _published(model_sha256: str) -> bool:
    """Whether this model was promoted before; then there is nothing to decide."""
    with contextlib.suppress(StoreError, SettingsError):  # if the store can't be read here, ask
        return published_before(open_store(Locations.from_env().store), model_sha256) is not None
    return False
