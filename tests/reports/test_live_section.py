"""What a page says of a stage that is being executed."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from age_tasks.reports.live_section import live_section
from age_tasks.runs.keys import live_file
from age_tasks.runs.live_status import LiveStatus
from age_tasks.runs.run import StoredRun
from age_tasks.store.files import FileStore

ROW = {"epoch": 1, "mae": 9.4, "val_mae": 10.1, "learning_rate": 0.001, "seconds": 20.0}


@pytest.fixture
def run(tmp_path: Path) -> StoredRun:
    return StoredRun("monday", FileStore(tmp_path / "store"))


def put_status(run: StoredRun, age_seconds: float = 1, **facts: object) -> None:
    at = (datetime.now(UTC) - timedelta(seconds=age_seconds)).isoformat()
    plain = {"what": "", "done": 0, "total": 0, "per_second": 0.0, "seconds_left": None, "note": ""}
    status = LiveStatus.model_validate(plain | {"at": at, "epochs": [], "most_epochs": 0} | facts)
    run.store.put(live_file(run.key, "baseline"), status.to_bytes())


def test_images_that_are_read_are_counted(run: StoredRun):
    put_status(run, what="images read", done=250, total=1000, per_second=50.0, seconds_left=15.0)
    found = live_section(run, "baseline")
    assert found.sentence == "Images read: 250 of 1000, 50 per second, 15 s left"
    assert found.fraction == 0.25
    assert found.curve is None


def test_a_training_says_its_epoch_and_how_long_it_may_take_at_most(run: StoredRun):
    put_status(
        run,
        what="epoch 2 of at most 11, images",
        done=500,
        total=1000,
        per_second=50.0,
        seconds_left=10.0,
        note="train MAE so far 8.91 years",
        epochs=[ROW],
        most_epochs=11,
    )
    found = live_section(run, "baseline")
    assert found.sentence == (
        "Epoch 2 of at most 11, images: 500 of 1000, 50 per second, train MAE so far 8.91 years, at most 3 min left"
    )  # 10 s of this epoch and nine epochs of 20 s
    assert [(line.name, line.last) for line in found.curve.lines] == [("validation MAE", 10.1), ("train MAE", 9.4)]


def test_a_training_with_several_seeds_says_which(run: StoredRun):
    first = {"what": "epoch 1 of at most 3, images", "done": 50, "total": 100, "per_second": 10.0, "seconds_left": 5.0}
    put_status(run, **first, most_epochs=3, part="seed 43 (2 of 3)")
    assert live_section(run, "baseline").sentence.startswith("Seed 43 (2 of 3), epoch 1 of at most 3, images: 50 of")


def test_the_first_epoch_gives_an_estimate_too(run: StoredRun):
    first = {"what": "epoch 1 of at most 3, images", "done": 50, "total": 100, "per_second": 10.0, "seconds_left": 5.0}
    put_status(run, **first, most_epochs=3)
    assert live_section(run, "baseline").sentence.endswith("at most 25 s left")


def test_short_epochs_are_counted_when_they_end(run: StoredRun):
    put_status(run, epochs=[ROW], most_epochs=3)
    assert live_section(run, "baseline").sentence == "Epoch 1 of at most 3 has ended, at most 40 s left"


def test_a_diverged_training_has_no_curve(run: StoredRun):
    put_status(run, epochs=[ROW | {"mae": None, "val_mae": None}], most_epochs=3)
    assert live_section(run, "baseline").curve is None


def test_the_status_of_a_killed_attempt_is_not_shown(run: StoredRun):
    put_status(run, age_seconds=300, what="images read", done=1, total=2)
    assert live_section(run, "baseline") is None
