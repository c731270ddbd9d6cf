"""The workflow: from labelled faces to a published, evaluated age model."""

import os
from datetime import datetime, timedelta

from age_retraining_plugin.notices import NoticeSettings, when_a_run_is_late, when_a_task_fails
from age_retraining_plugin.operators import stage_task
from airflow.sdk import DAG, Param, chain

from age_tasks.config import describe_settings, recipe_names

SCHEDULE = os.environ.get("AGE_SCHEDULE", "0 3 * * 1")

DOCUMENTATION = """
Retrains the age model on the labels as they are now, and publishes it only if the gate says so.

| task | what it does | when it fails |
|---|---|---|
| snapshot | freezes the labels and reads every picture once | the log names the file and line to correct |
| validate | checks labels and pictures; sets broken rows aside | open the validation page that the log names |
| split | deals images to train, validation, test | too few labels for the age bins: label more, or fewer bins |
| baseline | trains a new head on the frozen backbone | weights can't be fetched: give a file with `model.weights` |
| finetune | trains the last layers too | out of memory: a smaller `finetune.batch_size` |
| evaluate | measures both on the test images | run it again |
| gate | judges the numbers; a refusal is a result, not a failure | |
| publish | the report always, the model if the gate passed | the store can't be reached: run it again |

Every run's files lie in the store below `runs/<run id>/<task>/`, its report in `reports/`.
Clear a failed task to go on from there. A task whose inputs, settings and code are those of an earlier run reuses its
result in no time; its XCom then says `reused_from`.
"""

FORM = {
    "recipe": Param(
        os.environ.get("AGE_RECIPE") or "reference",
        type="string",
        enum=recipe_names(),
        description="Every number of the training. `demo` is small and quick.",
    ),
    "labels": Param(
        os.environ.get("AGE_LABELS", ""),
        type=["null", "string"],
        description="labels.csv with file_name,real_age: a path or an s3:// address. Empty: AGE_LABELS.",
    ),
    "images": Param(
        os.environ.get("AGE_IMAGES", ""),
        type=["null", "string"],
        description="The folder of pictures. Empty: the folder `images` beside the labels.",
    ),
    "again": Param(
        False,
        type="boolean",
        description="Carry out every stage, also those that could be reused because nothing has changed.",
    ),
    "settings": Param(
        {},
        type="object",
        description='Settings to replace, such as {"finetune.epochs": 3}. There are: '
        + ", ".join(name for name, _, _ in describe_settings()),
    ),
}

TRY_AGAIN = {"retries": 2, "retry_delay": timedelta(seconds=30), "retry_exponential_backoff": True}
ONCE = {"retries": 0}
NOTICES = NoticeSettings.from_env()

with DAG(
    "age_retraining",
    description="Validate labels, train, compare, publish an age model",
    doc_md=DOCUMENTATION,
    schedule=None if SCHEDULE == "none" else SCHEDULE,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    params=FORM,
    default_args={"owner": "age-team", **when_a_task_fails(NOTICES)},
    deadline=when_a_run_is_late(NOTICES),
    tags=["age", "training"],
):
    chain(
        stage_task("snapshot", from_form=True, **TRY_AGAIN, execution_timeout=timedelta(hours=3)),
        stage_task("validate", **ONCE, execution_timeout=timedelta(hours=1)),
        stage_task("split", **ONCE, execution_timeout=timedelta(minutes=30)),
        stage_task("baseline", **TRY_AGAIN, execution_timeout=timedelta(hours=12)),
        stage_task("finetune", **TRY_AGAIN, execution_timeout=timedelta(hours=24)),
        stage_task("evaluate", **TRY_AGAIN, execution_timeout=timedelta(hours=3)),
        stage_task("gate", **ONCE, execution_timeout=timedelta(minutes=30)),
        stage_task("publish", **TRY_AGAIN, execution_timeout=timedelta(hours=1)),
    )
