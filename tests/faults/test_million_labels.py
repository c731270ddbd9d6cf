"""A million labels: the time and memory of audit, snapshot and validation."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from age_tasks.errors import LabelsError
from tests.faults.resource_use import measured
from tests.faults.tally import Tally

MILLION = 1_000_000


@pytest.fixture(scope="module")
def million(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A million labels, each thousandth of them broken, and an empty images folder."""
    root = tmp_path_factory.mktemp("million")
    (root / "images").mkdir()
    ages = np.random.default_rng(0).gamma(4, 8, MILLION).clip(0, 100).round(1)
    with (root / "labels.csv").open("w") as file:
        file.write("file_name,real_age\n")
        file.writelines(f"{n:07d}.jpg,{'unknown' if n % 1000 == 0 else age}\n" for n, age in enumerate(ages))
    return root


@pytest.mark.faults
@pytest.mark.timeout(3000)
def test_a_million_labels_are_audited_within_a_minute_and_two_gigabytes(million: Path, tmp_path: Path, tally: Tally):
    with tally.attempt("million_labels"):
        command = ["labels", "audit", "--labels", str(million / "labels.csv"), "--out", str(tmp_path)]
        used = measured([sys.executable, "-m", "age_tasks", *command], {})
        found = json.loads((tmp_path / "audit.json").read_text())
        assert (found["count"], found["without_age"], sum(found["histogram"].values())) == (MILLION, 1000, 999_000)
        assert used.cpu_seconds < 60
        assert used.peak_gb < 2
        tally.note("million_labels", **{f"audit_{name}": value for name, value in vars(used).items()})


@pytest.mark.faults
@pytest.mark.timeout(3000)
def test_a_million_labels_are_validated_within_a_minute_and_two_gigabytes(million: Path, tmp_path: Path, tally: Tally):
    """Through the stages; each row is quarantined, as its image is missing, and none is lost."""
    with tally.attempt("million_labels"):
        env = {
            "AGE_LABELS": str(million / "labels.csv"),
            "AGE_STORE": str(tmp_path / "store"),
            "AGE_CACHE": str(tmp_path),
        }
        stages = {}
        for stage, code in (("snapshot", 0), ("validate", LabelsError.exit_code)):
            used = measured([sys.executable, "-m", "age_tasks", stage, "--run", "x"], env, code)
            assert used.cpu_seconds < 60
            assert used.peak_gb < 2
            stages |= {f"{stage}_{name}": value for name, value in vars(used).items()}
        aside = pd.read_csv(tmp_path / "store/runs/x/validate/quarantine.csv", usecols=["line", "reason"])
        assert aside["line"].tolist() == list(range(2, MILLION + 2))
        assert aside["reason"].str.contains("is not a number").sum() == 1000
        assert aside["reason"].str.contains("no such file").sum() == MILLION
        tally.note("million_labels", **stages)
