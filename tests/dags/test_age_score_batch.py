"""The DAG `age_score_batch` in a real Airflow with a database of its own."""

import shutil
from pathlib import Path

import pandas as pd

from age_tasks.demo.synthetic_faces import Sample
from age_tasks.runs.run import Workspace
from tests.support.airflow import AirflowProcess


def test_the_images_of_a_folder_are_scored_and_form_values_reach_no_shell(
    airflow_process: AirflowProcess, finished: Workspace, sample: Sample, tmp_path: Path
):
    folder = tmp_path / "new $(touch x)'; faces"
    folder.mkdir()
    for image in sorted(sample.images.glob("0000*.jpg"))[:3]:
        shutil.copy(image, folder)
    env = {"AGE_STORE": finished.store.url, "AGE_CACHE": str(tmp_path / "cache")}
    form = {"images": str(folder), "out": str(tmp_path / "ages.csv")}
    run = airflow_process.call("runs.run_dag", env, dag_id="age_score_batch", conf=form)
    assert run["state"] == "success", airflow_process.output()[-3000:]
    table = pd.read_csv(tmp_path / "ages.csv")
    assert len(table) == 3
    assert table["age"].between(table["low"], table["high"]).all()


def test_without_images_the_task_is_skipped_and_names_the_variables(airflow_process: AirflowProcess):
    run = airflow_process.call("runs.run_dag", dag_id="age_score_batch", conf={})
    assert (run["state"], run["tasks"]) == ("success", {"score": "skipped"})
    assert "nothing to score: set AGE_SCORE_IMAGES and AGE_SCORE_OUT" in airflow_process.output()


def test_a_name_that_nothing_reads_fails_the_task(airflow_process: AirflowProcess):
    run = airflow_process.call("runs.run_dag", dag_id="age_score_batch", conf={"image": "/new", "out": "/ages.csv"})
    assert (run["state"], run["tasks"]) == ("failed", {"score": "failed"})
    assert "conf: no field is called 'image'. Did you mean images? There are: images, out; " in airflow_process.output()
