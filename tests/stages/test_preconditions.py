import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from age_tasks.cli.app import main
from age_tasks.config import Config
from age_tasks.demo.synthetic_faces import draw_sample
from age_tasks.environment import Locations
from age_tasks.pipeline import PIPELINE
from age_tasks.runs.records import Summary
from age_tasks.runs.run import Workspace, open_run, start_run
from age_tasks.runs.runner import Needs, execute_stage
from age_tasks.stages.preconditions import count_new
from tests.support.settings import overrides

WANTED = overrides({"data.min_new_labels": 2, "split.n_bins": 2})


@pytest.fixture
def faces(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """104 drawn faces."""
    sample = draw_sample(place / "faces", 104, seed=3)
    monkeypatch.setenv("AGE_LABELS", str(sample.labels))
    return sample.labels.parent


def prepare(key: str) -> None:
    assert main(["snapshot", "--run", key, "--recipe", "demo", *WANTED]) == 0
    assert main(["validate", "--run", key]) == 0


def train(key: str) -> None:
    """What a finished training leaves behind, without its hours."""
    with open_run(key, Locations.from_env()) as run:
        for stage in ("baseline", "finetune"):
            execute_stage(stage, PIPELINE[stage].needs, lambda: lambda run, config: {}, run, Config())


def add(faces: Path, count: int, seed: int) -> None:
    more = draw_sample(faces.parent / f"more-{seed}", count, seed)
    with (faces / "labels.csv").open("a") as labels:
        for row in more.labels.read_text().splitlines()[1:]:
            name = row.split(",")[0]
            shutil.copy(more.images / name, faces / "images" / f"{seed}-{name}")
            print(f"{seed}-{row}", file=labels)


@pytest.mark.slow
def test_a_run_ends_before_the_split_if_too_few_labels_are_new(faces: Path, capsys: pytest.CaptureFixture[str]):
    prepare("first")
    assert main(["split", "--run", "first"]) == 0, "before the first training all labels are new"
    train("first")
    add(faces, 1, seed=7)
    prepare("second")
    assert main(["split", "--run", "second"]) == 75
    assert "1 new labels since run first was trained; at least 2 are required" in capsys.readouterr().err
    with open_run("second", Locations.from_env()) as run:
        assert (run.require_record("validate").status, run.record("split")) == ("done", None)
    assert main(["split", "--run", "second", "--again"]) == 0

    add(faces, 1, seed=8)
    prepare("third")
    assert main(["split", "--run", "third"]) == 0, "what was assigned but never trained on is still new"
    with open_run("third", Locations.from_env()) as run:
        assert run.require_record("split").summary["known"] == 105


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "not listed, as by version 0.1.0"])
def test_images_that_were_left_out_of_a_training_are_not_new(place: Path, listed: bool):
    tables = {
        ("now", "validate", "accepted.csv"): "abcd",
        ("before", "split", "assignments.csv"): "ab",
        **({("before", "split", "left_out.csv"): "c"} if listed else {}),
    }
    for key in ("now", "before"):
        with open_run(key, Locations.from_env()) as run:
            start_run(run, Config(), Locations.from_env())
            for stage in {stage for owner, stage, _ in tables if owner == key}:
                execute_stage(stage, Needs(), partial(writes, tables, stage), run, Config())
    with open_run("now", Locations.from_env()) as run:
        assert count_new(run, run.other("before")) == (1 if listed else 2)


def writes(tables: dict[tuple[str, str, str], str], stage: str) -> Callable[[Workspace, Config], Summary]:
    """A stage that writes tables of the images whose sha256 are these letters."""

    def execute(run: Workspace, config: Config) -> Summary:
        for (_, of_stage, name), images in tables.items():
            if of_stage == stage:
                pd.DataFrame({"sha256": list(images)}).to_csv(run.output_dir / name, index=False)
        return {}

    return execute


def test_the_bound_changes_no_result(faces: Path, capsys: pytest.CaptureFixture[str]):
    prepare("first")
    assert main(["split", "--run", "first"]) == 0
    assert main(["snapshot", "--run", "second", "--recipe", "demo", *overrides({"split.n_bins": 2})]) == 0
    capsys.readouterr()
    assert main(["validate", "--run", "second"]) == 0
    assert '"reused_from": "first"' in capsys.readouterr().out
