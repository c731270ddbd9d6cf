"""Say the ages of new pictures by the model in use."""

from datetime import datetime, timedelta

from age_retraining_plugin.assets import CHAMPION, skip_without_images
from age_retraining_plugin.stage_task import CommandOperator
from airflow.sdk import DAG, Param

from age_tasks.environment import WorkflowVariables

DOCUMENTATION = """
Gives the pictures of a folder, or those that a CSV file lists, the ages that the champion sees in them, each with the
interval that holds for 90 % of pictures. Starts when another champion is in use, promoted by `age_retraining` or put
back by `age_rollback`, and by hand.

The result is a CSV file with `file, age, low, high, warning, problem`; it is replaced whole. Pictures that can't be
read keep their row, with what is wrong. A task that fails says why in its log: no model was promoted yet, no picture
could be read, or the result can't be written. Without `AGE_SCORE_IMAGES` and `AGE_SCORE_OUT` a new champion starts
nothing: the task is skipped.
"""

VARIABLES = WorkflowVariables.from_env()
FORM = {
    "images": Param(
        VARIABLES.score_images or None,
        type=["null", "string"],
        description="A folder of pictures, or a CSV file with a column file_name. Default: AGE_SCORE_IMAGES.",
    ),
    "out": Param(
        VARIABLES.score_out or None,
        type=["null", "string"],
        description="The CSV file to write: a path or an s3:// address. Default: AGE_SCORE_OUT.",
    ),
}

with DAG(
    "age_score_batch",
    description="Score new pictures with the model in use",
    doc_md=DOCUMENTATION,
    schedule=[CHAMPION],
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    params=FORM,
    default_args={"owner": "age-team"},
    tags=["age"],
):
    CommandOperator(
        task_id="score",
        command='predict --out="$AGE_SCORE_OUT" -- "$AGE_SCORE_IMAGES"',
        env={"AGE_SCORE_IMAGES": "{{ params.images }}", "AGE_SCORE_OUT": "{{ params.out }}"},
        pre_execute=skip_without_images,
        retries=2,
        retry_delay=timedelta(seconds=30),
        execution_timeout=timedelta(hours=6),
    )
