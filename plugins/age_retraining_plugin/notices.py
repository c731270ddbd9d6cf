"""E-mails through Airflow's connection `smtp_default`: when a task has failed finally, and when a run is late.

None are sent unless `AGE_NOTIFY_EMAIL` is set.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from age_tasks.environment import NoticeVariables

FAILED: dict[str, Any] = {
    "subject": "{{ dag.dag_id }}: {{ ti.task_id }} failed",
    "html_content": """
<p>{{ ti.task_id }} of run {{ run_id }} failed and is not retried. The results of earlier tasks are kept. Remove the
cause, then clear the task: the run continues from there.</p>
<pre>{{ (exception | string)[:2000] | e }}</pre>
<p><a href="{{ ti.log_url }}">Log of the task</a></p>
""",
}
LATE: dict[str, Any] = {
    "subject": "{{ dag_run.dag_id }}: a run is late",
    "html_content": "<p>Run {{ dag_run.dag_run_id }} is {{ dag_run.state }}; its deadline was "
    "{{ deadline.deadline_time }}. It continues. Look at the task that is running.</p>",
}


def failure_notice(variables: NoticeVariables) -> dict[str, Any]:
    """Default arguments of tasks that send the notice; empty if nobody is to be told."""
    if not variables.notify_email:
        return {}
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    return {"on_failure_callback": SmtpNotifier(to=variables.addresses, **FAILED)}


def deadline_alert(variables: NoticeVariables) -> DeadlineAlert | None:
    """The DAG's deadline, whose notice the triggerer sends; None if `AGE_DEADLINE_HOURS` is not set."""
    if not variables.deadline_hours:
        return None
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(hours=variables.deadline_hours),
        callback=AsyncCallback(SmtpNotifier, kwargs={"to": variables.addresses, **LATE}),
    )
