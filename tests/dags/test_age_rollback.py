"""The DAG `age_rollback` in a real Airflow with a database of its own."""

from pathlib import Path

from age_tasks.registry.promotions import champion, history
from age_tasks.store.files import FileStore
from tests.support.airflow import AirflowProcess
from tests.support.builders import promoted


def test_the_reason_reaches_the_promotion_log_as_it_was_typed(airflow_process: AirflowProcess, tmp_path: Path):
    store = FileStore(tmp_path / "store")
    promoted(store, tmp_path, "one", "two", "three")
    reason = 'it\'s worse on "minors" $(touch x); `touch y`'
    form = {"to": 1, "reason": reason}
    run = airflow_process.call("runs.run_dag", {"AGE_STORE": store.url}, dag_id="age_rollback", conf=form)
    assert run["state"] == "success", airflow_process.output()[-3000:]
    entry = champion(store)
    assert entry
    assert (entry.name, entry.version, entry.why, entry.run) == ("v1", "one", reason, None)
    assert entry.who == "dag_test"
    assert run["results"]["rollback"] == ["v1 is in use, test MAE 6.50 years"]
    assert len(history(store)) == 4
    assert run["events"] == [["age_champion", {"version": "v1", "test_mae": 6.5, "run": "one"}]]


def test_an_unknown_version_fails_the_task(airflow_process: AirflowProcess, tmp_path: Path):
    store = FileStore(tmp_path / "store")
    promoted(store, tmp_path, "one")
    form = {"to": 7, "reason": "no such number"}
    run = airflow_process.call("runs.run_dag", {"AGE_STORE": store.url}, dag_id="age_rollback", conf=form)
    assert (run["state"], run["events"]) == ("failed", [])
    assert "no version '7' has been promoted; choose one of v1" in airflow_process.output()
    assert len(history(store)) == 1


def test_a_name_that_nothing_reads_fails_the_task(airflow_process: AirflowProcess, tmp_path: Path):
    """It would go back to the version before the champion instead of the one that is meant."""
    store = FileStore(tmp_path / "store")
    promoted(store, tmp_path, "one", "two", "three")
    form = {"version": 1, "reason": "worse on minors"}
    run = airflow_process.call("runs.run_dag", {"AGE_STORE": store.url}, dag_id="age_rollback", conf=form)
    assert (run["state"], run["events"]) == ("failed", [])
    assert "conf: no field is called 'version'. Did you mean to? There are: to, reason; " in airflow_process.output()
    assert len(history(store)) == 3
