"""The DAG `age_rollback`: make an earlier version of the age model the champion again."""

from datetime import datetime, timedelta

from age_retraining_plugin.assets import CHAMPION, emit_rollback_event
from age_retraining_plugin.form import number_schema
from age_retraining_plugin.notices import tell_failure, tell_rolled_back
from age_retraining_plugin.runtimes.process import CommandOperator
from age_retraining_plugin.stage_task import LOG_ENV, RETRIED, WHO_ENV
from age_retraining_plugin.trigger_conf import refuse_invalid
from airflow.sdk import DAG, Param

DOCUMENTATION = """
Makes an earlier version the champion again. It adds one entry to the promotion log; no model is changed or removed, and
the rollback itself can be undone in the same way. The asset `age_champion` is updated, which starts `age_score_batch`.

The version numbers are those of the page *Age models*, of the model report and of `age-tasks history`.
"""

VERSION = number_schema("integer", "at least 1", minimum=1, maximum=10**9, examples=["1", "2"])
FORM = {
    "to": Param(
        None,
        title="Version",
        description="The number of the version to go back to, such as 12. Empty: the one before the champion.",
        **VERSION | {"type": ["null", *VERSION["type"]]},
    ),
    "reason": Param(
        "",
        type="string",
        minLength=3,
        title="Reason",
        description="A sentence for the readers of the promotion log.",
    ),
}

with DAG(
    "age_rollback",
    description="Make an earlier version of the age model the champion again",
    doc_md=DOCUMENTATION,
    schedule=None,
    start_date=datetime(2026, 1, 1),
    max_active_runs=1,
    params=FORM,
    default_args={"owner": "age-team", "on_failure_callback": tell_failure},
    tags=["age"],
):
    CommandOperator(
        task_id="rollback",
        command='rollback --reason="$REASON" ${VERSION:+--to="$VERSION"} --once="$REQUEST"',
        env={
            **LOG_ENV,
            **WHO_ENV,
            "REQUEST": "{{ run_id }}",
            "REASON": "{{ params.reason }}",
            "VERSION": "{{ params.to or '' }}",
        },
        outlets=[CHAMPION],
        pre_execute=refuse_invalid,
        post_execute=emit_rollback_event,
        on_success_callback=tell_rolled_back,
        **RETRIED,
        execution_timeout=timedelta(minutes=10),
    )
