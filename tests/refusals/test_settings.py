"""Settings, recipes, options and environment variables that are refused."""

import json
import typing
from collections.abc import Callable, Iterator
from pathlib import Path

import annotated_types
import pytest
from pydantic.fields import FieldInfo

from age_tasks.config import Config, Settings, config_from_dict, config_from_stored, load_recipe, parse_overrides
from age_tasks.data.shares import share_of_this_process
from age_tasks.environment import (
    GROUPS,
    Locations,
    NoticeVariables,
    RuntimeVariables,
    StageVariables,
    Variables,
    WorkflowVariables,
    environment_problems,
)
from age_tasks.registry.approval import read_approval
from age_tasks.runs.keys import safe_run_key
from age_tasks.store import open_store
from age_tasks.store.addresses import local_path
from age_tasks.store.base import to_json
from tests.support.refusals import walks
from tests.support.walks import Walk, command

CONFIG, ENVIRONMENT = "config.py", "environment.py"


def out_of_bounds() -> Iterator[tuple[str, object, object, str]]:
    """Of each bounded setting its name, a value just outside, one just inside, and what the message says."""
    for section, part in Config.model_fields.items():
        if not isinstance(part.default, Settings):
            continue
        for name, field in type(part.default).model_fields.items():
            dotted = f"{part.alias or section}.{name}"
            for bound in field.metadata:
                match bound:
                    case annotated_types.Ge(ge=low):
                        yield dotted, low - 1, low, f"greater than or equal to {low}"
                    case annotated_types.Le(le=high):
                        yield dotted, high + 1, high, f"less than or equal to {high}"
                    case annotated_types.Gt(gt=low):
                        yield dotted, low, field.default, f"greater than {low}"
                    case annotated_types.Lt(lt=high):
                        yield dotted, high, field.default, f"less than {high}"
            if choices := [each for each in typing.get_args(field.annotation) if isinstance(each, str)]:
                yield dotted, "nonsense", choices[-1], f"'{choices[-1]}'"


BOUNDS = list(out_of_bounds())
FITTING = {"finetune.last_layers": {"model.backbone": "nasnetlarge"}}  # which has as many


@walks(CONFIG, "config_from_dict: {}")
@walks(CONFIG, "with_overrides: {}")
@pytest.mark.parametrize(("name", "wrong", "right", "says"), BOUNDS, ids=lambda value: str(value)[:40])
def test_a_setting_out_of_its_bounds(refused: Walk, name: str, wrong: object, right: object, says: str):
    again = refused(lambda: Config().with_overrides({name: wrong}), f"--set {name} =", wrong, says)
    again(lambda: Config().with_overrides({name: right, **FITTING.get(name, {})}))


def test_the_bounds_of_every_setting_are_walked():
    assert len(BOUNDS) > 60


