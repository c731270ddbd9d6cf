"""The promotion rules: each has a number, a bound, a result (pass or fail) and a reason."""

from collections.abc import Sequence
from typing import Literal

from age_tasks.config import GateSettings
from age_tasks.evaluation.results import ChampionComparison, GateResult, Metrics, Rule

FEW_IMAGES = 30  # the MAE of fewer is too uncertain to judge by


def judge(metrics: Metrics, settings: GateSettings) -> list[Rule]:
    """Apply all rules to a candidate, in order.

    Those that compare with the champion are left out before the first promotion.
    """
    candidate, baseline = metrics.finetune.mae.value, metrics.baseline.mae.value
    median = metrics.predict_the_median.mae
    rules = [
        _rule(
            "test MAE",
            candidate,
            "<=",
            settings.max_test_mae,
            "The error must be small enough for the model to be useful.",
        ),
        _rule("better than predict-the-median", candidate, "<", median, "A model must beat a constant prediction."),
        _rule("better than the baseline", candidate, "<", baseline, "Fine-tuning must improve on the baseline."),
    ]
    return rules + (champion_rules(metrics.champion, settings) if metrics.champion else [])


def champion_rules(comparison: ChampionComparison, settings: GateSettings) -> list[Rule]:
    """The rules that compare with the champion; differences are MAE of the candidate less MAE of the champion."""
    rules = [
        _rule(
            "not worse than the champion (upper end of the 95 % interval)",
            comparison.high,
            "<",
            settings.tolerance_years,
            "The champion must not be replaced by a worse model; the interval allows for chance.",
        )
    ]
    if settings.policy == "better" or not comparison.new_images:
        rules += [
            _rule(
                "better than the champion",
                comparison.value,
                "<=",
                -settings.min_gain_years,
                "The gain must be large enough to justify a change."
                if settings.policy == "better"
                else "Without new images, an equal model is no reason to change.",
            ),
            _rule(
                "better beyond chance (upper end of the 95 % interval)",
                comparison.high,
                "<",
                0.0,
                "An equally good model scores better half of the time, by chance.",
            ),
        ]
    worst = max((found.low for found in comparison.bins if found.images >= FEW_IMAGES), default=0.0)
    rules.append(
        _rule(
            "no age bin worse (lower end of the worst bin's 95 % interval)",
            worst,
            "<=",
            settings.max_bin_regression_years,
            f"No age group may get worse for a better mean; bins with fewer than {FEW_IMAGES} images are ignored.",
        )
    )
    rules.append(
        _rule(
            "drift of ages since the champion's data",
            comparison.drift,
            "<=",
            settings.max_drift,
            "If the age distribution has changed, a person must check the labels; then raise gate.max_drift.",
            unit="",
        )
    )
    return rules


def passes(rules: Sequence[Rule]) -> bool:
    """Whether all rules hold."""
    return all(rule.passed for rule in rules)


def verdict(rules: Sequence[Rule]) -> str:
    """One sentence: passed, or the rules that failed with number and bound."""
    failed = [rule.sentence for rule in rules if not rule.passed]
    return "refused: " + "; ".join(failed) if failed else f"passed: all {len(rules)} rules hold"


def gate_result(rules: Sequence[Rule]) -> GateResult:
    """The content of `gate.json`."""
    return GateResult(passed=passes(rules), verdict=verdict(rules), rules=tuple(rules))


def _rule(name: str, value: float, comparison: Literal["<=", "<"], bound: float, why: str, unit: str = "years") -> Rule:
    passed = value <= bound if comparison == "<=" else value < bound
    verb = "is" if passed else "is not"
    sentence = f"{name}: {value:.2f} {verb} {comparison} {bound:.2f} {unit}".rstrip()
    return Rule(
        name=name,
        value=value,
        comparison=comparison,
        bound=bound,
        unit=unit,
        why=why,
        passed=passed,
        sentence=sentence,
    )
