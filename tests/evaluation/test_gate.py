import pytest
from hypothesis import given
from hypothesis import strategies as st

from age_tasks.config import Config, GateSettings, changed_settings
from age_tasks.evaluation.gate import judge, passes, verdict
from age_tasks.evaluation.results import Metrics
from tests.support.metrics import CHAMPION, METRICS, metrics_of

SETTINGS = GateSettings(max_test_mae=7.0)


def metrics(finetune: float = 6.0, baseline: float = 8.0, median: float = 13.0, **more: object) -> Metrics:
    models = {"finetune": finetune, "baseline": baseline}
    measured = {name: METRICS[name] | {"mae": {"value": mae, "low": mae, "high": mae}} for name, mae in models.items()}
    return metrics_of(**measured, predict_the_median={"mae": median}, **more)


def against(value: float, low: float, high: float, new_images: int = 300, drift: float = 0.01, bins=()) -> Metrics:
    """Compared with a champion: the difference of the MAEs in years, and its interval."""
    ages = {"low_age": 0, "high_age": 10}
    found = [{"images": images, "value": low, "low": low, "high": low, **ages} for images, low in bins]
    difference = {"value": value, "low": low, "high": high}
    return metrics(champion=CHAMPION | difference | {"new_images": new_images, "drift": drift, "bins": found})


def failed(found: Metrics, settings: GateSettings = SETTINGS) -> list[str]:
    return [rule.name.partition(" (")[0] for rule in judge(found, settings) if not rule.passed]


def test_the_gate_passes_at_its_bound_and_not_beyond():
    assert verdict(judge(metrics(7.0), SETTINGS)) == "passed: all 3 rules hold"
    assert verdict(judge(metrics(7.1), SETTINGS)) == "refused: test MAE: 7.10 is not <= 7.00 years"


@pytest.mark.parametrize(
    ("found", "rule"),
    [
        (metrics(6.0, baseline=6.0), "better than the baseline"),
        (metrics(6.0, median=6.0), "better than predict-the-median"),
        (against(-0.5, -0.7, -0.3, drift=0.26), "drift of ages since the champion's data"),
        (against(-0.5, -0.7, -0.3, bins=[(30, 1.1), (500, -0.5)]), "no age bin worse"),
    ],
)
def test_each_rule_can_refuse_alone(found: Metrics, rule: str):
    assert failed(found) == [rule]


def test_a_better_model_passes():
    assert failed(against(-0.5, -0.7, -0.3)) == []


def test_an_equal_model_passes_only_with_policy_not_worse_and_new_images():
    equal = against(0.0, -0.2, 0.2)
    assert failed(equal) == ["better than the champion", "better beyond chance"]
    enough = SETTINGS.model_copy(update={"policy": "not_worse"})
    assert failed(equal, enough) == []
    assert "better than the champion" in failed(against(0.0, -0.2, 0.2, new_images=0), enough)


def test_a_gain_too_small_to_matter_is_refused_even_beyond_chance():
    assert failed(against(-0.05, -0.08, -0.02)) == ["better than the champion"]


def test_small_age_bins_are_ignored():
    assert failed(against(-0.5, -0.7, -0.3, bins=[(29, 9.0), (500, -0.5)])) == []


@pytest.mark.parametrize(("people", "refused"), [(1, False), (9, False), (10, True), (None, True)])
def test_age_bins_of_few_people_are_ignored(people: int | None, refused: bool):
    found = against(-0.5, -0.7, -0.3, bins=[(200, 9.0)])
    bins = [found.champion.bins[0].model_copy(update={"people": people})]
    known = found.champion.model_copy(update={"bins": tuple(bins), "people": None if people is None else 80})
    found = found.model_copy(update={"champion": known})
    assert failed(found) == (["no age bin worse"] if refused else [])
    (rule,) = [rule for rule in judge(found, SETTINGS) if rule.name.startswith("no age bin worse")]
    assert ("or 10 people are ignored" in rule.why) == (people is not None)
    if not refused:
        assert rule.sentence.endswith("not measured, no age bin has 30 test images of 10 people")


@given(st.floats(-5, 5), st.floats(0, 3), st.sampled_from(["better", "not_worse"]), st.integers(0, 1))
def test_the_gate_passes_exactly_what_the_policy_allows(value: float, half: float, policy: str, new: int):
    found = against(value, value - half, value + half, new_images=new)
    rules = judge(found, SETTINGS.model_copy(update={"policy": policy}))
    better = value <= -SETTINGS.min_gain_years and value + half < 0
    not_worse = value + half < SETTINGS.tolerance_years
    assert passes(rules) == (better if policy == "better" or not new else not_worse)


def test_every_rule_passes_or_fails_by_its_own_number():
    """No rule whose bound another stage has enforced already."""
    found = against(-0.5, -0.7, -0.3, bins=[(500, -0.5)])
    assert [rule.name.partition(" (")[0] for rule in judge(found, SETTINGS)] == [
        "test MAE",
        "better than predict-the-median",
        "better than the baseline",
        "not worse than the champion",
        "better than the champion",
        "better beyond chance",
        "no age bin worse",
        "drift of ages since the champion's data",
    ]


@given(st.floats(-5, 5), st.floats(0, 3), st.floats(0, 2))
def test_a_better_candidate_never_fails_more_rules(value: float, half: float, gain: float):
    before, after = (against(at, at - half, at + half) for at in (value, value - gain))
    assert len(failed(after)) <= len(failed(before))


def test_a_bound_that_differs_from_the_recipe_s_stands_beside_it():
    loosened = GateSettings(max_test_mae=20, tolerance_years=3)
    found = against(0.5, 0.3, 0.7)
    rules = {rule.name.partition(" (")[0]: rule for rule in judge(found, loosened, GateSettings(max_test_mae=9))}
    assert rules["test MAE"].limit == "<= 20.00 years (recipe: 9.00)"
    assert rules["not worse than the champion"].sentence.endswith("0.70 is < 3.00 years (recipe: 0.25)")
    assert rules["better than the champion"].recipe_bound is None
    assert all(rule.recipe_bound is None for rule in judge(found, loosened))


def test_the_verdict_names_the_settings_that_differ_from_the_recipe_s():
    recipe, config = Config(), Config().with_overrides({"gate.max_test_mae": 20, "gate.policy": "not_worse"})
    changed = changed_settings(config, recipe)
    assert verdict(judge(metrics(), config.gate, recipe.gate), changed) == (
        "passed: all 3 rules hold; changed for this run: gate.max_test_mae 20 (recipe: 9), "
        "gate.policy not_worse (recipe: better)"
    )


@pytest.mark.parametrize("bins", [(), [(29, 9.0), (3, -0.5)]])
def test_a_rule_without_a_number_is_not_measured_and_refuses_nothing(bins: list[tuple[int, float]]):
    rules = judge(against(-0.5, -0.7, -0.3, bins=bins), SETTINGS)
    (unmeasured,) = [rule for rule in rules if rule.value is None]
    assert unmeasured.result == "not measured"
    assert unmeasured.sentence.endswith("not measured, no age bin has 30 test images")
    assert verdict(rules) == "passed: all 7 rules hold; not measured: no age bin worse"
