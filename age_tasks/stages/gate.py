"""Decide whether the fine-tuned model may be published: every rule with its number and its bound.

Writes `gate.json`. A refusal is a result, not a failure: the run goes on and the report says why.
"""

import json

from age_tasks.config import Config
from age_tasks.gate import judge, passes, verdict
from age_tasks.runs import Run, Summary


def run(run: Run, config: Config) -> Summary:
    rules = judge(json.loads(run.input("evaluate", "metrics.json").read_text()), config.gate)
    gate = {"passed": passes(rules), "verdict": verdict(rules), "rules": [rule.to_dict() for rule in rules]}
    (run.out / "gate.json").write_text(json.dumps(gate, indent=2, ensure_ascii=False) + "\n")
    return {"passed": gate["passed"], "verdict": gate["verdict"]}
