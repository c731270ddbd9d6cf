"""Notices of what happens, by e-mail and by Apprise; `AGE_NOTIFY` says which events are told where.

Airflow calls the functions here after it has stored the state of the task, so that a channel which is down delays no
task and fails none: it is waited for a while, in a thread, and its error is a line of the log.
"""

import asyncio
import html
import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

from airflow.sdk import BaseNotifier, Context
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from age_retraining_plugin.addresses import models_page, question_page, report_page, run_page
from age_retraining_plugin.runtimes.outcome import TaskFailedForGood
from age_tasks.environment import NoticeVariables
from age_tasks.evaluation.results import ErrorInUse

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 10
MOST = 2000  # characters of a cause


class Notice(NamedTuple):
    """What people are told.

    Args:
        event: one of `age_tasks.environment.EVENTS`.
        subject: a line.
        lines: what happened, why, by how much.
        link: the page to open.
    """

    event: str
    subject: str
    lines: tuple[str, ...]
    link: str


def tell_failure(context: Context) -> None:
    """Tell that a task has failed for good, or that the labels were refused; `on_failure_callback`."""
    task, error = context["ti"], context.get("exception")
    cause = str(error)[:MOST] if error else "its process was lost, and has left no reason"
    refused = task.task_id == "validate" and isinstance(error, TaskFailedForGood)
    event, what = ("labels_refused", "the labels were refused") if refused else ("failed", f"{task.task_id} failed")
    then = "Correct the labels: a run starts by itself." if refused else "Remove the cause, then clear the task."
    text = (f"Run {context['run_id']}: {cause}", f"Nothing is retried; the results of earlier tasks are kept. {then}")
    _send(Notice(event, f"{context['dag'].dag_id}: {what}", text, str(task.log_url)))


def tell_error_in_use(context: Context) -> None:
    """Tell that the champion is worse on new images than on its test images; `on_success_callback` of `evaluate`."""
    evaluated = context["ti"].xcom_pull(task_ids="evaluate") or {}
    if "reused_from" in evaluated or not evaluated.get("in_use"):
        return
    found = ErrorInUse.model_validate(evaluated["in_use"])
    if found.worse:
        lines = (f"Run {context['run_id']}: {found.sentence}.", "The champion stays, unless this run replaces it.")
        _send(_about_run(context, "worse_in_use", f"{found.name} is worse in use than on its test images", lines))


def tell_gate(context: Context) -> None:
    """Tell that the gate has refused the candidate; `on_success_callback` of the task `gate`."""
    judged = context["ti"].xcom_pull(task_ids="gate") or {}
    if judged.get("passed") is False:
        lines = (f"Run {context['run_id']}: {judged['verdict']}.", _difference(judged), "The champion stays.")
        _send(_about_run(context, "gate_refused", "the gate refused the candidate", lines))


def tell_published(context: Context) -> None:
    """Tell of a promotion, or that a person has not approved; `on_success_callback` of the task `publish`."""
    published = context["ti"].xcom_pull(task_ids="publish") or {}
    if "reused_from" in published:
        return
    judged = context["ti"].xcom_pull(task_ids="gate") or {}
    answer = published.get("approval")
    if published.get("promoted"):
        why = "; ".join(filter(None, [f"gate {judged.get('verdict')}", answer]))
        lines = (
            f"Run {context['run_id']}: {why}.",
            _difference(judged),
            f"Test MAE {published['test_mae']:.2f} years.",
        )
        _send(_about_run(context, "promoted", f"{published['version']} is the champion", lines))
    elif answer and not published["published"]:
        lines = (f"Run {context['run_id']}: {answer}.", _difference(judged), "The champion stays.")
        _send(_about_run(context, "rejected", "the candidate was not approved", lines))


def tell_rolled_back(context: Context) -> None:
    """Tell which version is the champion again, and why; `on_success_callback` of the task `rollback`."""
    said = str(context["ti"].xcom_pull(task_ids="rollback") or "")
    lines = (f"Reason: {context['params']['reason']}", said)
    _send(Notice("rolled_back", "The age model was rolled back", lines, models_page()))


def hours_for_answer(context: Context) -> float:
    """How long a person may take to decide on a candidate, as the form says."""
    return float(context["params"]["approval_hours"])


