"""Stages that only write a text, carried out in a store of their own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from age_tasks.config import Config
from age_tasks.environment import Locations
from age_tasks.errors import LabelsError
from age_tasks.runs.records import StageRecord
from age_tasks.runs.run import Workspace, open_run, start_run
from age_tasks.runs.runner import Needs, execute_stage


@pytest.fixture
def do(tmp_path: Path) -> Callable[..., StageRecord]:
    """Carry out a stage of a run: it writes `text` to out.txt and counts how often it was really done."""
    locations = Locations(labels="labels.csv", images="images", store=str(tmp_path / "store"), cache=tmp_path / "cache")

    def carry(key: str, stage: str, needs: Needs, text: str = "same", config: Config | None = None, again=False):
        config = config or Config()

        def work(run: Workspace, config: Config) -> dict:
            if text == "fails":
                raise LabelsError("line 7 is wrong")
            (run.output_dir / "out.txt").write_text(text)
            return {"text": text}

        with open_run(key, locations) as run:
            if not needs.inputs:
                start_run(run, config, locations)
            return execute_stage(stage, needs, lambda: work, run, config, again)

    carry.locations = locations
    return carry
