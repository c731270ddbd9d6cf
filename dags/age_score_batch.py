"""The DAG `age_score_batch`: predict ages of new images with the champion."""

from datetime import datetime, timedelta

from age_retraining_plugin.assets import CHAMPION, skip_without_images
from age_retraining_plugin.notices import tell_failure
from age_retraining_plugin.stage_task import RETRIED, command_task
from airflow.sdk import DAG, Param

from age_tasks.environment import WorkflowVariables

DOCUMENTATION = """
Predicts the ages of the images in a folder, or of those that a table lists (CSV, Excel, Parquet),
each with an interval that holds for 90 % of images. Starts when the champion changes, by a promotion in
`age_retraining` or by `age_rollback`, and by hand.

The result is a CSV file with the columns `file, age, low, high, warning, problem`. It is replaced as a whole. Images
that can't be read keep their row, with the problem. A failed task says why in its log: no model was promoted yet, no
image could be read, or the result can't be written. Without `AGE_SCORE_IMAGES` and `AGE_SCORE_OUT`, the task is skipped
unless the form names both.
"""

VARIABLES = WorkflowVariables.from_env()
FORM = {
    "images": Param(
        VARIABLES.score_images or None,
        type=["null", "string"],
        description="A folder of images, tar files (faces/*.tar), or a table (.csv, .xlsx, .parquet) with a column "
        "file_name. Default: AGE_SCORE_IMAGES.",
    ),
    "out": Param(
        VARIABLES.score_out or None,
        type=["null", "string"],
        description="The CSV file to write: a path or an s3:// address. Default: AGE_SCORE_OUT.",
    ),
}

with DAG(
    "age_score_batch",
    description="Predict ages of new images with the champion",
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
        "score",
        gpu=True,
        env={"AGE_SCORE_IMAGES": "{{ params.images or '' }}", "AGE_SCORE_OUT": "{{ params.out or '' }}"},
        pre_execute=skip_without_images,
        **RETRIED,
        execution_timeout=timedelta(hours=6),
    )
