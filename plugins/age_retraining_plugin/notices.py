"""Notices by e-mail through Airflow's connection `smtp_default`: a task that failed for good, a run that is late.

Off unless `AGE_NOTIFY_EMAIL` is set.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import AsyncCallback, DeadlineAlert, DeadlineReference

from age_tasks.environment import NoticeVariables

FAILED = {
    "subject": "{{ dag.dag_id }}: {{ ti.task_id }} failed",
    "html_content": """
<p>{{ ti.task_id }} of run {{ run_id }} failed and won't be tried again. What came before it is kept; once the cause is
gone, clear the task and the run goes on from there.</p>
<pre>{{ (exception | string)[:2000] | e }}</pre>
<p><a href="{{ ti.log_url }}">Its log</a></p>
""",
}
LATE = {
    "subject": "{{ dag_run.dag_id }}: a run is late",
    "html_content": "<p>Run {{ dag_run.dag_run_id }} is {{ dag_run.state }} and was to be done by "
    "{{ deadline.deadline_time }}. It goes on; look at the task that runs.</p>",
}


def when_a_task_fails(settings: NoticeVariables) -> dict[str, Any]:
    """The default arguments of tasks that send the notice; none without an address."""
    if not settings.notify_email:
        return {}
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    return {"on_failure_callback": SmtpNotifier(to=settings.addresses, **FAILED)}


def when_a_run_is_late(settings: NoticeVariables) -> DeadlineAlert | None:
    """The DAG's deadline, whose notice the triggerer sends."""
    if not settings.deadline_hours:
        return None
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(hours=settings.deadline_hours),
        callback=AsyncCallback(SmtpNotifier, kwargs={"to": settings.addresses, **LATE}),
    )
