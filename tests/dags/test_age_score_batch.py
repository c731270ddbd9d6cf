"""New pictures get their ages from the champion, in a real Airflow with a database of its own."""

import json
import shutil
from pathlib import Path

import pandas as pd

from age_tasks.demo.synthetic_faces import Sample
from age_tasks.runs.run import Workspace
from tests.support.airflow import airflow_command


def test_a_folder_is_scored_and_what_people_type_meets_no_shell(
    airflow: dict[str, str], finished: Workspace, sample: Sample, tmp_path: Path
):
    folder = tmp_path / "new $(touch x)'; faces"
    folder.mkdir()
    for picture in sorted(sample.images.glob("0000*.jpg"))[:3]:
        shutil.copy(picture, folder)
    env = airflow | {"AGE_STORE": finished.store.url, "AGE_CACHE": str(tmp_path / "cache")}
    form = json.dumps({"images": str(folder), "out": str(tmp_path / "ages.csv")})
    done = airflow_command(env, "dags", "test", "age_score_batch", "-c", form)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    table = pd.read_csv(tmp_path / "ages.csv")
    assert len(table) == 3
    assert table["age"].between(table["low"], table["high"]).all()


def test_without_pictures_it_is_skipped_and_says_what_to_set(airflow: dict[str, str]):
    done = airflow_command(airflow, "dags", "test", "age_score_batch")
    assert done.returncode == 0
    assert "nothing to score: set AGE_SCORE_IMAGES and AGE_SCORE_OUT" in done.stdout + done.stderr
