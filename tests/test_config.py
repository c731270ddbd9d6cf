from pathlib import Path

import pytest

from age_tasks.config import (
    AugmentationSettings,
    config_from_stored,
    describe_settings,
    load_recipe,
    parse_overrides,
    recipe_names,
    stored_augmentation,
)
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
    ("assignment", "message"),
    [
        ("finetune.epoch=3", "--set finetune.epoch: no such setting. 'finetune' has: epochs"),
        ("tune.epochs=3", "Sections: data, validate, split"),
        ("finetune.epochs=0", "--set finetune.epochs = 0: Input should be greater than or equal to 1"),
        ("split.bins=thirds", "'quantile' or 'equal_width'"),
        ("finetune.epochs", "section.setting=value"),
        ("epochs=3", r"Sections: data, .*\. Did you mean baseline.epochs or finetune.epochs\?$"),
        ("Finetune.Epochs=3", r"Did you mean finetune.epochs\?$"),
        ("finetune_epochs=3", r"Did you mean finetune.epochs\?$"),
        ("finetune.epoch =3", r"Did you mean finetune.epochs\?$"),
        ("finetune.sed=3", r"Did you mean finetune.seed or "),
    ],
)
def test_wrong_settings_are_named_with_the_choices(assignment: str, message: str):
    with pytest.raises(SettingsError, match=message):
        load_recipe("demo").with_overrides(parse_overrides([assignment]))


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("finetune.epochs=true", "epochs = True: Input should be a valid integer"),
        ("gate.max_test_mae=yes", "max_test_mae = True: Input should be a valid number"),
        ("evaluate.bin_edges=[0, true, 5]", "valid number"),
        ("evaluate.bin_edges=!!set {50, 0}", "a set has no order"),
        ("finetune.epochs=1:30", "epochs = '1:30': Input should be a valid integer"),
        ("gate.max_test_mae='1_0'", "max_test_mae = '1_0': Input should be a valid number"),
        ("finetune.epochs='٣'", "valid integer"),
        ("card.owner=Ann #3", "what follows a # is a comment"),
        ("card.owner={a: 1, a: 2}", "'a' is given twice, line 1"),
        ("card.owner=[\x1b[31m\n", r"--set card.owner=\[\\x1b\[31m\\n: not valid YAML"),
    ],
)
def test_a_value_is_refused_rather_than_taken_for_another(assignment: str, message: str):
    with pytest.raises(SettingsError, match=message) as error:
        load_recipe("demo").with_overrides(parse_overrides([assignment]))
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("finetune.epochs=010", 10),
        ("finetune.epochs='7'", 7),
        ("finetune.epochs=1e1", 10),
        ("baseline.learning_rate=1E-4", 1e-4),
        ("card.owner=infinity", "infinity"),
        ("card.owner='12'", "12"),
        ("card.owner=12:30", "12:30"),
        ("card.owner='Ann #3'", "Ann #3"),
        ("augmentation.test_time_augmentation=on", True),
        ("data.split_column=", ""),
        ("data.person_column= ", ""),
        ("data.weight_column=null", ""),
    ],
)
def test_a_value_means_what_it_says(assignment: str, value: object):
    (name,) = given = parse_overrides([assignment])
    section, _, field = name.partition(".")
    assert load_recipe("demo").with_overrides(given).section(section)[field] == value


def test_an_empty_value_is_an_empty_text_wherever_it_is_given(tmp_path: Path):
    (tmp_path / "own.yaml").write_text("data:\n  split_column: split\n  weight_column:\ndata.person_column:\n")
    config = load_recipe(str(tmp_path / "own.yaml"))
    assert (config.data.split_column, config.data.weight_column, config.data.person_column) == ("split", "", "")
    assert config.with_overrides({"data.split_column": None}, "AGE_SET").data.split_column == ""


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("finetune.epochs=", "--set finetune.epochs = None: Input should be a valid integer"),
        ("model.backbone=", r"--set model.backbone = None: no such backbone\. Choose one of "),
        ("split.bins=", "--set split.bins = None: Input should be 'quantile' or 'equal_width'"),
        ("evaluate.slices=", "--set evaluate.slices = None: Input should be a list, in square brackets"),
    ],
)
def test_an_empty_value_is_refused_where_no_text_may_be_empty(assignment: str, message: str):
    with pytest.raises(SettingsError, match=message):
        load_recipe("demo").with_overrides(parse_overrides([assignment]))


def test_a_recipe_has_a_name(tmp_path: Path):
    (tmp_path / "own.yaml").write_text("recipe:\n")
    with pytest.raises(SettingsError, match=r"own.yaml: recipe = '': String should have at least 1 character"):
        load_recipe(str(tmp_path / "own.yaml"))


