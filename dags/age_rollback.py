"""Put an earlier version of the age model back into use."""

from datetime import datetime, timedelta

from age_retraining_plugin.assets import CHAMPION, announce_rollback
from age_retraining_plugin.stage_task import CommandOperator
from airflow.sdk import DAG, Param

DOCUMENTATION = """
Makes an earlier version the champion again: one more entry in the promotion log, so that nothing is lost and this too
can be undone. No model is changed or removed. The asset `age_champion` is updated, which starts `age_score_batch`.

The numbers are those of the model report and of `python -m age_tasks history`.
"""

FORM = {
    "to": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        title="Version",
        description="The number of the version to go back to, such as 12. Empty: the one before the champion.",
    ),
    "reason": Param(
        "",
        type="string",
        minLength=3,
        title="Why",
        description="A sentence for those who read the history.",
    ),
}

with DAG(
    "age_rollback",
    description="Put an earlier version of the model back into use",
    doc_md=DOCUMENTATION,
    schedule=None,
    start_date=datetime(2026, 1, 1),
    max_active_runs=1,
    params=FORM,
    default_args={"owner": "age-team"},
    tags=["age"],
):
    CommandOperator(
        task_id="rollback",
        command='rollback --reason="$REASON" ${VERSION:+--to="$VERSION"}',
        env={"REASON": "{{ params.reason }}", "VERSION": "{{ params.to or '' }}"},
        outlets=[CHAMPION],
        post_execute=announce_rollback,
        retries=0,
        execution_timeout=timedelta(minutes=10),
    )
