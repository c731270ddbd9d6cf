"""The promotion rules: each has a number, a bound, a result (pass or fail) and a reason."""

from collections.abc import Sequence
from typing import Literal

from age_tasks.config import GateSettings, SettingChange
from age_tasks.evaluation.results import ChampionComparison, GateResult, Metrics, Rule

FEW_IMAGES = 30  # the MAE of fewer is too uncertain to judge by


def judge(metrics: Metrics, settings: GateSettings, recipe: GateSettings | None = None) -> list[Rule]:
    """Apply all rules to a candidate, in order.

    Those that compare with the champion are left out before the first promotion.

    Args:
        recipe: the bounds of the recipe, which the rules show beside those of the run where they differ.
    """
    recipe = recipe or settings
    candidate, baseline = metrics.finetune.mae.value, metrics.baseline.mae.value
    median = metrics.predict_the_median.mae
    rules = [
        _rule(
            "test MAE",
            candidate,
            "<=",
            settings.max_test_mae,
            "The error must be small enough for the model to be useful.",
            recipe_bound=recipe.max_test_mae,
        ),
        _rule("better than predict-the-median", candidate, "<", median, "A model must beat a constant prediction."),
        _rule("better than the baseline", candidate, "<", baseline, "Fine-tuning must improve on the baseline."),
    ]
    return rules + (champion_rules(metrics.champion, settings, recipe) if metrics.champion else [])


def champion_rules(comparison: ChampionComparison, settings: GateSettings, recipe: GateSettings) -> list[Rule]:
    """The rules that compare with the champion; differences are MAE of the candidate less MAE of the champion."""
    rules = [
        _rule(
            "not worse than the champion (upper end of the 95 % interval)",
            comparison.high,
            "<",
            settings.tolerance_years,
            "The champion must not be replaced by a worse model; the interval allows for chance.",
            recipe_bound=recipe.tolerance_years,
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
                recipe_bound=-recipe.min_gain_years,
            ),
            _rule(
                "better beyond chance (upper end of the 95 % interval)",
                comparison.high,
                "<",
                0.0,
                "An equally good model scores better half of the time, by chance.",
            ),
        ]
    rules.append(
        _rule(
            "no age bin worse (lower end of the worst bin's 95 % interval)",
            max((found.low for found in comparison.bins if found.images >= FEW_IMAGES), default=None),
            "<=",
            settings.max_bin_regression_years,
            f"No age group may get worse for a better mean; bins with fewer than {FEW_IMAGES} images are ignored.",
            recipe_bound=recipe.max_bin_regression_years,
            missing=f"no age bin has {FEW_IMAGES} test images",
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
            recipe_bound=recipe.max_drift,
        )
    )
    return rules


def passes(rules: Sequence[Rule]) -> bool:
    """Whether all rules hold that could be measured."""
    return all(rule.passed for rule in rules)


def verdict(rules: Sequence[Rule], changed: Sequence[SettingChange] = ()) -> str:
    """One sentence: passed, or the rules that failed with number and bound; and the settings that differ."""
    if failed := [rule.sentence for rule in rules if not rule.passed]:
        result = "refused: " + "; ".join(failed)
    else:
        unmeasured = [rule.name.partition(" (")[0] for rule in rules if rule.value is None]
        measured = len(rules) - len(unmeasured)
        result = f"passed: all {measured} rules hold" + "".join(f"; not measured: {name}" for name in unmeasured)
    return result + (f"; changed for this run: {in_words(changed)}" if changed else "")


def in_words(changed: Sequence[SettingChange]) -> str:
    """The changed settings in one line, such as `gate.max_test_mae 20 (recipe: 9)`."""
    return ", ".join(change.sentence for change in changed)


def gate_result(rules: Sequence[Rule], changed: Sequence[SettingChange] = ()) -> GateResult:
    """The content of `gate.json`."""
    return GateResult(passed=passes(rules), verdict=verdict(rules, changed), rules=tuple(rules), changed=tuple(changed))


def _rule(
    name: str,
    value: float | None,
    comparison: Literal["<=", "<"],
    bound: float,
    why: str,
    unit: str = "years",
    *,
    recipe_bound: float | None = None,
    missing: str = "",
) -> Rule:
    """A rule with its result.

    Args:
        recipe_bound: the bound of the recipe, if the rule has a setting.
        missing: why there is no value, where it is None.
    """
    passed = value is None or (value <= bound if comparison == "<=" else value < bound)
    rule = Rule(
        name=name,
        value=value,
        comparison=comparison,
        bound=bound,
        unit=unit,
        why=why,
        passed=passed,
        sentence="",
        recipe_bound=None if recipe_bound == bound else recipe_bound,
    )
    result = f"not measured, {missing}" if value is None else f"{value:.2f} {'is' if passed else 'is not'} {rule.limit}"
    return rule.model_copy(update={"sentence": f"{name}: {result}"})
