import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from age_tasks.data import expectations
from age_tasks.data.expectations import EXPECTATIONS, Expectations
from age_tasks.errors import SettingsError

FACTS = {
    "rows": 200,
    "mean_age": 31.0,
    "first_quartile": 20.0,
    "median_age": 29.0,
    "third_quartile": 41.0,
    "distance_to_previous": None,
    "shift_beyond_chance": None,
}
BOUNDS = {"min_rows": 100, "max_age_shift": 0.15}


@pytest.fixture
def edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[dict], None]], Expectations]:
    """The suites with a change to the first expectation of `distribution`."""
    copy = tmp_path / "expectations"
    shutil.copytree(EXPECTATIONS, copy)
    monkeypatch.setattr(expectations, "EXPECTATIONS", copy)

    def changed(change: Callable[[dict], None]) -> Expectations:
        path = copy / "suites" / "distribution.json"
        suite = json.loads(path.read_text())
        change(suite["expectations"][0])
        path.write_text(json.dumps(suite))
        return Expectations(tmp_path / "work", "run")

    return changed


def check(made: Expectations, **facts: object) -> list:
    return made.check("distribution", pd.DataFrame([FACTS | facts]), BOUNDS)


def test_expected_values_pass_every_expectation(edit):
    findings = check(edit(lambda first: None))
    assert len(findings) == 6
    assert all(finding.success for finding in findings)


def test_only_critical_expectations_block(edit):
    findings = check(edit(lambda first: None), rows=20, mean_age=70.0)
    failed = {finding.column: finding.blocks for finding in findings if not finding.success}
    assert failed == {"rows": True, "mean_age": False}
    assert {finding.suite for finding in findings} == {"distribution"}
    assert findings[0].arguments["min_value"] == BOUNDS["min_rows"]


@pytest.mark.parametrize(
    "change",
    [
        lambda first: first.update(type="expect_column_value_to_be_betwen"),
        lambda first: first["kwargs"].update(column="no such column"),
        lambda first: first["kwargs"].update(min_valu=3),
        lambda first: first["kwargs"].update(min_value={"$PARAMETER": "least_rows"}),
    ],
    ids=["misspelt type", "missing column", "misspelt argument", "unknown parameter"],
)
def test_an_invalid_expectation_is_an_error_that_names_the_suite(edit, change):
    with pytest.raises(SettingsError, match=r"expectations/suites/distribution\.json"):
        check(edit(change))