class ApprovalNotice(BaseNotifier):
    """Tells that a decision is waited for, or reminds of it; one of the `notifiers` of the task `approve`.

    Args:
        hours: until the candidate is not promoted; None: as many as the form says.
    """

    def __init__(self, hours: float | None = None) -> None:
        super().__init__()
        self.hours = hours

    def notify(self, context: Context) -> None:
        """Send the notice."""
        judged = context["ti"].xcom_pull(task_ids="gate") or {}
        hours = hours_for_answer(context) if self.hours is None else self.hours
        lines = (
            f"Run {context['run_id']}: the gate {judged.get('verdict')}.",
            _difference(judged),
            f"Without an answer within {hours:g} hours the candidate is not promoted.",
        )
        dag = context["dag"].dag_id
        waited = "a decision is waited for" if self.hours is None else "a decision is still waited for"
        _send(Notice("approval_waiting", f"{dag}: {waited}", lines, question_page(dag, context["run_id"])))


async def tell_late(context: dict[str, Any]) -> None:
    """Tell that a run is late; the triggerer calls it."""
    run, variables = context["dag_run"], NoticeVariables.from_env()
    lines = (
        f"Run {run['dag_run_id']} is {run['state']}; its deadline was {context['deadline']['deadline_time']}.",
        "It continues. Look at the task that is running.",
    )
    notice = Notice("late", f"{run['dag_id']}: a run is late", lines, run_page(run["dag_id"], run["dag_run_id"]))
    for channel in variables.channels(notice.event):
        try:
            notifier = CHANNELS[channel](notice, variables)
            await asyncio.wait_for(notifier.async_notify({}), PATIENCE_SECONDS)
        except Exception as error:
            _not_told(channel, error)


def deadline_alert(variables: NoticeVariables) -> DeadlineAlert | None:
    """The DAG's deadline, whose notice the triggerer sends; None if `AGE_DEADLINE_HOURS` is not set."""
    if not variables.deadline_hours:
        return None
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(hours=variables.deadline_hours),
        callback=AsyncCallback(tell_late),
    )


def _about_run(context: Context, event: str, what: str, lines: tuple[str, ...]) -> Notice:
    dag = context["dag"].dag_id
    return Notice(event, f"{dag}: {what}", lines, report_page(dag, context["run_id"]))


def _difference(judged: dict[str, Any]) -> str:
    """By how much candidate and champion differ, in a sentence."""
    if not judged:
        return ""
    if not (champion := judged["champion"]):
        return f"The candidate's test MAE is {judged['candidate']['value']:.2f} years; there was no champion."
    return (
        f"On the same {champion['images']} test images: candidate {champion['candidate_mae']:.2f} years, "
        f"{champion['name']} {champion['champion_mae']:.2f}; difference {champion['value']:+z.2f} "
        f"(95 % interval {champion['low']:+z.2f} to {champion['high']:+z.2f})."
    )


def _send(notice: Notice) -> None:
    """Send a notice by all its channels at once, and wait for them, but not for long."""
    variables = NoticeVariables.from_env()
    threads = [
        threading.Thread(target=_try, args=(channel, notice, variables), daemon=True)
        for channel in variables.channels(notice.event)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS / len(threads))
    if any(thread.is_alive() for thread in threads):
        log.warning("a channel of notices has not answered within %d s", PATIENCE_SECONDS)


def _try(channel: str, notice: Notice, variables: NoticeVariables) -> None:
    try:
        CHANNELS[channel](notice, variables).notify({})
    except Exception as error:
        _not_told(channel, error)


def _not_told(channel: str, error: Exception) -> None:
    log.warning("nobody was told by %s: %s: %s", channel, type(error).__name__, error)


def _email(notice: Notice, variables: NoticeVariables) -> BaseNotifier:
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    body = "".join(f"<p>{html.escape(line)}</p>\n" for line in notice.lines if line)
    link = html.escape(notice.link)
    return SmtpNotifier(
        to=variables.addresses,
        subject=" ".join(notice.subject.split()),
        html_content=f'{body}<p><a href="{link}">{link}</a></p>\n',
    )


def _apprise(notice: Notice, _: NoticeVariables) -> BaseNotifier:
    from airflow.providers.apprise.notifications.apprise import AppriseNotifier

    text = "\n".join(line for line in (*notice.lines, notice.link) if line)
    notifier: BaseNotifier = AppriseNotifier(title=notice.subject, body=text)
    return notifier


CHANNELS: dict[str, Callable[[Notice, NoticeVariables], BaseNotifier]] = {"email": _email, "apprise": _apprise}
