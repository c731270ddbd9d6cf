"""Execute a stage's container with a shell script as its command: `python -m tests.programs.docker_stage SCRIPT`.

Prints JSON: the `summary`, or the `error` and its `text`. The environment variable `STOP_AFTER` names the seconds after
which the task is stopped, as Airflow stops one. `EARLIER` is the script of the container that an earlier try
has left; the container of the script `true` has ended.
"""

import json
import os
import sys
import threading

from age_retraining_plugin.runtimes.docker import DockerStage, unique_name
from age_retraining_plugin.runtimes.outcome import TaskFailed
from airflow.sdk import DAG

from age_tasks.environment import RuntimeVariables


def main(script: str) -> None:
    variables = RuntimeVariables.from_env()
    with DAG("age_retraining", schedule=None) as dag:
        stage = DockerStage(stage="snapshot", task_id="snapshot", env={"SHOWN": "yes"}, gpu=True, variables=variables)
    stage.render_template_fields({"dag": dag, "run_id": "manual__2026-11-22T10:15:00+00:00"})
    stage.command = ["sh", "-c", script]
    stage.allow_nested_operators = True
    if seconds := os.environ.get("STOP_AFTER"):
        threading.Timer(float(seconds), stage.on_kill).start()
    if earlier := os.environ.get("EARLIER"):
        name = unique_name(stage.container_name)
        stage.cli.start(stage.cli.create_container(stage.image, ["sh", "-c", earlier], name=name))
        if earlier == "true":
            stage.cli.wait(name)
    try:
        found = {"summary": stage.execute({})}
    except (Exception, TaskFailed) as error:
        found = {"error": type(error).__name__, "text": str(error)}
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
