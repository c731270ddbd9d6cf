"""The workflow: from labelled faces to a published, evaluated age model."""

from datetime import datetime, timedelta

from age_retraining_plugin.approval import ANSWER, approval_task
from age_retraining_plugin.assets import PROMOTED, announce
from age_retraining_plugin.form import retraining_form
from age_retraining_plugin.labels_trigger import labels_asset, labels_schedule
from age_retraining_plugin.notices import when_a_run_is_late, when_a_task_fails
from age_retraining_plugin.stage_task import stage_task
from airflow.sdk import DAG, chain

from age_tasks.environment import NoticeVariables, WorkflowVariables

VARIABLES = WorkflowVariables.from_env()
LABELS = labels_asset()

DOCUMENTATION = """
Retrains the age model on the labels as they are now, and publishes it only if the gate says so.

Starts by itself when the labels file has changed and has then been left alone for a while, at fixed times, and by hand.
Where few labels are new (`data.min_new_labels`), `split` and what follows are skipped; `again` trains all the same.

| task | what it does | when it fails |
|---|---|---|
| snapshot | freezes the labels and reads every picture once | the log names the file and line to correct |
| validate | checks labels and pictures; sets broken rows aside | open the validation page that the log names |
| split | deals images to train, validation, test | too few labels for the age bins: label more, or fewer bins |
| baseline | trains a new head on the frozen backbone | weights can't be fetched: give a file with `model.weights` |
| finetune | trains the last layers too | out of memory: a smaller `finetune.batch_size` |
| evaluate | measures both on the test images | run it again |
| gate | judges the numbers; a refusal is a result, not a failure | |
| approve | asks a person, if the form says `require_approval` and the gate passed | |
| publish | the report always, the model if gate and person agree | the store can't be reached: run it again |

Every run's files lie in the store below `runs/<run id>/<task>/`, its report in `reports/`.
Clear a failed task to go on from there. A task whose inputs, settings and code are those of an earlier run reuses its
result in no time; its XCom then says `reused_from`.

**Approval.** The run waits at `approve`, and shows so under "Required Actions": the rules, candidate and champion side
by side, and a field for why. A refusal, or no answer within `approval_hours`, publishes the report alone; clear
`approve` to be asked again. The next run starts when this one has its answer. `AGE_REQUIRE_APPROVAL=true` asks in
scheduled runs too.

A promotion updates the asset `age_champion` (version, test MAE and run in the event), which starts `age_score_batch`.
"""

TRY_AGAIN = {"retries": 2, "retry_delay": timedelta(seconds=30), "retry_exponential_backoff": True}
ONCE = {"retries": 0}
NOTICES = NoticeVariables.from_env()

with DAG(
    "age_retraining",
    description="Validate labels, train, compare, publish an age model",
    doc_md=DOCUMENTATION,
    schedule=labels_schedule(LABELS, VARIABLES.schedule),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    params=retraining_form(),
    default_args={"owner": "age-team", **when_a_task_fails(NOTICES)},
    deadline=when_a_run_is_late(NOTICES),
    tags=["age", "training"],
):
    chain(
        stage_task(
            "snapshot",
            from_form=True,
            inlets=[LABELS] if LABELS else [],
            **TRY_AGAIN,
            execution_timeout=timedelta(hours=3),
        ),
        stage_task("validate", **ONCE, execution_timeout=timedelta(hours=1)),
        stage_task("split", **ONCE, execution_timeout=timedelta(minutes=30)),
        stage_task("baseline", **TRY_AGAIN, execution_timeout=timedelta(hours=12)),
        stage_task("finetune", **TRY_AGAIN, execution_timeout=timedelta(hours=24)),
        stage_task("evaluate", **TRY_AGAIN, execution_timeout=timedelta(hours=3)),
        stage_task("gate", **ONCE, execution_timeout=timedelta(minutes=30)),
        approval_task(**TRY_AGAIN),
        stage_task(
            "publish",
            env=ANSWER,
            outlets=[PROMOTED],
            post_execute=announce,
            **TRY_AGAIN,
            execution_timeout=timedelta(hours=1),
        ),
    )
