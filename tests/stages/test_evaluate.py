"""The stage `evaluate`."""

import json

import pytest

from age_tasks.runs.run import Workspace
from tests.support.stages import table


def test_evaluation_measures_the_same_errors_as_training(finished: Workspace):
    metrics = json.loads(finished.input("evaluate", "metrics.json").read_text())
    for stage in ("baseline", "finetune"):
        trained = json.loads(finished.input(stage, f"{stage}_test_metrics.json").read_text())
        assert metrics[stage]["mae"]["value"] == pytest.approx(trained["test_mae"], abs=0.02)
    assert table(finished, "evaluate", "by_age.csv")["images"].sum() == metrics["images"]


def test_label_issues_are_listed_worst_first(finished: Workspace):
    suspects = table(finished, "evaluate", "labels_to_look_at.csv")
    rows = sum(len(table(finished, "split", f"{name}.csv")) for name in ("train", "val", "test"))
    assert len(suspects) == min(rows, 200)
    assert suspects["relative_error"].is_monotonic_decreasing
    assert "Labels to look at" in finished.input("publish", "report.html").read_text()
