"""Notices by e-mail through Airflow's connection `smtp_default`: a task that failed for good, a run that is late.

Off unless `AGE_NOTIFY_EMAIL` is set.
"""

from datetime import timedelta
from typing import Any, Self

from airflow.sdk import AsyncCallback, DeadlineAlert, DeadlineReference
from pydantic import Field, model_validator

from age_retraining_plugin.environment import FromEnvironment

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


class NoticeSettings(FromEnvironment):
    notify_email: str = Field(
        "",
        pattern=r"^[^@\s,]+@[^@\s,]+(,[^@\s,]+@[^@\s,]+)*$",
        description="who is told of failures: an address, or several with commas between",
    )
    deadline_hours: float | None = Field(
        None, gt=0, description="hours from a run's start in the queue after which it is late, such as 12"
    )

    @model_validator(mode="after")
    def _someone_is_told(self) -> Self:
        if self.deadline_hours and not self.notify_email:
            raise ValueError("AGE_DEADLINE_HOURS is set and nobody would be told: set AGE_NOTIFY_EMAIL too")
        return self

    @property
    def addresses(self) -> list[str]:
        return self.notify_email.split(",")


def when_a_task_fails(settings: NoticeSettings) -> dict[str, Any]:
    """The default arguments of tasks that send the notice; none without an address."""
    if not settings.notify_email:
        return {}
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    return {"on_failure_callback": SmtpNotifier(to=settings.addresses, **FAILED)}


def when_a_run_is_late(settings: NoticeSettings) -> DeadlineAlert | None:
    """The DAG's deadline, whose notice the triggerer sends."""
    if not settings.deadline_hours:
        return None
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(hours=settings.deadline_hours),
        callback=AsyncCallback(SmtpNotifier, kwargs={"to": settings.addresses, **LATE}),
    )
