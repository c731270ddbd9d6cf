"""Decide whether the fine-tuned model may be published: every rule with its number and its bound.

Writes `gate.json`. A refusal is a result, not a failure: the run continues, and the report gives the reason. The
summary contains what a person sees who is asked to approve. Settings that differ from the recipe's are marked. The
candidate is counted as a challenge of the champion, and judged as that.
"""

import logging

from age_tasks.config import Config, changed_settings
from age_tasks.evaluation.challenges import challenge
from age_tasks.evaluation.gate import gate_result, in_words, judge
from age_tasks.evaluation.results import ChampionComparison, Metrics
from age_tasks.registry.challenges import ChallengeEntry, challenge_number
from age_tasks.runs.records import Summary, now
from age_tasks.runs.run import Workspace

log = logging.getLogger(__name__)


def execute(run: Workspace, config: Config) -> Summary:
    metrics = Metrics.parse(run.input("evaluate", "metrics.json").read_bytes(), run.where("evaluate", "metrics.json"))
    recipe = run.recipe()
    changed = [change for change in changed_settings(config, recipe) if change.name.startswith("gate.")]
    if metrics.champion:
        metrics = metrics.model_copy(update={"champion": with_challenge(run, metrics.champion)})
    rules = judge(metrics, config.gate, recipe.gate)
    gate = gate_result(rules, changed, metrics.champion, config.gate)
    for rule in gate.rules:
        log.info("%s: %s", rule.result, rule.sentence)
    if changed:
        log.warning("the gate's settings differ from the recipe's: %s", in_words(changed))
    log.info("the gate: %s", gate.verdict)
    (run.output_dir / "gate.json").write_bytes(gate.to_bytes())
    return {
        "passed": gate.passed,
        "verdict": gate.verdict,
        "rules": [rule.model_dump(mode="json") for rule in gate.rules],
        "changed": [change.model_dump(mode="json") for change in gate.changed],
        "candidate": {"images": metrics.images, **metrics.finetune.mae.model_dump()},
        "corrected_mae": gate.corrected(metrics.finetune.mae.value),
        "champion": metrics.champion.model_dump(mode="json") if metrics.champion else None,
        "model": _model(run),
    }


def with_challenge(run: Workspace, comparison: ChampionComparison) -> ChampionComparison:
    """The comparison with what is asked of it as one of the champion's challenges, which it is counted as."""
    entry = ChallengeEntry(
        champion=comparison.version,
        model=_model(run),
        test=run.require_record("split").outputs["test.csv"].sha256,
        run=run.key,
        at=now(),
    )
    asked = challenge(comparison, challenge_number(run.store, entry))
    log.info("%s; it is %+.3f years", asked.needed, asked.upper)
    return comparison.model_copy(update={"challenge": asked})


def _model(run: Workspace) -> str:
    return run.require_output("finetune", "model.keras").sha256
