"""Decide whether the fine-tuned model may be published: every rule with its number and its bound.

Writes `gate.json`. A refusal is a result, not a failure: the run continues, and the report gives the reason. The
summary contains what a person sees who is asked to approve.
"""

from age_tasks.config import Config
from age_tasks.evaluation.gate import gate_result, judge
from age_tasks.evaluation.results import Metrics
from age_tasks.runs.records import Summary
from age_tasks.runs.run import Workspace

RULE_FIELDS = {"name", "value", "comparison", "bound", "unit", "passed"}
CHAMPION_FIELDS = {"name", "images", "candidate_mae", "champion_mae", "value", "low", "high"}


def execute(run: Workspace, config: Config) -> Summary:
    metrics = Metrics.parse(run.input("evaluate", "metrics.json").read_bytes(), run.where("evaluate", "metrics.json"))
    gate = gate_result(judge(metrics, config.gate))
    (run.output_dir / "gate.json").write_bytes(gate.to_bytes())
    return {
        "passed": gate.passed,
        "verdict": gate.verdict,
        "rules": [rule.model_dump(include=RULE_FIELDS) for rule in gate.rules],
        "candidate": {"images": metrics.images, **metrics.finetune.mae.model_dump()},
        "champion": metrics.champion.model_dump(include=CHAMPION_FIELDS) if metrics.champion else None,
        "model": run.require_record("finetune").outputs["model.keras"].sha256,
    }
