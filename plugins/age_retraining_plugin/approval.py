"""A person is asked before a candidate becomes the champion."""

import contextlib
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Context, Param
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowFailException

from age_tasks.environment import Locations
from age_tasks.errors import StoreError
from age_tasks.registry.promotions import published_before
from age_tasks.store import open_store

# A question that has no answer, since somebody marked the task as done, must not count as one that nobody had to ask.
ANSWER = {"AGE_APPROVAL": "{{ (ti.xcom_pull(task_ids='approve') or {'asked': params.require_approval}) | tojson }}"}


class PromotionApproval(ApprovalOperator):
    """Ask whether the candidate shall become the champion, if the form wants that and the gate has passed it.

    The XCom is the answer as `age_tasks.registry.approval` reads it. Publish runs whatever it is: it writes the report.
    """

    ui_color = "#f5e6c8"

    def execute(self, context: Context) -> Any:
        params, run = context["params"], context["dag_run"]
        if not params["require_approval"]:
            return {"asked": False}
        judged = context["ti"].xcom_pull(task_ids="gate")
        if judged is None:
            raise AirflowFailException("there is no result of the gate to ask about; clear the task gate")
        if not judged["passed"] or _published(judged["model"]):
            return {"asked": False}
        self.body = question(judged, report_page(run.dag_id, run.run_id))
        self.response_timeout = timedelta(hours=params["approval_hours"])
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        answer = super().execute_complete(context, event)
        person = answer["responded_by_user"]
        return {
            "asked": True,
            "approved": answer["chosen_options"] == [self.APPROVE],
            "who": person["name"] if person else None,
            "why": answer["params_input"].get("comment") or "",
            "at": answer["responded_at"].isoformat(timespec="seconds"),
        }

    def skip(self, ti: Any, tasks: Any) -> None:
        """A refusal skips nothing."""


def approval_task(**options: Any) -> PromotionApproval:
    """The task `approve`; who gives no answer in time has not approved.

    Args:
        options: of the operator, such as `retries`.
    """
    comment = Param(
        None,
        type=["null", "string"],
        maxLength=500,
        title="Why",
        description="A sentence for those who read the report and the history.",
    )
    return PromotionApproval(
        task_id="approve",
        subject="Shall the candidate become the champion?",
        defaults=PromotionApproval.REJECT,
        params={"comment": comment},
        **options,
    )


def question(judged: dict[str, Any], report: str) -> str:
    """What a person has to know, Markdown: the verdict, the rules, and candidate and champion side by side.

    Args:
        judged: the gate's summary.
        report: the address of the run's report page.
    """
    rules = [
        f"| {rule['name']} | {rule['value']:.2f} | {rule['comparison']} {rule['bound']:.2f} {rule['unit']} "
        f"| {'pass' if rule['passed'] else 'fail'} |"
        for rule in judged["rules"]
    ]
    return "\n".join(
        [
            f"The gate: **{judged['verdict']}**.",
            "",
            "| rule | value | bound | |",
            "|---|---|---|---|",
            *rules,
            "",
            *_side_by_side(judged["candidate"], judged["champion"]),
            "",
            f"[The model report]({report})",
        ]
    )


def report_page(dag_id: str, run_id: str) -> str:
    """The address of the report's tab at the run."""
    base = conf.get("api", "base_url", fallback="").rstrip("/")
    return f"{base}/dags/{dag_id}/runs/{quote(run_id, safe='')}/plugin/model-report"


def _side_by_side(candidate: dict[str, Any], champion: dict[str, Any] | None) -> list[str]:
    of_all = f"{candidate['value']:.2f} years (95 % interval {candidate['low']:.2f} to {candidate['high']:.2f})"
    if champion is None:
        return [f"Test MAE on {candidate['images']} images: {of_all}. There is no champion yet."]
    return [
        f"| | candidate | champion, {champion['name']} |",
        "|---|---|---|",
        f"| test MAE (years) | {champion['candidate_mae']:.2f} | {champion['champion_mae']:.2f} |",
        f"| test images | {champion['images']} | {champion['images']} |",
        "",
        f"The candidate's MAE less the champion's: {champion['value']:+.2f} years "
        f"(95 % interval {champion['low']:+.2f} to {champion['high']:+.2f}). "
        f"On all {candidate['images']} test images the candidate's is {of_all}.",
    ]


def _published(model_sha256: str) -> bool:
    """Whether this very model was promoted before: there is nothing to decide then."""
    with contextlib.suppress(StoreError):  # a store that can't be read from here: better ask once too often
        return published_before(open_store(Locations.from_env().store), model_sha256) is not None
    return False
