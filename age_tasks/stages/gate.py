"""Decide whether the fine-tuned model may be published: every rule with its number and its bound.

Writes `gate.json`. A refusal is a result, not a failure: the run goes on and the report says why.
"""

import json
from collections.abc import Sequence

from age_tasks.config import Config, GateSettings
from age_tasks.runs import Run, Summary


def run(run: Run, config: Config) -> Summary:
    metrics = json.loads(run.input("evaluate", "metrics.json").read_text())
    rules = judge(metrics, config.gate)
    passed = all(rule["passed"] for rule in rules)
    (run.out / "gate.json").write_text(json.dumps({"passed": passed, "rules": rules}, indent=2) + "\n")
    return {"passed": passed, "verdict": verdict(rules)}


def judge(metrics: dict, settings: GateSettings) -> list[dict]:
    """The rules in order; each with name, value, bound (years), comparison, passed, and why it is asked.

    Args:
        metrics: what `evaluate` wrote to `metrics.json`.
    """
    candidate = metrics["finetune"]["mae"]["value"]
    median, baseline = metrics["predict_the_median"]["mae"], metrics["baseline"]["mae"]["value"]
    return [
        _rule("test MAE", candidate, "<=", settings.max_test_mae, "The error must be small enough to be of use."),
        _rule("better than predict-the-median", candidate, "<", median, "A model must beat a constant."),
        _rule("better than the baseline", candidate, "<", baseline, "Fine-tuning must be worth its cost."),
    ]


def verdict(rules: Sequence[dict]) -> str:
    """One sentence: passed, or the rules that failed with number and bound."""
    failed = [rule for rule in rules if not rule["passed"]]
    if not failed:
        return f"passed: all {len(rules)} rules hold"
    return "refused: " + "; ".join(
        f"{rule['name']}: {rule['value']:.2f} is not {rule['comparison']} {rule['bound']:.2f} years" for rule in failed
    )


def _rule(name: str, value: float, comparison: str, bound: float, why: str) -> dict:
    passed = value <= bound if comparison == "<=" else value < bound
    rule = {"name": name, "value": value, "comparison": comparison, "bound": bound, "unit": "years"}
    return {**rule, "passed": passed, "why": why}
