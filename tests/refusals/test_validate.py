"""Rows and labels that `validate` refuses."""

import json
from pathlib import Path

import pandas as pd
import pytest

from age_tasks.data.expectations import EXPECTATIONS
from age_tasks.demo.synthetic_faces import draw_sample
from age_tasks.environment import Locations
from age_tasks.runs.run import open_run
from tests.support.refusals import walks
from tests.support.stages import table
from tests.support.walks import Walk, command

FEW = ("--set", "validate.min_rows=20")
SUITE = json.loads((EXPECTATIONS / "suites" / "rows.json").read_text())["expectations"]
FAULTS = {each["meta"]["fault"] for each in SUITE if "fault" in each.get("meta", {})}


@pytest.fixture
def faces(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The labels of 40 good images, and of one or more for each fault that a row can have."""
    draw_sample(here / "faces", 40, seed=2, faults=True)
    labels = here / "faces" / "labels.csv"
    with labels.open("a") as out:
        out.write(",33\n")
    monkeypatch.setenv("AGE_LABELS", str(labels))
    return labels


@walks("stages/validate.py", "execute: {}")
def test_labels_with_every_fault(refused: Walk, faces: Path):
    assert command("snapshot", "--run", "bad")() == 0
    again = refused(
        command("validate", "--run", "bad"), faces, "are quarantined", "validate.max_quarantine_fraction",
        "validate.min_rows", "Correct the labels", "quarantine.csv", "index.html", *FAULTS, lines=40,
    )  # fmt: skip
    with open_run("bad", Locations.from_env()) as run:
        found = pd.read_csv(Path(run.store.where("runs/bad/validate/quarantine.csv")), keep_default_na=False)
    assert set(found["fault"]) == FAULTS, "the sample has not every fault of the suite"
    # A person decides otherwise:
    again(command("validate", "--run", "bad", *FEW, "--set", "validate.max_quarantine_fraction=0.9"))
    # The rows are corrected, here removed:
    lines = faces.read_text().split("\n")
    faces.write_text("\n".join("" if at in set(found["line"]) else line for at, line in enumerate(lines, start=1)))
    again(command("snapshot", "--run", "good", *FEW))
    again(command("validate", "--run", "good"))
    with open_run("good", Locations.from_env()) as run:
        assert table(run, "validate", "quarantine.csv").empty
