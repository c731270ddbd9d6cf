"""The stage `baseline`."""

from pathlib import Path

import pandas as pd

from age_tasks.cli.app import main
from age_tasks.environment import Locations
from age_tasks.evaluation.label_issues import rank_by_label_error
from age_tasks.runs.run import open_run
from tests.support.settings import QUICK, overrides
from tests.support.stages import table


def test_labels_wrong_by_forty_years_rank_first_among_label_issues(copied: Locations, tmp_path: Path, monkeypatch):
    before = pd.read_csv(copied.labels, dtype="str", keep_default_na=False)
    good = before[before["file_name"].str.fullmatch(r"\d+\.jpg") & ~before["file_name"].duplicated(keep=False)]
    moved = good.sample(10, random_state=1)["file_name"]
    changed = before["real_age"].mask(before["file_name"].isin(moved), before["real_age"].map(forty_years_off))
    before.assign(real_age=changed).to_csv(tmp_path / "labels.csv", index=False)
    monkeypatch.setenv("AGE_LABELS", str(tmp_path / "labels.csv"))
    monkeypatch.setenv("AGE_IMAGES", copied.images)
    for stage in ("snapshot", "validate", "split", "baseline"):
        given = ["--recipe", "demo", *overrides(QUICK | {"baseline.epochs": 1})] if stage == "snapshot" else []
        assert main([stage, "--run", "moved", *given]) == 0
    with open_run("moved", copied) as run:
        first = rank_by_label_error(table(run, "baseline", "out_of_fold.csv"))["file_name"].head(20)
    found = moved.isin(first).sum()
    assert found / len(moved) >= 0.7  # recall among the first 20 of 150: by chance 0.13
    assert moved.isin(first.head(10)).sum() / 10 >= 0.5  # precision of the first 10: by chance 0.07


def forty_years_off(age: str) -> str:
    try:
        return f"{float(age) + (40 if float(age) < 50 else -40):g}"
    except ValueError:
        return age
