"""The counts of survived faults can be lower than those of tried ones, and a failing test leaves them in the file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from age_tasks.environment import PROJECT
from tests.faults.tally import Tally, sums


def test_an_attempt_whose_assertions_fail_is_lost():
    tally = Tally()
    with tally.attempt("kills", 3):
        pass
    with pytest.raises(AssertionError), tally.attempt("kills", lambda: 2):
        raise AssertionError
    assert tally.rows() == [{"kind": "kills", "tried": 5, "survived": 3}]


def test_a_skipped_attempt_was_not_tried():
    tally = Tally()
    with pytest.raises(pytest.skip.Exception), tally.attempt("kills"):
        pytest.skip("not here")
    assert tally.rows() == []


def test_rows_of_one_kind_are_added_up_and_facts_are_kept():
    rows = [{"kind": "kills", "tried": 3, "survived": 3}, {"kind": "kills", "tried": 2, "survived": 1, "at": "split"}]
    found = sums(rows, ["a", "a"], seconds=1.4)
    assert found["kills"] == {"tried": 5, "survived": 4, "lost": 1, "at": "split"}
    assert (found["seconds"], found["failed_tests"]) == (1, ["a"])


def test_generated_inputs_are_summed_over_their_kinds():
    rows = [{"kind": kind, "tried": 3, "survived": 2} for kind in ("recipes", "variables", "kills")]
    assert sums(rows, [], 1)["generated_inputs"] == {"tried": 6, "survived": 4, "lost": 2}
    assert "generated_inputs" not in sums(rows[2:], [], 1)


@pytest.mark.slow
def test_a_failing_test_leaves_its_loss_in_the_file(tmp_path: Path):
    written = tmp_path / "faults.json"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-n",
        "0",
        "tests/programs/lost_fault.py",
    ]
    done = subprocess.run(
        [*command, "-p", "tests.faults.conftest"],
        env=os.environ | {"FAULTS_JSON": str(written)},
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stdout
    found = json.loads(written.read_text())
    assert found["kills"] == {"tried": 2, "survived": 1, "lost": 1}
    assert found["failed_tests"] == ["tests/programs/lost_fault.py::test_the_second_of_two_faults_is_not_survived"]
