"""The stage `gate`."""

import json

from age_tasks.environment import Locations
from age_tasks.runs.run import Workspace, open_run
from tests.support.settings import QUICK
from tests.support.stages import run_stages


def test_the_gate_writes_each_rule_with_its_number_bound_and_outcome(finished: Workspace):
    gate = json.loads(finished.input("gate", "gate.json").read_text())
    metrics = json.loads(finished.input("evaluate", "metrics.json").read_text())
    rules = {rule["name"]: rule for rule in gate["rules"]}
    assert rules["test MAE"]["value"] == metrics["finetune"]["mae"]["value"]
    assert all(rule["passed"] for rule in rules.values())
    assert gate["passed"] == finished.require_record("gate").summary["passed"] is True


def test_one_rule_that_fails_fails_the_gate(copied: Locations):
    run_stages("refused", "demo", QUICK | {"gate.max_test_mae": 0.01}, last="gate")
    with open_run("refused", copied) as run:
        gate = json.loads(run.input("gate", "gate.json").read_text())
        assert run.record("evaluate").reused_from == "finished"
    assert not gate["passed"]
    assert [rule["name"] for rule in gate["rules"] if not rule["passed"]] == ["test MAE"]