@pytest.mark.parametrize(
    ("wrong", "says", "right"),
    [
        pytest.param({"finetune.epocs": 3}, ["--set finetune.epocs", "'finetune' has: ", "epochs"],
                     {"finetune.epochs": 3}, marks=walks(CONFIG, "with_overrides: {} {}")),
        pytest.param({"epochs": 3}, ["--set epochs", "Sections: data, "], {"finetune.epochs": 3},
                     marks=walks(CONFIG, "with_overrides: {} {}")),
        pytest.param({"gate.max_quarantine_fraction": 0.1}, ["validate.max_quarantine_fraction"],
                     {"validate.max_quarantine_fraction": 0.1}, marks=walks(CONFIG, "with_overrides: {} {}")),
        pytest.param({"split.test_fraction": 0.5, "split.val_fraction": 0.5}, ["split =", "lower one"],
                     {"split.test_fraction": 0.5, "split.val_fraction": 0.4},
                     marks=walks(CONFIG, "leave nothing to train on")),
        pytest.param({"model.backbone": "resnet"}, ["model.backbone = 'resnet'", "Did you mean resnet50 or "],
                     {"model.backbone": "resnet50"}, marks=walks(CONFIG, "no such backbone.{} Choose one of")),
        pytest.param({"model.backbone": "inceptionv3", "model.image_size": 64},
                     ["image_size 64 is too small for inceptionv3", "give at least 75"],
                     {"model.backbone": "inceptionv3", "model.image_size": 75},
                     marks=walks(CONFIG, "is too small for {}; give at least {}")),
        pytest.param({"model.backbone": "vgg16"}, ["finetune.last_layers = 30: vgg16 has 18 layers"],
                     {"model.backbone": "vgg16", "finetune.last_layers": 18},
                     marks=walks(CONFIG, "has {} layers; give at most that")),
        pytest.param({"finetune.random_crop": 0.8}, ["finetune.random_crop = 0.8", "30 of the 174 layers of resnet50"],
                     {"finetune.random_crop": 0.8, "finetune.last_layers": 174},
                     marks=walks(CONFIG, "only pixels are cut or mirrored at random")),
        pytest.param({"finetune.random_flip": True, "model.backbone": "efficientnet_lite0"},
                     ["finetune.random_flip = true", "finetune.last_layers = 140"],
                     {"augmentation.train_augmentations": 2, "model.backbone": "efficientnet_lite0"},
                     marks=walks(CONFIG, "only pixels are cut or mirrored at random")),
        pytest.param({"evaluate.bin_edges": [30, 20]}, ["evaluate.bin_edges = [30, 20]", "sort them"],
                     {"evaluate.bin_edges": [20, 30]}, marks=walks(CONFIG, "each edge must be above")),
        pytest.param({"finetune.epochs": True}, ["finetune.epochs = True", "integer, such as 3"],
                     {"finetune.epochs": 3}, marks=walks(CONFIG, "Input should be a valid {}")),
        pytest.param({"evaluate.bin_edges": {20, 30}}, ["a list: a set has no order"],
                     {"evaluate.bin_edges": [20, 30]}, marks=walks(CONFIG, "a set has no order")),
    ],
)  # fmt: skip
def test_a_setting_that_is_corrected(refused: Walk, wrong: dict, says: list[str], right: dict):
    again = refused(lambda: Config().with_overrides(wrong), *says)
    again(lambda: Config().with_overrides(right))


@pytest.mark.parametrize(
    ("wrong", "says", "right"),
    [
        pytest.param("finetune.epochs", ["--set finetune.epochs:", "section.setting=value"], "finetune.epochs=3",
                     marks=walks(CONFIG, "write it as section.setting=value")),
        pytest.param("card.owner=[a", ["--set card.owner=[a", "line 1", "put texts in quotes"], "card.owner='[a'",
                     marks=walks(CONFIG, "_parse_yaml: {}: not valid YAML: {}{}; put texts in quotes")),
        pytest.param("card.owner=\x07", ["not valid YAML", "put texts in quotes"], 'card.owner="\\a"',
                     marks=walks(CONFIG, "_parse_yaml: {}: not valid YAML: {}; put texts in quotes")),
        pytest.param("card.owner=ann #1", ["a comment in YAML", "put the value in quotes"], "card.owner='ann #1'",
                     marks=walks(CONFIG, "is a comment in YAML")),
    ],
)  # fmt: skip
def test_an_option_that_is_corrected(refused: Walk, wrong: str, says: list[str], right: str):
    again = refused(lambda: parse_overrides([wrong]), *says)
    again(lambda: parse_overrides([right]))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param("- finetune\n", ["a mapping of sections such as 'finetune:', not list"],
                     marks=walks(CONFIG, "a recipe is a mapping of sections")),
        pytest.param("finetune:\n  epochs: 0\n", ["finetune.epochs = 0", "greater than or equal to 1"],
                     marks=walks(CONFIG, "load_recipe: {}")),
        pytest.param("finetune.epocs: 1\n", ["finetune.epocs", "'finetune' has: "],
                     marks=walks(CONFIG, "_by_section: {}")),
        pytest.param("1.5: 1\n", ["1.5", "Sections: data, "], marks=walks(CONFIG, "_by_section: {}")),
        pytest.param("finetune:\n  epochs: 1\nfinetune.epochs: 2\n", ["finetune.epochs", "leave out one of them"],
                     marks=walks(CONFIG, "is given twice, also below")),
    ],
)  # fmt: skip
def test_a_recipe_that_is_corrected(refused: Walk, tmp_path: Path, content: str, says: list[str]):
    recipe = tmp_path / "ours.yaml"
    recipe.write_text(content)
    again = refused(lambda: load_recipe(str(recipe)), recipe, *says)
    recipe.write_text("finetune:\n  epochs: 1\n")
    again()


