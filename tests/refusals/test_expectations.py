"""Suites of expectations that are refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from age_tasks.data import expectations
from age_tasks.data.expectations import EXPECTATIONS, Expectations, age_bounds
from tests.support.refusals import walks
from tests.support.walks import Walk

MODULE = "data/expectations.py"
CURE = "correct it, or restore it from the release"


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A suite that may be changed."""
    shutil.copytree(EXPECTATIONS, tmp_path / "expectations")
    monkeypatch.setattr(expectations, "EXPECTATIONS", tmp_path / "expectations")
    return tmp_path / "expectations" / "suites" / "distribution.json"


def edited(suite: Path, change: Callable[[dict], object]) -> None:
    content = json.loads(suite.read_text())
    change(content["expectations"][0])
    suite.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(lambda first: first.update(severity="grave"), ["severity", CURE],
                     marks=walks(MODULE, "_load: {}: {}; {}")),
        pytest.param(lambda first: first.update(type="expect_column_value_to_be_betwen"),
                     ["declares 6 expectations, 5 were evaluated", "check the spelling"],
                     marks=walks(MODULE, "check the spelling of each type")),
        pytest.param(lambda first: first["kwargs"].update(column="no such column"), ["no such column", CURE],
                     marks=walks(MODULE, "_finding: {}: {} {}: {}; {}")),
        pytest.param(lambda first: first["kwargs"].update(min_value={"$PARAMETER": "least"}),
                     ["a $PARAMETER is not known", "least", "there are: min_rows, max_age_shift", CURE],
                     marks=walks(MODULE, "a $PARAMETER is not known")),
    ],
)  # fmt: skip
def test_a_suite_that_is_corrected(refused: Walk, suite: Path, tmp_path: Path, change, says: list[str]):
    before = suite.read_text()
    edited(suite, change)
    runs = iter(range(9))

    def check() -> object:
        folder = tmp_path / f"work{next(runs)}"
        folder.mkdir()
        ages = dict.fromkeys(("mean_age", "first_quartile", "median_age", "third_quartile"), 30.0)
        table = pd.DataFrame([{"rows": 200, **ages, "shift_beyond_chance": None}])
        return Expectations(folder, "run").check("distribution", table, {"min_rows": 100, "max_age_shift": 0.15})

    again = refused(check, suite, *says)
    suite.write_text(before)
    again()


@walks(MODULE, "is no suite ({})")
@pytest.mark.parametrize("content", ["{", "[]", '{"name": "rows"}'])
def test_a_suite_that_is_no_json(refused: Walk, suite: Path, content: str):
    rows = suite.with_name("rows.json")
    before = rows.read_text()
    rows.write_text(content)
    again = refused(age_bounds, rows, CURE)
    rows.write_text(before)
    again()
