"""The promotion rules: each has a number, a bound, a result (pass or fail) and a reason."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from age_tasks.config import GateSettings

FEW_IMAGES = 30  # the MAE of fewer is too uncertain to judge by


Comparison = Literal["<=", "<"]


@dataclass(frozen=True)
class Rule:
    """One promotion rule, applied to a candidate."""

    name: str
    value: float
    comparison: Comparison  # between value and bound
    bound: float
    unit: str
    why: str
    passed: bool

    @property
    def sentence(self) -> str:
        """The result in words, such as `test MAE: 7.10 is not <= 7.00 years`."""
        verb = "is" if self.passed else "is not"
        return f"{self.name}: {self.value:.2f} {verb} {self.comparison} {self.bound:.2f} {self.unit}".rstrip()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, for `gate.json` and the report."""
        return asdict(self) | {"sentence": self.sentence}


def judge(metrics: Mapping[str, Any], settings: GateSettings) -> list[Rule]:
    """Apply all rules to a candidate, in order.

    Args:
        metrics: the content of `metrics.json`; its `champion` is None before the first promotion.
    """
    candidate = metrics["finetune"]["mae"]["value"]
    median, baseline = metrics["predict_the_median"]["mae"], metrics["baseline"]["mae"]["value"]
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
    return rules + (champion_rules(metrics["champion"], settings) if metrics["champion"] else [])


def champion_rules(comparison: Mapping[str, Any], settings: GateSettings) -> list[Rule]:
    """The rules that compare with the champion; differences are MAE of the candidate less MAE of the champion.

    Args:
        comparison: `value` and `high` (years), `bins`, `new_images` and `drift`; see `evaluation.comparison.compare`.
    """
    rules = [
        _rule(
            "not worse than the champion (upper end of the 95 % interval)",
            comparison["high"],
            "<",
            settings.tolerance_years,
            "The champion must not be replaced by a worse model; the interval allows for chance.",
        )
    ]
    if settings.policy == "better" or not comparison["new_images"]:
        rules += [
            _rule(
                "better than the champion",
                comparison["value"],
                "<=",
                -settings.min_gain_years,
                "The gain must be large enough to justify a change."
                if settings.policy == "better"
                else "Without new images, an equal model is no reason to change.",
            ),
            _rule(
                "better beyond chance (upper end of the 95 % interval)",
                comparison["high"],
                "<",
                0.0,
                "An equally good model scores better half of the time, by chance.",
            ),
        ]
    worst = max((found["low"] for found in comparison["bins"] if found["images"] >= FEW_IMAGES), default=0.0)
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
            comparison["drift"],
            "<=",
            settings.max_drift,
            "If the age distribution has changed, a person must check the labels first.",
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


def _rule(name: str, value: float, comparison: Comparison, bound: float, why: str, unit: str = "years") -> Rule:
    passed = value <= bound if comparison == "<=" else value < bound
    return Rule(name, value, comparison, bound, unit, why, passed)
