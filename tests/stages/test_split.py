"""The stage `split`."""

import json

from age_tasks.cli.app import main
from age_tasks.environment import Locations
from age_tasks.runs.run import Workspace, open_run
from tests.support.settings import QUICK, overrides
from tests.support.stages import table


def test_splits_share_no_image_and_keep_their_fractions(prepared: Workspace):
    parts = [set(table(prepared, "split", f"{name}.csv")["sha256"]) for name in ("train", "val", "test")]
    assert sum(map(len, parts)) == len(set.union(*parts))
    summary = json.loads(prepared.input("split", "split_summary.json").read_text())
    assert abs(summary["test"]["share"] - 0.15) < 0.02


def test_assignments_under_other_settings_leave_earlier_ones_in_force(copied: Locations):
    for key, seed in (("another", 7), ("back", 42)):
        assert main(["snapshot", "--run", key, "--recipe", "demo", *overrides(QUICK | {"split.seed": seed})]) == 0
        assert main(["validate", "--run", key]) == 0
        assert main(["split", "--run", key, "--again"]) == 0
    with open_run("another", copied) as run:
        assert run.record("split").summary["known"] == 0
    with open_run("back", copied) as run:
        summary = run.record("split").summary
        assert summary["known"] == len(table(run, "validate", "accepted.csv"))
