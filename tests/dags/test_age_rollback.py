"""Rolling back in a real Airflow with a database of its own."""

import json
from pathlib import Path

from age_tasks.registry.promotions import champion, history
from age_tasks.store.files import FileStore
from tests.support.airflow import airflow_command, python
from tests.support.builders import promoted

EVENTS = """
import json
from airflow.models.asset import AssetEvent
from airflow.utils.session import create_session
from sqlalchemy import select
with create_session() as session:
    found = session.scalars(select(AssetEvent).where(AssetEvent.source_dag_id == "age_rollback"))
    print(json.dumps([[event.asset.name, event.extra] for event in found]))
"""


def test_the_form_s_reason_reaches_the_history_as_it_was_typed(airflow: dict[str, str], tmp_path: Path):
    store = FileStore(tmp_path / "store")
    promoted(store, tmp_path, "one", "two", "three")
    reason = 'it\'s worse on "minors" $(touch x); `touch y`'
    form = json.dumps({"to": 1, "reason": reason})
    done = airflow_command(airflow | {"AGE_STORE": store.url}, "dags", "test", "age_rollback", "-c", form)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    entry = champion(store)
    assert (entry.name, entry.version, entry.why, entry.run) == ("v1", "one", reason, None)
    assert entry.who == "dag_test"
    assert len(history(store)) == 4
    events = json.loads(python(airflow, EVENTS).stdout.splitlines()[-1])
    assert events == [["age_champion", {"version": "v1", "test_mae": 6.5, "run": "one"}]]


def test_a_version_that_never_was_fails_the_task(airflow: dict[str, str], tmp_path: Path):
    store = FileStore(tmp_path / "store")
    promoted(store, tmp_path, "one")
    form = json.dumps({"to": 7, "reason": "no such number"})
    done = airflow_command(airflow | {"AGE_STORE": store.url}, "dags", "test", "age_rollback", "-c", form)
    assert done.returncode == 1
    assert "no version '7' has been promoted; there are: v1" in done.stdout + done.stderr
    assert len(history(store)) == 1
