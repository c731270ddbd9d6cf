from pathlib import Path

import pytest

from age_tasks.config import describe_settings, load_recipe, parse_overrides, recipe_names
from age_tasks.errors import SettingsError


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_loads_and_knows_its_name(name: str):
    assert load_recipe(name).recipe == name


def test_the_reference_recipe_is_the_published_one():
    recipe = load_recipe("reference")
    assert (recipe.model.backbone, recipe.model.image_size, recipe.model.dropout) == ("resnet50", 224, 0.2)
    assert (recipe.baseline.epochs, recipe.baseline.learning_rate, recipe.baseline.batch_size) == (8, 1e-3, 32)
    assert (recipe.finetune.epochs, recipe.finetune.learning_rate, recipe.finetune.last_layers) == (12, 5e-5, 30)


def test_settings_can_be_replaced_one_by_one():
    given = parse_overrides(["finetune.epochs=3", "baseline.learning_rate=1e-4", "split.bins=equal_width"])
    config = load_recipe("demo").with_overrides(given)
    assert (config.finetune.epochs, config.baseline.learning_rate, config.split.bins) == (3, 1e-4, "equal_width")


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("finetune.epoch=3", "finetune.epoch: no such setting. 'finetune' has: epochs"),
        ("tune.epochs=3", "Sections: data, validate, split"),
        ("finetune.epochs=0", "greater than or equal to 1"),
        ("split.bins=thirds", "'quantile' or 'equal_width'"),
        ("finetune.epochs", "section.setting=value"),
    ],
)
def test_wrong_settings_are_named_with_the_choices(assignment: str, says: str):
    with pytest.raises(SettingsError, match=says):
        load_recipe("demo").with_overrides(parse_overrides([assignment]))


def test_an_unknown_recipe_and_a_broken_file_are_refused(tmp_path: Path):
    with pytest.raises(SettingsError, match="there are demo, reference"):
        load_recipe("strongest")
    (tmp_path / "own.yaml").write_text("baseline:\n  epochz: 3\n")
    with pytest.raises(SettingsError, match=r"own.yaml: baseline.epochz"):
        load_recipe(str(tmp_path / "own.yaml"))


def test_every_setting_is_described():
    assert all(description for _, _, description in describe_settings())
