"""Decide whether the fine-tuned model may be published: every rule with its number and its bound.

Writes `gate.json`. A refusal is a result, not a failure: the run goes on and the report says why. The summary is what
a person is shown who is asked to approve.
"""

import json

from age_tasks.config import Config
from age_tasks.evaluation.gate import judge, passes, verdict
from age_tasks.runs.records import Summary
from age_tasks.runs.run import Workspace

SHOWN_OF_RULE = ("name", "value", "comparison", "bound", "unit", "passed")
SHOWN_OF_CHAMPION = ("name", "images", "candidate_mae", "champion_mae", "value", "low", "high")


def execute(run: Workspace, config: Config) -> Summary:
    metrics = json.loads(run.input("evaluate", "metrics.json").read_text())
    rules = judge(metrics, config.gate)
    gate = {"passed": passes(rules), "verdict": verdict(rules), "rules": [rule.to_dict() for rule in rules]}
    (run.output_dir / "gate.json").write_text(json.dumps(gate, indent=2, ensure_ascii=False) + "\n")
    return {
        "passed": gate["passed"],
        "verdict": gate["verdict"],
        "rules": [{name: rule[name] for name in SHOWN_OF_RULE} for rule in gate["rules"]],
        "candidate": {"images": metrics["images"], **metrics["finetune"]["mae"]},
        "champion": metrics["champion"] and {name: metrics["champion"][name] for name in SHOWN_OF_CHAMPION},
        "model": run.require_record("finetune").outputs["model.keras"].sha256,
    }
