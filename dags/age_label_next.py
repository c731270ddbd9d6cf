"""The DAG `age_label_next`: what to label next, by the champion."""

from datetime import datetime, timedelta

from age_retraining_plugin.assets import CHAMPION, skip_without_unlabelled
from age_retraining_plugin.notices import tell_failure
from age_retraining_plugin.stage_task import RETRIED, command_task
from airflow.sdk import DAG, Param

from age_tasks.environment import WorkflowVariables

DOCUMENTATION = """
Ranks images that have no label by what the model learns most from: where its interval is wide, and what is unlike all
labelled images and those ranked before. Starts when the champion changes, and by hand.

The first 1,000 are on the page *Labels*, with faces, as a table to fill in, and as tasks for Label Studio. What people
say comes back with `age-tasks labels merge`. A new ranking replaces the one before. Without `AGE_UNLABELLED`, the task
is skipped unless the form names the images.
"""

FORM = {
    "unlabelled": Param(
        WorkflowVariables.from_env().unlabelled or None,
        type=["null", "string"],
        title="Images without labels",
        description="A folder of images, tar files (faces/*.tar), or a table (.csv, .xlsx, .parquet) with a column "
        "file_name. Images that are labelled already are passed over. Default: AGE_UNLABELLED.",
    ),
}

with DAG(
    "age_label_next",
    description="Rank images without labels by what to label next",
    doc_md=DOCUMENTATION,
    schedule=[CHAMPION],
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    params=FORM,
    default_args={"owner": "age-team", "on_failure_callback": tell_failure},
    tags=["age"],
):
    command_task(
        "label-next",
        gpu=True,
        env={"AGE_UNLABELLED": "{{ params.unlabelled or '' }}"},
        pre_execute=skip_without_unlabelled,
        **RETRIED,
        execution_timeout=timedelta(hours=6),
    )
