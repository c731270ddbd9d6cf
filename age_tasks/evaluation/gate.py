"""The promotion rules: each has a number, a bound, a result (pass or fail) and a reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from age_tasks.config import GateSettings, SettingChange
from age_tasks.evaluation.challenges import ERROR_IN_OFFICE, challenge
from age_tasks.evaluation.enough import enough_in_words, too_few_in_words
from age_tasks.evaluation.results import ChampionComparison, GateResult, Metrics, Rule, SliceMetrics
from age_tasks.evaluation.selection import selection


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
    rules += _gap_rules(metrics, settings, recipe)
    return rules + (champion_rules(metrics.champion, settings, recipe) if metrics.champion else [])


def _gap_rules(metrics: Metrics, settings: GateSettings, recipe: GateSettings) -> list[Rule]:
    """The bound on the gap between the slices of a column; none where it is not set, or there are no slices."""
    if not (settings.max_slice_gap_years and metrics.slices):
        return []
    gap, people_known = largest_gap(metrics.slices), metrics.people is not None
    named = f" ({gap.column}: {gap.worst} against {gap.best})" if gap else ""
    return [
        _rule(
            f"gap between slices{named}",
            gap.years if gap else None,
            "<=",
            settings.max_slice_gap_years,
            f"The error must be alike for all groups; slices with {too_few_in_words(people_known)} are ignored.",
            recipe_bound=recipe.max_slice_gap_years,
            missing=f"no column has two slices of {enough_in_words(people_known, 'test images')}",
        )
    ]


@dataclass(frozen=True)
class Gap:
    """The slices of a column with the highest and the lowest MAE, and the difference in years."""

    column: str
    worst: str
    best: str
    years: float


def largest_gap(slices: Sequence[SliceMetrics]) -> Gap | None:
    """The largest difference between two slices of one column; None if no column has two that are large enough."""
    enough = [each for each in slices if not each.too_few]
    gaps = []
    for column in dict.fromkeys(each.column for each in enough):
        ranked = sorted((each for each in enough if each.column == column), key=lambda each: each.mae.value)
        best, worst = ranked[0], ranked[-1]
        if len(ranked) > 1:
            gaps.append(Gap(column, worst.value, best.value, round(worst.mae.value - best.mae.value, 4)))
    return max(gaps, key=lambda gap: gap.years, default=None)


def champion_rules(comparison: ChampionComparison, settings: GateSettings, recipe: GateSettings) -> list[Rule]:
    """The rules that compare with the champion; differences are MAE of the candidate less MAE of the champion.

    A comparison that does not know which challenge of the champion it is counts as the first.
    """
    asked, people_known = comparison.challenge or challenge(comparison, 1), comparison.people is not None
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
    if _must_be_better(comparison, settings):
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
                f"better beyond chance (challenge {asked.number} of this champion: upper end of the "
                f"{asked.level_shown} interval)",
                asked.upper,
                "<",
                0.0,
                "An equally good model scores better half of the time, by chance. The more often a champion was "
                f"challenged, the surer: {ERROR_IN_OFFICE:.0%} of chance are for its whole time in office.",
            ),
        ]
    rules.append(
        _rule(
            "no age bin worse (lower end of the worst bin's 95 % interval)",
            max((found.low for found in comparison.bins if not found.too_few), default=None),
            "<=",
            settings.max_bin_regression_years,
            f"No age group may get worse for a better mean; bins with {too_few_in_words(people_known)} are ignored.",
            recipe_bound=recipe.max_bin_regression_years,
            missing=f"no age bin has {enough_in_words(people_known, 'test images')}",
        )
    )
    if comparison.slices:
        worst = max(comparison.slices, key=lambda each: each.lower_bound)
        rules.append(
            _rule(
                f"no slice worse (lower bound for all together; worst: {worst.column} = {worst.slice_value})",
                worst.lower_bound,
                "<=",
                settings.max_slice_regression_years,
                "No group of people may get worse for a better mean; the bound allows for chance in all slices.",
                recipe_bound=recipe.max_slice_regression_years,
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


def _must_be_better(comparison: ChampionComparison, settings: GateSettings) -> bool:
    return settings.policy == "better" or not comparison.new_images


def passing_difference(comparison: ChampionComparison, settings: GateSettings) -> float:
    """The difference in years below which a candidate passes the rules about the MAE of all ages."""
    below = [settings.tolerance_years - (comparison.high - comparison.value)]
    if _must_be_better(comparison, settings):
        asked = comparison.challenge or challenge(comparison, 1)
        below += [-settings.min_gain_years, comparison.value - asked.upper]
    return min(below)


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


def gate_result(
    rules: Sequence[Rule],
    changed: Sequence[SettingChange] = (),
    comparison: ChampionComparison | None = None,
    settings: GateSettings | None = None,
) -> GateResult:
    """The content of `gate.json`.

    Args:
        comparison: with the champion, if there is one, as one of its challenges.
        settings: of the rules, for the comparison.
    """
    passed, asked, chosen = passes(rules), None, None
    if comparison and settings:
        asked = comparison.challenge if _must_be_better(comparison, settings) else None
        chosen = selection(comparison, passing_difference(comparison, settings)) if passed else None
    return GateResult(
        passed=passed,
        verdict=verdict(rules, changed),
        rules=tuple(rules),
        changed=tuple(changed),
        challenge=asked,
        selection=chosen,
    )


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
