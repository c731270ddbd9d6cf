"""Decide whether the fine-tuned model may be published: every rule with its number and its bound.

Writes `gate.json`. A refusal is a result, not a failure: the run continues, and the report gives the reason. The
summary contains what a person sees who is asked to approve.
"""

import json

from age_tasks.config import Config
from age_tasks.evaluation.gate import judge, passes, verdict
from age_tasks.runs.records import Summary
from age_tasks.runs.run import Workspace

RULE_FIELDS = ("name", "value", "comparison", "bound", "unit", "passed")
CHAMPION_FIELDS = ("name", "images", "candidate_mae", "champion_mae", "value", "low", "high")


def execute(run: Workspace, config: Config) -> Summary:
    metrics = json.loads(run.input("evaluate", "metrics.json").read_text())
    rules = judge(metrics, config.gate)
    documents = [rule.to_dict() for rule in rules]
    gate = {"passed": passes(rules), "verdict": verdict(rules), "rules": documents}
    (run.output_dir / "gate.json").write_text(json.dumps(gate, indent=2, ensure_ascii=False) + "\n")
    return {
        "passed": gate["passed"],
        "verdict": gate["verdict"],
        "rules": [{name: rule[name] for name in RULE_FIELDS} for rule in documents],
        "candidate": {"images": metrics["images"], **metrics["finetune"]["mae"]},
        "champion": metrics["champion"] and {name: metrics["champion"][name] for name in CHAMPION_FIELDS},
        "model": run.require_record("finetune").outputs["model.keras"].sha256,
    }
