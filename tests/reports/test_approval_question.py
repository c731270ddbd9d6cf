from typing import Any

import pytest

from age_tasks.config import Config, SettingChange, changed_settings
from age_tasks.evaluation.gate import gate_result, judge
from age_tasks.reports.approval_question import RunFacts, question
from age_tasks.reports.gate_summary import SHEETS_OF_CHANGES
from tests.support.metrics import CHAMPION, comparison_of, metrics_of

LOOSE = {"gate.max_test_mae": 20, "gate.tolerance_years": 3}


def judged(champion: dict[str, Any] | None = None, **overrides: object) -> dict[str, Any]:
    """The summary of the gate, as its stage writes it."""
    recipe, config = Config(), Config().with_overrides(overrides)
    changed = changed_settings(config, recipe)
    result = gate_result(judge(metrics_of(champion=champion), config.gate, recipe.gate), changed)
    return {
        "passed": result.passed,
        "verdict": result.verdict,
        "rules": [rule.model_dump(mode="json") for rule in result.rules],
        "changed": [change.model_dump(mode="json") for change in result.changed],
        "candidate": {"images": 40, "value": 7.065, "low": 6.71, "high": 7.42},
        "corrected_mae": result.corrected(7.065),
        "champion": comparison_of(**champion).model_dump(mode="json") if champion else None,
    }


def facts(**changed: Any) -> RunFacts:
    plain: dict[str, Any] = {"recipe": "demo", "changed": (), "seconds": {}, "reused": (), "faces": ()}
    return RunFacts(**(plain | changed))


def ask(summary: dict[str, Any], found: RunFacts | None) -> str:
    return question(summary, "/report", found, "/age/age_retraining/monday")


def test_the_question_begins_with_the_verdict_and_ends_with_the_report():
    text = ask(judged(), facts())
    assert text.startswith("The gate: **passed: all 3 rules hold**.")
    assert text.endswith("[The model report](/report)")
    assert "There is no champion yet." in text


def test_the_question_is_short_so_that_the_buttons_below_it_are_on_the_screen():
    changes = tuple(SettingChange(name=f"finetune.setting_{number}", value=1, recipe=2) for number in range(5))
    bins = [bin_ | {"candidate_mae": 7.0, "champion_mae": 7.5} for bin_ in CHAMPION["bins"]]
    text = ask(judged(CHAMPION | {"bins": bins}), facts(changed=changes))
    assert len([line for line in text.splitlines() if line.startswith("|")]) == 5
    assert len(text.split("\n\n")) <= 8
    assert "![" not in text


def test_settings_that_differ_from_the_recipe_are_listed_with_the_recipe_s_value():
    changes = (SettingChange(name="gate.max_test_mae", value=20, recipe=9.0),)
    text = ask(judged(CHAMPION, **LOOSE), facts(changed=changes))
    assert "**1 setting differs from the recipe demo**, its value in brackets: gate.max_test_mae **20** (9)." in text


def test_rules_with_another_bound_than_the_recipe_s_are_bold():
    text = ask(judged(CHAMPION, **LOOSE), facts())
    assert "**test MAE 7.07 \\<= 20.00 years (recipe: 9.00): pass**" in text
    assert "\\< 3.00 years (recipe: 0.25): pass**" in text
    assert "; better than predict-the-median 7.07 \\< " in text


def test_without_the_store_the_gate_s_own_changes_are_shown():
    text = ask(judged(CHAMPION, **LOOSE), None)
    assert "**2 settings differ from the recipe**" in text
    assert "gate.tolerance_years **3** (0.25)" in text


def test_candidate_and_champion_are_shown_overall_and_by_age():
    bins = [bin_ | {"candidate_mae": 7.0, "champion_mae": 7.5} for bin_ in CHAMPION["bins"]]
    text = ask(judged(CHAMPION | {"bins": bins}), facts())
    assert "on the same 40 test images: **-0.35 years** (95 % interval -0.61 to -0.09): better." in text
    rows = {line.split(" | ")[0]: line.split(" | ")[1:] for line in text.splitlines() if line.startswith("|")}
    assert rows["| test MAE (years)"] == ["all ages (40)", "20–30 (31)", "40–50 (8\\*) |"]
    assert rows["| candidate"] == ["7.07", "7.00", "7.00 |"]
    assert rows["| champion, v4"] == ["7.41", "7.50", "7.50 |"]
    assert rows["| difference"] == ["**-0.35**", "**-0.50**", "+0.30 |"]
    assert text.count("*: fewer than 30 images.") == 1


def test_ages_of_few_people_are_marked_and_not_bold():
    bins = [bin_ | {"people": people} for bin_, people in zip(CHAMPION["bins"], (3, 8), strict=True)]
    text = ask(judged(CHAMPION | {"bins": bins, "people": 11}), facts())
    assert "20–30 (31\\*) | 40–50 (8\\*) |" in text
    assert "| difference | **-0.35** | -0.50 | +0.30 |" in text
    assert "*: fewer than 30 images or 10 people." in text


def test_the_challenge_and_the_mae_corrected_for_its_selection_are_shown():
    needs_more = {"challenge": {"number": 3, "level": 0.9917, "upper": -0.02}}
    summary = judged(CHAMPION | needs_more, **{"gate.policy": "better"})
    assert "better beyond chance (challenge 3 of this champion: " in ask(summary, facts())
    assert "images: 7.07 years (95 % interval 6.71 to 7.42), 7.15 corrected for its selection." in ask(
        summary | {"corrected_mae": 7.148}, facts()
    )
    assert "corrected" not in ask(summary | {"corrected_mae": None}, facts())


def test_new_images_cost_and_changed_faces_are_shown():
    text = ask(
        judged(CHAMPION),
        facts(
            seconds={"finetune": 754.2, "gate": 0.02}, reused=("snapshot", "baseline"), faces=tuple(SHEETS_OF_CHANGES)
        ),
    )
    assert "509 images are new since v4" in text
    assert "Cost: 754 seconds of computing (finetune 754 s); reused: snapshot, baseline." in text
    assert "[faces that got worse](/age/age_retraining/monday/evaluate/got_worse.png)" in text
    assert "[faces that got better](/age/age_retraining/monday/evaluate/got_better.png)" in text
    assert "faces that got" not in ask(judged(CHAMPION), facts(faces=()))


def test_a_rule_that_could_not_be_measured_says_so():
    assert "\\<= 1.00 years: not measured**" in ask(judged(CHAMPION | {"bins": []}), facts())


@pytest.mark.parametrize("evil", ["[x](javascript:alert(1))", "![x](//host/y.png)", "a | b\n\n# c", "<script>"])
def test_a_setting_of_others_is_text(evil: str):
    changes = (SettingChange(name="model.weights", value=evil, recipe="imagenet"),)
    text = ask(judged(), facts(changed=changes, recipe=evil))
    assert evil not in text
    (line,) = [line for line in text.splitlines() if "model.weights" in line]
    assert line.startswith("**1 setting differs")
