"""Labels that start runs, in a whole Airflow, with a quick DAG in place of a training."""

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from urllib.error import HTTPError

import pytest

from age_tasks.data.labels_file import content_sha256
from tests.support.airflow import Standalone

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

POLL, SETTLE, ONCE_MORE = 1, 2, 60
QUIET = SETTLE + 2 * POLL + 4
QUICK = f'''
"""As `age_retraining`: labels start it, its first task takes them up; the second waits while there is a file `hold`."""

import os
import time
from datetime import datetime
from pathlib import Path

from age_retraining_plugin.labels_trigger import labels_asset, labels_schedule
from airflow.sdk import dag, task

from age_tasks.data.labels_file import content_sha256, fetch_labels, record_snapshot
from age_tasks.store import open_store

LABELS = labels_asset()
LABELS.watchers[0].trigger.once_more_seconds = {ONCE_MORE}


@dag(schedule=labels_schedule(LABELS, "0 3 1 1 *"), start_date=datetime(2026, 1, 1), max_active_runs=1)
def quick():
    @task(inlets=[LABELS])
    def snapshot(run_id=None):
        data = fetch_labels(os.environ["AGE_LABELS"])
        record_snapshot(open_store(os.environ["AGE_STORE"]), os.environ["AGE_LABELS"], data, run_id)
        with Path(os.environ["AGE_STORE"], "taken.txt").open("a") as taken:
            print(content_sha256(data), file=taken)

    @task
    def train():
        while Path(os.environ["AGE_STORE"], "hold").exists():
            time.sleep(0.2)

    snapshot() >> train()


quick()
'''


class Place:
    """A labels file, an Airflow that watches it, and what its runs have taken up."""

    def __init__(self, root: Path, start_airflow: Callable[..., Standalone]):
        self.labels, self.hold = root / "faces" / "labels.csv", root / "store" / "hold"
        for folder in (self.labels.parent, self.hold.parent, root / "dags"):
            folder.mkdir()
        (root / "dags" / "quick.py").write_text(QUICK)
        self.airflow = start_airflow(
            AGE_LABELS=str(self.labels),
            AGE_STORE=str(root / "store"),
            AGE_LABELS_POLL_SECONDS=str(POLL),
            AGE_SETTLE_SECONDS=str(SETTLE),
            AIRFLOW__CORE__DAGS_FOLDER=str(root / "dags"),
        )
        # A new DAG makes up for the last time of its schedule at once: that run is to fail here, not to take labels up.
        self.airflow.wait("first run's end", lambda: self.airflow.runs("quick") and self.idle())

    def write(self, rows: int) -> str:
        """Labels of so many rows; returns their sha256."""
        data = b"file_name,real_age\n" + b"".join(b"%d.jpg,%d\n" % (row, row % 90) for row in range(rows))
        self.labels.write_bytes(data)
        return content_sha256(data)

    def taken(self) -> list[str]:
        """The content of every snapshot, in order."""
        path = self.hold.with_name("taken.txt")
        return path.read_text().split() if path.exists() else []

    def took(self, content: str) -> None:
        """Wait until the newest snapshot has this content."""
        self.airflow.wait(f"snapshot of {content[:8]}", lambda: self.taken()[-1:] == [content])

    def events(self) -> list[tuple[str, float]]:
        """The content that each event named, and when, in seconds of the file's own clock."""
        try:
            found = self.airflow.api("assets/events?limit=100&order_by=timestamp")["asset_events"]
        except HTTPError as error:
            if error.code != 500:
                raise
            return []  # Airflow 3.3 can't list an event while the run that it started is still queued
        return [
            (event["extra"]["payload"]["sha256"], datetime.fromisoformat(event["timestamp"]).timestamp())
            for event in found
        ]

    def fired(self, content: str, times: int = 1) -> float:
        """Wait for so many events for this content; returns when the last of them was."""
        return self.airflow.wait(
            f"event for {content[:8]}", lambda: [at for sha256, at in self.events() if sha256 == content][times - 1 :]
        )[0]

    def idle(self) -> bool:
        return not {run["state"] for run in self.airflow.runs("quick")} & {"queued", "running"}

    def stays_quiet(self, seconds: float) -> bool:
        """Whether no further run starts in that time."""
        self.airflow.wait("end of the runs", self.idle)
        before = len(self.airflow.runs("quick"))
        time.sleep(seconds)
        return len(self.airflow.runs("quick")) == before


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, start_airflow: Callable[..., Standalone]) -> Place:
    return Place(tmp_path_factory.mktemp("place"), start_airflow)


def test_changed_labels_start_a_run_by_themselves(place: Place):
    for rows in (10, 20):
        content = place.write(rows)
        seconds = place.fired(content) - place.labels.stat().st_mtime - SETTLE
        print(f"noticed {seconds:.1f} s after the labels had settled")
        assert 0 <= seconds < 30
        place.took(content)
    assert "asset_triggered" in {run["run_type"] for run in place.airflow.runs("quick")}


def test_the_same_content_written_twice_starts_one_run(place: Place):
    content = place.write(30)
    place.took(content)
    place.write(30)
    assert place.stays_quiet(QUIET)
    assert place.taken().count(content) == 1


def test_labels_that_changed_during_a_run_are_taken_up_after_it(place: Place):
    place.hold.touch()
    place.took(place.write(40))
    during = place.write(50)
    place.fired(during)
    last = place.write(60)
    place.fired(last, times=2)
    assert not {during, last} & set(place.taken())
    place.hold.unlink()
    place.took(last)
    assert place.stays_quiet(QUIET)
    assert (place.taken().count(during), place.taken().count(last)) == (0, 1)


def test_labels_that_changed_while_the_dag_was_paused_are_taken_up_later(place: Place):
    place.airflow.api("dags/quick", {"is_paused": True}, "PATCH")
    content = place.write(70)
    time.sleep(QUIET)
    assert content not in place.taken()
    place.airflow.api("dags/quick", {"is_paused": False}, "PATCH")
    place.took(content)


def test_labels_that_changed_while_airflow_was_down_start_one_run_when_it_returns(place: Place):
    place.airflow.stop()
    content = place.write(80)
    place.airflow.start()
    place.took(content)
    assert place.stays_quiet(QUIET)
    assert place.taken().count(content) == 1