@walks(CONFIG, "no recipe '{}'; choose {}")
def test_a_recipe_that_is_not_there(refused: Walk, tmp_path: Path):
    names = "demo, gpu_full, quick, reference, strong, strong_resnet50"
    again = refused(lambda: load_recipe("strongest"), "no recipe 'strongest'", names, ".yaml")
    again(lambda: load_recipe("strong"))


@walks(CONFIG, "check the path and its permissions")
def test_a_recipe_that_can_t_be_read(refused: Walk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    recipe = tmp_path / "ours.yaml"
    recipe.write_text("finetune:\n  epochs: 1\n")

    def denied(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", denied)
        again = refused(lambda: load_recipe(str(recipe)), recipe, "Permission denied", "check the path")
    again()


def wrong_variables() -> Iterator[tuple[type[Variables], str, FieldInfo]]:
    """The variables that not every text is valid for."""
    for group in GROUPS:
        for name, field in group.model_fields.items():
            if field.annotation is not str or field.metadata:
                yield group, name, field


PODS = {"AGE_RUNTIME": "kubernetes", "AGE_STORE": "s3://b/x"}
WRONG = [pytest.param(group, name, field, id=group.variable(name)) for group, name, field in wrong_variables()]


@walks(ENVIRONMENT, "from_env: {}")
@pytest.mark.parametrize(("group", "name", "field"), WRONG)
def test_a_variable_that_is_corrected(refused: Walk, group: type[Variables], name: str, field: FieldInfo):
    variable = group.variable(name)
    nonsense = {"store": "ftp://x", "cache": "s3://b", "set": "{"}
    nonsense |= dict.fromkeys(
        ("labels", "images", "cache_remote", "unlabelled", "score_images", "score_out"), "s3://u:p@b"
    )
    value = nonsense.get(name, "@,=x y")
    if group is Locations and name == "store":
        value = "s3://u:p@b"
    if group is RuntimeVariables and name == "store":
        value = "s3://u:p@b"
    again = refused(lambda: group.from_env({variable: value}), variable)
    expected = (field.json_schema_extra or {}).get("expected", "")
    assert expected in refused.message
    example = {"notify_email": "ann@example.org", "deadline_hours": "", "trainer_image": "age:1"}
    again(lambda: group.from_env({variable: example.get(name, "")}))


@pytest.mark.parametrize(
    ("group", "wrong", "says", "right"),
    [
        pytest.param(StageVariables, {"AGE_SET": "finetune.epochs=3"}, ["not JSON", '{"finetune.epochs": 3}'],
                     {"AGE_SET": '{"finetune.epochs": 3}'}, marks=walks(ENVIRONMENT, "AGE_SET is not JSON")),
        pytest.param(StageVariables, {"AGE_SET": "[3]"}, ["AGE_SET must be a JSON object", '{"finetune.epochs": 3}'],
                     {"AGE_SET": '{"finetune.epochs": 3}'}, marks=walks(ENVIRONMENT, "must be a JSON object")),
        pytest.param(Locations, {"AGE_STORE": "s3://ann:pass@b/x"}, ["AGE_STORE", "remove it from the address"],
                     {"AGE_STORE": "s3://b/x"}, marks=walks(ENVIRONMENT, "_address: {}")),
        pytest.param(Locations, {"AGE_CACHE": "s3://b/x"}, ["AGE_CACHE", "no folder of this machine; write its path"],
                     {"AGE_CACHE": "/x"}, marks=walks(ENVIRONMENT, "is no folder of this machine")),
        pytest.param(Locations, {"AGE_CACHE": "file://host/x"}, ["AGE_CACHE", "use file:///folder"],
                     {"AGE_CACHE": "file:///x"}, marks=walks(ENVIRONMENT, "_folder: {}")),
        pytest.param(NoticeVariables, {"AGE_DEADLINE_HOURS": "3"}, ["AGE_DEADLINE_HOURS", "set AGE_NOTIFY_EMAIL too"],
                     {"AGE_DEADLINE_HOURS": "3", "AGE_NOTIFY_EMAIL": "ann@example.org"},
                     marks=walks(ENVIRONMENT, "nobody would be told")),
        pytest.param(NoticeVariables, {"AGE_NOTIFY": "email:failed"},
                     ["AGE_NOTIFY = 'email:failed'", "set AGE_NOTIFY_EMAIL"],
                     {"AGE_NOTIFY": "email:failed", "AGE_NOTIFY_EMAIL": "ann@example.org"},
                     marks=walks(ENVIRONMENT, "names email, but no address is known")),
        pytest.param(RuntimeVariables, {"AGE_RUNTIME": "kubernetes", "AGE_STORE": "/x"},
                     ["AGE_STORE='/x'", "expected s3://bucket/prefix"],
                     {"AGE_RUNTIME": "kubernetes", "AGE_STORE": "s3://b/x"}, marks=walks(ENVIRONMENT, "pods can't")),
        pytest.param(RuntimeVariables, {"AGE_RUNTIME": "docker", "AGE_STORE": "/x", "AGE_CACHE_VOLUME": "c"},
                     ["AGE_CACHE_VOLUME='c'", "use a store on S3, or leave AGE_CACHE_VOLUME empty"],
                     {"AGE_RUNTIME": "docker", "AGE_STORE": "/x"}, marks=walks(ENVIRONMENT, "the image's own user")),
        pytest.param(RuntimeVariables, PODS | {"AGE_WORKERS": "3"},
                     ["AGE_WORKERS=3", "AGE_CACHE_VOLUME", "AGE_CACHE_REMOTE", "that all pods can mount"],
                     PODS | {"AGE_WORKERS": "3", "AGE_CACHE_VOLUME": "age-cache"},
                     marks=walks(ENVIRONMENT, "no stage would find")),
    ],
)  # fmt: skip
def test_variables_that_are_corrected(
    refused: Walk, group: type[Variables], wrong: dict[str, str], says: list[str], right: dict[str, str]
):
    again = refused(lambda: group.from_env(wrong), *says)
    again(lambda: group.from_env(right))


@walks("data/shares.py", "expected at most {}/{}")
def test_a_share_beyond_the_last(refused: Walk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AGE_SHARE", "5/4")
    again = refused(share_of_this_process, "AGE_SHARE='5/4'", "at most 4/4")
    monkeypatch.setenv("AGE_SHARE", "4/4")
    again()


@walks(ENVIRONMENT, "no labels given: set AGE_LABELS")
def test_no_labels(refused: Walk, here: Path, monkeypatch: pytest.MonkeyPatch):
    labels = str(Locations.from_env().labels)
    monkeypatch.delenv("AGE_LABELS")
    again = refused(lambda: Locations.from_env().require_labels(), "set AGE_LABELS", "sample --out faces")
    monkeypatch.setenv("AGE_LABELS", labels)
    again()


@walks(CONFIG, "expected an object with training and prediction")
def test_settings_of_an_early_version(refused: Walk):
    again = refused(lambda: config_from_stored({"views": 3}), "views = 3", "restore it")
    again(lambda: config_from_stored({"views": {"training": 2, "prediction": 2}}))


@walks(ENVIRONMENT, "nothing to score")
def test_nothing_to_score(refused: Walk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AGE_SCORE_IMAGES", raising=False)
    again = refused(lambda: WorkflowVariables.from_env().require_scoring(), "AGE_SCORE_IMAGES", "AGE_SCORE_OUT")
    monkeypatch.setenv("AGE_SCORE_IMAGES", "new")
    monkeypatch.setenv("AGE_SCORE_OUT", "ages.csv")
    again()


@walks(ENVIRONMENT, "nothing to rank")
def test_nothing_to_rank(refused: Walk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AGE_UNLABELLED", raising=False)
    again = refused(lambda: WorkflowVariables.from_env().require_unlabelled(), "AGE_UNLABELLED")
    monkeypatch.setenv("AGE_UNLABELLED", "new")
    again()


@walks("cli/settings.py", "environment: {}")
def test_the_command_that_checks_all_variables(refused: Walk, here: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AGE_GPUS", "-1")
    again = refused(command("environment"), "AGE_GPUS='-1'", "a number of GPUs or 'all'")
    monkeypatch.setenv("AGE_GPUS", "all")
    again()
    assert not environment_problems()


@walks("registry/approval.py", "AGE_APPROVAL={} is invalid")
@pytest.mark.parametrize("wrong", ["yes", '{"asked": "yes"}'])
def test_an_approval_that_is_corrected(refused: Walk, monkeypatch: pytest.MonkeyPatch, wrong: str):
    monkeypatch.setenv("AGE_APPROVAL", wrong)
    again = refused(read_approval, "AGE_APPROVAL=", '{"asked": true, "approved": true', "or leave it unset")
    example = refused.message.partition("; write ")[2].rpartition(", or leave")[0]
    monkeypatch.setenv("AGE_APPROVAL", example)
    assert again().approved
    monkeypatch.delenv("AGE_APPROVAL")
    assert again() is None


@walks("runs/keys.py", "can't be a folder name")
@pytest.mark.parametrize(("wrong", "right"), [("..", "a"), ("", "a"), ("x" * 201, "x" * 200)])
def test_a_run_id_that_is_corrected(refused: Walk, wrong: str, right: str):
    again = refused(lambda: safe_run_key(wrong), "use letters, digits", "at most 200")
    again(lambda: safe_run_key(right))


@pytest.mark.parametrize(
    ("act", "wrong", "says", "right"),
    [
        pytest.param(open_store, "s3://", ["no bucket; write s3://bucket/prefix"], "s3://bucket/prefix",
                     marks=walks("store/__init__.py", "no bucket; write")),
        pytest.param(open_store, "s3://b/../x", ["'../x' is not a valid key", "plain names joined by '/'"], "s3://b/x",
                     marks=walks("store/base.py", "is not a valid key in the store")),
        pytest.param(open_store, "s3://ann:pass@b/x", ["'s3://b/x'", "remove it from the address", "AWS_ACCESS_KEY_ID"],
                     "s3://b/x", marks=walks("store/addresses.py", "was given with a user or password")),
        pytest.param(local_path, "ftp://host/x", ["'ftp://host/x'", "use file:///folder, a path, or s3://"],
                     "file:///x", marks=walks("store/addresses.py", "is not a supported address")),
        pytest.param(local_path, "~no-such-user/x", ["'~no-such-user/x'", "write its whole path"], "/x",
                     marks=walks("store/addresses.py", "names no folder of this machine")),
        pytest.param(local_path, "/x\0y", ["a NUL character; write it without"], "/xy",
                     marks=walks("store/addresses.py", "it contains a NUL character")),
        pytest.param(to_json, {"owner": "\udce4"}, ["can't be encoded as UTF-8; correct the setting"], {"owner": "ä"},
                     marks=walks("store/base.py", "can't be encoded as UTF-8")),
    ],
)  # fmt: skip
def test_an_address_that_is_corrected(refused: Walk, act: Callable, wrong: object, says: list[str], right: object):
    again = refused(lambda: act(wrong), *says)
    assert "pass@" not in refused.message
    again(lambda: act(right))


def test_the_examples_in_messages_are_settings():
    assert config_from_dict({"finetune": json.loads('{"epochs": 3}')}).finetune.epochs == 3
