"""The trigger form: what its fields accept, say and show."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from age_retraining_plugin.form import retraining_form
from age_retraining_plugin.runtimes.outcome import TaskFailedForGood
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import ParamValidationError

from age_tasks.config import allowed_values, describe_recipe, known_settings, load_recipe, recipe_names, setting_schema
from tests.support.trigger_conf import applied, form_of_rollback

NUMBERS = [name for name in known_settings() if setting_schema(name)["type"] in {"integer", "number"}]


def taken(name: str, value: Any) -> Any:
    """The value as Airflow keeps it in the conf of a run.

    Raises:
        ParamValidationError: Airflow refuses it.
    """
    return copy.copy(ParamsDict(retraining_form()).get_param(name)).resolve(value)


@pytest.mark.parametrize(
    ("name", "typed", "meant"),
    [
        ("baseline.learning_rate", "1e-3", 1e-3),
        ("finetune.learning_rate", "5e-05", 5e-5),
        ("finetune.learning_rate", "0.00005", 5e-5),
        ("finetune.learning_rate", ".5", 0.5),
        ("finetune.learning_rate", 5e-5, 5e-5),
        ("model.image_size", "160", 160),
        ("model.image_size", 160, 160),
        ("augmentation.test_time_augmentation", "false", False),
        ("augmentation.test_time_augmentation", True, True),
        ("evaluate.bin_edges", [0, 50, 100], [0, 50, 100]),
        ("split.bins", "equal_width", "equal_width"),
        ("data.split_column", "", ""),
    ],
)
def test_a_typed_value_arrives_as_it_was_typed_and_means_what_it_says(name: str, typed: Any, meant: Any):
    assert taken(name, typed) == typed
    section, _, field = name.partition(".")
    config = load_recipe("demo").with_overrides(json.loads(json.dumps(applied({name: typed, "recipe": "demo"}))))
    assert config.section(section)[field] == meant


def test_null_leaves_a_field_to_the_recipe_and_means_an_empty_text_among_the_free_settings():
    assert applied({"recipe": "demo", "data.split_column": None}) == {}
    assert applied({"recipe": "demo", "settings": {"data.split_column": None}}) == {"data.split_column": None}
    with pytest.raises(TaskFailedForGood, match=r"finetune.epochs = None: Input should be a valid integer"):
        applied({"recipe": "demo", "settings": {"finetune.epochs": None}})


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("baseline.epochs", "-4"),
        ("baseline.epochs", "1e1"),
        ("baseline.epochs", "2.5"),
        ("baseline.learning_rate", "-1e-3"),
        ("baseline.learning_rate", "0,001"),
        ("baseline.learning_rate", "1e"),
        ("baseline.learning_rate", "٣"),
        ("baseline.learning_rate", ""),
        ("approval_hours", "-4"),
    ],
)
def test_a_text_that_is_no_such_number_is_refused_in_the_form(name: str, typed: str):
    with pytest.raises(ParamValidationError, match=r"does not match '\(\?#a (whole )?number") as refusal:
        taken(name, typed)
    assert repr(typed) in str(refusal.value)


@pytest.mark.parametrize(
    ("conf", "says"),
    [
        ({"model.image_size": "5"}, "model.image_size = '5': Input should be greater than or equal to 32"),
        ({"baseline.learning_rate": "13"}, "baseline.learning_rate = '13': Input should be less than or equal to 1"),
        ({"finetune": {"epochs": 0}}, "finetune.epochs = 0: Input should be greater than or equal to 1"),
        ({"settings": {"split.seed": -1}}, "split.seed = -1: Input should be greater than or equal to 0"),
        ({"finetune.last_layers": "999"}, "finetune.last_layers = 999: efficientnet_lite0 has 140 layers"),
        ({"model.backbone": "inceptionv3", "model.image_size": "64"}, "too small for inceptionv3; give at least 75"),
        ({"approval_hours": "0"}, "approval_hours = '0': must be above 0, at most 720"),
        ({"approval_hours": "721"}, "approval_hours = '721': must be above 0, at most 720"),
    ],
)
def test_a_number_out_of_its_bounds_is_refused_before_anything_is_computed(conf: dict[str, Any], says: str):
    with pytest.raises(TaskFailedForGood) as refusal:
        applied({"recipe": "demo", **conf})
    assert says in str(refusal.value)
    assert str(refusal.value).endswith("; nothing was computed; correct the conf and trigger the run again")


def test_values_are_not_checked_against_a_recipe_that_only_the_stage_can_read():
    assert applied({"recipe": "/in/the/image/own.yaml", "finetune.epochs": "0"}) == {"finetune.epochs": "0"}


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_is_a_plain_input_with_both_bounds_and_what_the_recipes_say(name: str):
    field = retraining_form()[name]
    schema = field.schema
    assert schema["type"] == ["null", "string", setting_schema(name)["type"]]
    assert isinstance(schema["examples"], list), "Airflow would show a field for JSON"
    assert {"minimum", "exclusiveMinimum"} & schema.keys()
    assert {"maximum", "exclusiveMaximum"} & schema.keys()
    assert allowed_values(name) in field.description
    assert "ecipes: " in field.description


def test_a_field_shows_what_each_recipe_says():
    form = retraining_form()
    rates = "demo 0.0001, gpu_full 0.0001, quick 0.001, reference 5e-05, strong 0.001, strong_resnet50 0.0001"
    assert form["finetune.learning_rate"].description.endswith(f"Recipes: {rates}")
    assert form["finetune.learning_rate"].schema["examples"] == ["0.0001", "0.001", "5e-05"]
    assert form["split.seed"].description.endswith("All recipes: 42")


def test_the_form_describes_every_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    own = tmp_path / "own.yaml"
    own.write_text("# Ours, for children.\nfinetune: {epochs: 77}\n")
    monkeypatch.setenv("AGE_RECIPE", str(own))
    form = retraining_form()
    assert form["recipe"].schema["enum"] == [*recipe_names(), str(own)]
    text = form["recipe"].schema["description_md"]
    assert all(f"- **{name}**: {describe_recipe(name)}" in text for name in recipe_names())
    assert f"- **{own}**: Ours, for children." in text
    assert "own.yaml 77" in form["finetune.epochs"].description
    own.unlink()
    form = retraining_form()
    assert f"- **{own}**: a recipe that can't be read here" in form["recipe"].schema["description_md"]
    assert "own.yaml" not in form["finetune.epochs"].description


def test_every_setting_has_a_field_in_a_section_and_the_most_used_come_first():
    form = retraining_form()
    assert set(known_settings()) <= set(form)
    assert [name for name, field in form.items() if "section" not in field.schema] == [
        "labels", "images", "recipe", "again",
    ]  # fmt: skip
    sections = list(dict.fromkeys(field.schema["section"] for field in form.values() if "section" in field.schema))
    assert sections[:2] == ["Training (empty: the value of the recipe)", "Promotion"]
    assert max(sum(field.schema.get("section") == section for field in form.values()) for section in sections) <= 12


@pytest.mark.parametrize(("typed", "valid"), [("12", True), (12, True), (None, True), ("1e3", False), ("-4", False)])
def test_the_number_of_a_version_to_go_back_to(typed: Any, valid: bool):
    field = form_of_rollback()["to"]
    if valid:
        assert field.resolve(typed) == typed
    else:
        with pytest.raises(ParamValidationError):
            field.resolve(typed)
