"""The promotion rules: each a number, a bound, pass or fail, and a sentence that says why it is asked."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from age_tasks.config import GateSettings

FEW_IMAGES = 30  # a smaller age bin says little


@dataclass(frozen=True)
class Rule:
    """One question to the candidate and its answer."""

    name: str
    value: float
    comparison: str  # between value and bound: "<=" or "<"
    bound: float
    unit: str
    why: str
    passed: bool

    @property
    def sentence(self) -> str:
        """The answer in words, such as `test MAE: 7.10 is not <= 7.00 years`."""
        said = "is" if self.passed else "is not"
        return f"{self.name}: {self.value:.2f} {said} {self.comparison} {self.bound:.2f} {self.unit}".rstrip()

    def to_dict(self) -> dict:
        """Plain JSON types, for `gate.json` and the report."""
        return asdict(self) | {"sentence": self.sentence}


def judge(metrics: dict, settings: GateSettings) -> list[Rule]:
    """All rules, in order.

    Args:
        metrics: what `evaluate` wrote to `metrics.json`; its `champion` is None before the first promotion.
    """
    candidate = metrics["finetune"]["mae"]["value"]
    median, baseline = metrics["predict_the_median"]["mae"], metrics["baseline"]["mae"]["value"]
    rules = [
        _rule("test MAE", candidate, "<=", settings.max_test_mae, "The error must be small enough to be of use."),
        _rule("better than predict-the-median", candidate, "<", median, "A model must beat a constant."),
        _rule("better than the baseline", candidate, "<", baseline, "Fine-tuning must be worth its cost."),
    ]
    return rules + (against_champion(metrics["champion"], settings) if metrics["champion"] else [])


def against_champion(comparison: dict, settings: GateSettings) -> list[Rule]:
    """The rules that need a champion; differences are MAE of the candidate less MAE of the champion.

    Args:
        comparison: `value` and `high` (years), `bins`, `new_images` and `drift`; see `evaluation.comparison.compare`.
    """
    rules = [
        _rule(
            "not worse than the champion (upper end of the 95 % interval)",
            comparison["high"],
            "<",
            settings.tolerance_years,
            "What is in use must not be replaced by something worse, chance allowed for.",
        )
    ]
    if settings.policy == "better" or not comparison["new_images"]:
        rules += [
            _rule(
                "better than the champion",
                comparison["value"],
                "<=",
                -settings.min_gain_years,
                "A change must be worth the trouble."
                if settings.policy == "better"
                else "Without new images an equal model is no reason for a change.",
            ),
            _rule(
                "better beyond chance (upper end of the 95 % interval)",
                comparison["high"],
                "<",
                0.0,
                "An equal model looks better half of the time.",
            ),
        ]
    worst = max((found["low"] for found in comparison["bins"] if found["images"] >= FEW_IMAGES), default=0.0)
    rules.append(
        _rule(
            "no age bin worse (lower end of the worst bin's 95 % interval)",
            worst,
            "<=",
            settings.max_bin_regression_years,
            f"A better mean must not be paid for by one age; bins with fewer than {FEW_IMAGES} images are passed over.",
        )
    )
    drift = "A population that has changed needs a person's look at the labels first."
    rules.append(
        _rule("drift of ages since the champion's data", comparison["drift"], "<=", settings.max_drift, drift, "")
    )
    return rules


def passes(rules: Sequence[Rule]) -> bool:
    """Whether all rules hold."""
    return all(rule.passed for rule in rules)


def verdict(rules: Sequence[Rule]) -> str:
    """One sentence: passed, or the rules that failed with number and bound."""
    failed = [rule.sentence for rule in rules if not rule.passed]
    return "refused: " + "; ".join(failed) if failed else f"passed: all {len(rules)} rules hold"


def _rule(name: str, value: float, comparison: str, bound: float, why: str, unit: str = "years") -> Rule:
    return Rule(
        name, value, comparison, bound, unit, why, passed=value <= bound if comparison == "<=" else value < bound
    )
