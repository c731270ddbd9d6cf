"""The DAG `age_retraining`: from labelled images to a published, evaluated age model."""

from datetime import timedelta

from age_retraining_plugin.approval import APPROVAL_ENV, approval_task
from age_retraining_plugin.assets import CHAMPION_ALIAS, emit_champion_event
from age_retraining_plugin.form import FORM_MACROS, retraining_form
from age_retraining_plugin.labels_trigger import labels_asset, labels_schedule
from age_retraining_plugin.notices import (
    deadline_alert,
    tell_error_in_use,
    tell_failure,
    tell_gate,
    tell_published,
)
from age_retraining_plugin.stage_task import RETRIED, shared_work, stage_task, task_table
from airflow.sdk import DAG, chain

from age_tasks.environment import NoticeVariables, WorkflowVariables

DOCUMENTATION = f"""
Retrains the age model on the present labels, and publishes the result only if it passes the gate.

A run starts when the labels file has changed and has then stayed unchanged for a while, by schedule, and by hand. If
few images are new (`data.min_new_labels`), `split` and all later tasks are skipped; tick `again` to train anyway.

{task_table()}

The files of each run are in the store under `runs/<run id>/<task>/`, its report under `reports/`. Clear a failed task
to continue from there. A task with the same inputs, settings and code as one of an earlier run reuses that result; its
XCom then contains `reused_from`.

**Conf.** Besides the fields of the form, the JSON of a run takes any setting: `{{"finetune.seed": 7}}`, or as in a
recipe `{{"finetune": {{"seed": 7}}}}`. The field `settings` stands over both. Any other name fails `snapshot`.

**Approval.** The run waits at `approve` and is listed under "Required Actions", with the rules, candidate and champion
side by side, and a field for the reason. After a refusal, or without an answer within `approval_hours`, only the report
is published; clear `approve` to be asked again. The next run starts when this one has its answer.
`AGE_REQUIRE_APPROVAL=true` asks in scheduled runs too.

A promotion updates the asset `age_champion` (version, test MAE and run in the event), which starts `age_score_batch`.
"""

VARIABLES, NOTICES = WorkflowVariables.from_env(), NoticeVariables.from_env()
LABELS = labels_asset()

with DAG(
    "age_retraining",
    description="Validate labels, train, evaluate and publish an age model",
    doc_md=DOCUMENTATION,
    # Without a start date, which would let the DAG make up for the last time of its schedule when it is turned on.
    schedule=labels_schedule(LABELS, VARIABLES.schedule),
    catchup=False,
    max_active_runs=1,
    user_defined_macros=FORM_MACROS,
    default_args={"owner": "age-team", "on_failure_callback": tell_failure},
    deadline=deadline_alert(NOTICES),
    tags=["age", "training"],
) as dag:
    chain(
        *shared_work("probe", from_form=True, **RETRIED, execution_timeout=timedelta(hours=3)),
        stage_task(
            "snapshot",
            from_form=True,
            inlets=[LABELS] if LABELS else [],
            **RETRIED,
            execution_timeout=timedelta(hours=3),
        ),
        stage_task("validate", **RETRIED, execution_timeout=timedelta(hours=1)),
        stage_task("split", **RETRIED, execution_timeout=timedelta(minutes=30)),
        *shared_work("features", **RETRIED, execution_timeout=timedelta(hours=12)),
        stage_task("baseline", **RETRIED, execution_timeout=timedelta(hours=12)),
        stage_task("finetune", **RETRIED, execution_timeout=timedelta(hours=24)),
        stage_task("evaluate", on_success_callback=tell_error_in_use, **RETRIED, execution_timeout=timedelta(hours=3)),
        stage_task("gate", on_success_callback=tell_gate, **RETRIED, execution_timeout=timedelta(minutes=30)),
        approval_task(**RETRIED),
        stage_task(
            "publish",
            env=APPROVAL_ENV,
            outlets=[CHAMPION_ALIAS],
            post_execute=emit_champion_event,
            on_success_callback=tell_published,
            **RETRIED,
            execution_timeout=timedelta(hours=1),
        ),
    )

# After the tasks: each would else carry a copy of the form, which Airflow validates whenever it serialises the task.
dag.params = retraining_form()  # type: ignore[assignment]  # Airflow converts it
