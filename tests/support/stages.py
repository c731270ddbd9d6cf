"""Running stages as the command line does, and reading what they wrote."""

from collections.abc import Mapping

import pandas as pd

from age_tasks.cli.app import main
from age_tasks.pipeline import STAGES
from age_tasks.runs.run import Workspace
from tests.support.settings import overrides


def run_stages(
    key: str, recipe: str, settings: Mapping[str, object], *, first: str = STAGES[0], last: str = STAGES[-1]
) -> None:
    """Execute these stages of a run, each of which must succeed; the settings matter to the first stage of all."""
    for stage in STAGES[STAGES.index(first) : STAGES.index(last) + 1]:
        given = ["--recipe", recipe, *overrides(settings)] if stage == STAGES[0] else []
        assert main([stage, "--run", key, *given]) == 0


def table(run: Workspace, stage: str, name: str) -> pd.DataFrame:
    """A CSV file that a stage wrote; empty cells are empty texts."""
    return pd.read_csv(run.input(stage, name), keep_default_na=False)