def test_a_section_that_stands_twice_in_a_recipe_is_refused(tmp_path: Path):
    (tmp_path / "own.yaml").write_text("gate: {max_test_mae: 5}\nbaseline: {epochs: 2}\ngate: {policy: better}\n")
    with pytest.raises(SettingsError, match=r"own.yaml: not valid YAML: 'gate' is given twice, line 3, column 1"):
        load_recipe(str(tmp_path / "own.yaml"))


@pytest.mark.parametrize("source", ["AGE_SET", "the trigger form:"])
def test_errors_name_the_source_of_a_setting(source: str):
    with pytest.raises(SettingsError, match=f"^{source} finetune.epochs = 0: "):
        load_recipe("demo").with_overrides({"finetune.epochs": 0}, source=source)
    with pytest.raises(SettingsError, match=f"^{source} finetune.epoch: no such setting"):
        load_recipe("demo").with_overrides({"finetune.epoch": 3}, source=source)


@pytest.mark.parametrize(
    ("former", "value", "today"),
    [
        ("views.training", 8, "augmentation.train_augmentations"),
        ("views.prediction", 2, "augmentation.test_time_augmentation: false for 1, true for 2"),
        ("gate.max_quarantine_fraction", 0.1, "validate.max_quarantine_fraction"),
    ],
)
def test_former_settings_are_refused_with_todays_name(former: str, value: float, today: str, tmp_path: Path):
    with pytest.raises(SettingsError, match=f"^AGE_SET {former}: re.* {today}"):
        load_recipe("demo").with_overrides({former: value}, source="AGE_SET")
    section, _, field = former.partition(".")
    (tmp_path / "own.yaml").write_text(f"{section}:\n  {field}: {value}\n")
    with pytest.raises(SettingsError, match=f"own.yaml: {section}.* {today.partition(':')[0]}"):
        load_recipe(str(tmp_path / "own.yaml"))


def test_stored_settings_of_an_earlier_version_are_migrated():
    stored = load_recipe("strong").to_dict()
    del stored["augmentation"]
    stored["views"] = {"training": 8, "prediction": 2}
    stored["gate"]["max_quarantine_fraction"] = 0.02
    assert config_from_stored(stored) == load_recipe("strong")
    assert config_from_stored(load_recipe("strong").to_dict()) == load_recipe("strong")
    assert stored_augmentation({"views": {"training": 8, "prediction": 1}}) == AugmentationSettings(
        train_augmentations=8
    )
    assert stored_augmentation({"augmentation": {"test_time_augmentation": True}}).test_time_augmentation


def test_an_unknown_recipe_and_a_broken_file_are_refused(tmp_path: Path):
    with pytest.raises(SettingsError, match="choose demo, gpu_full, quick, reference"):
        load_recipe("strongest")
    (tmp_path / "own.yaml").write_text("baseline:\n  epochz: 3\n")
    with pytest.raises(SettingsError, match=r"own.yaml: baseline.epochz"):
        load_recipe(str(tmp_path / "own.yaml"))


def test_a_recipe_takes_dotted_names_too(tmp_path: Path):
    (tmp_path / "own.yaml").write_text("finetune.epochs: 3\nfinetune:\n  seed: 7\nsplit.seed: 1\n")
    recipe = load_recipe(str(tmp_path / "own.yaml"))
    assert (recipe.finetune.epochs, recipe.finetune.seed, recipe.split.seed) == (3, 7, 1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("finetune.seed: 7\nfinetune:\n  seed: 8\n", "finetune.seed is given twice, also below 'finetune:'; leave out"),
        ("finetune.sed: 7\n", r"finetune.sed: no such setting. 'finetune' has: .*\. Did you mean finetune.seed or "),
        ("finetune: 3\nfinetune.seed: 7\n", "finetune"),
        ("epochs: 3\n", r"epochs: no such setting. Sections: .*\. Did you mean baseline.epochs or finetune.epochs\?$"),
        ("Finetune:\n  seed: 7\n", "Finetune: no such setting. Sections: data, .*, finetune, "),
    ],
)
def test_a_recipe_in_which_a_setting_would_vanish_is_refused_in_one_line(text: str, says: str, tmp_path: Path):
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(SettingsError, match=f"own.yaml: {says}") as refusal:
        load_recipe(str(tmp_path / "own.yaml"))
    assert "\n" not in str(refusal.value)


def test_merged_keys_of_a_recipe_are_no_duplicates(tmp_path: Path):
    (tmp_path / "own.yaml").write_text("baseline: &b\n  seed: 7\nfinetune:\n  <<: *b\n  seed: 8\n")
    assert load_recipe(str(tmp_path / "own.yaml")).finetune.seed == 8


def test_every_setting_is_described():
    assert all(description for _, _, description in describe_settings())
