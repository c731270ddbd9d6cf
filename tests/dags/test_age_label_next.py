"""The DAG `age_label_next` in a real Airflow with a database of its own."""

import shutil
from pathlib import Path

from age_tasks.registry.label_ranking import newest_ranking
from age_tasks.runs.run import Workspace
from age_tasks.store import open_store
from tests.support.airflow import AirflowProcess
from tests.support.new_faces import draw_new_faces


def test_images_of_a_folder_are_ranked_and_form_values_reach_no_shell(
    airflow_process: AirflowProcess, finished: Workspace, tmp_path: Path
):
    store = open_store((tmp_path / "store").as_uri())
    shutil.copytree(finished.store.where("runs").removesuffix("runs"), tmp_path / "store")
    folder = draw_new_faces(tmp_path / "new $(touch x)'; faces", 3, 7)
    env = {"AGE_STORE": store.url, "AGE_CACHE": str(tmp_path / "cache")}
    run = airflow_process.call("runs.run_dag", env, dag_id="age_label_next", conf={"unlabelled": str(folder)})
    assert run["state"] == "success", airflow_process.output()[-3000:]
    assert len(newest_ranking(store).ranked) == 3


def test_without_images_the_task_is_skipped_and_names_the_variable(airflow_process: AirflowProcess):
    run = airflow_process.call("runs.run_dag", dag_id="age_label_next", conf={})
    assert (run["state"], run["tasks"]) == ("success", {"label-next": "skipped"})
    assert "nothing to rank: set AGE_UNLABELLED" in airflow_process.output()
