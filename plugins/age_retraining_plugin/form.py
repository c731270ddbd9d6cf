"""The trigger form of the retraining; its fields have the types, bounds and help texts of the settings.

Numbers are typed as text: Airflow's field for numbers drops letters and signs, so that 5e-05 would arrive as 505.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from airflow.sdk import Param

from age_retraining_plugin.trigger_conf import changed_settings
from age_tasks.config import (
    Config,
    allowed_values,
    describe_recipe,
    known_settings,
    load_recipe,
    recipe_names,
    setting_schema,
)
from age_tasks.environment import Locations, WorkflowVariables
from age_tasks.errors import SettingsError

TRAINING = (
    "model.backbone",
    "model.image_size",
    "baseline.epochs",
    "baseline.learning_rate",
    "finetune.epochs",
    "finetune.learning_rate",
    "finetune.last_layers",
    "finetune.batch_size",
    "finetune.start_from",
)
# The sections of the form after training and promotion, each with the settings, or sections of them, whose fields it
# holds, if none before does.
FURTHER = {
    "Columns of the labels": ("data",),
    "Validation and splits": ("validate", "split"),
    "Network and augmentations": ("model", "augmentation", "finetune.random_crop", "finetune.random_flip"),
    "Baseline: more settings": ("baseline",),
    "Fine-tuning: more settings": ("finetune",),
    "Evaluation and model card": ("evaluate", "card"),
    "Machine": ("compute",),
}
_WHOLE, _DECIMAL = "^[0-9]+$", r"^([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
# What people type into the trigger form travels by the environment, never as text of a shell line.
FORM_ENV = {
    "AGE_RECIPE": "{{ params.recipe }}",
    "AGE_SET": "{{ changed_settings(params) | tojson }}",
    "AGE_LABELS": "{{ params.labels or configured_labels() }}",
    "AGE_IMAGES": "{{ params.images or '' }}",
}


# The functions that templates of a DAG with this form call.
FORM_MACROS: dict[str, Callable[..., Any]] = {
    "changed_settings": changed_settings,
    "configured_labels": lambda: Locations.from_env().labels,
}


def retraining_form() -> dict[str, Param]:
    """The fields in the order of the form. Those without a section are in the one that is open from the start."""
    locations, variables = Locations.from_env(), WorkflowVariables.from_env()
    names = list(dict.fromkeys([*recipe_names(), variables.recipe]))  # the last may be the path of a file
    recipes = _readable(names)
    return {
        "labels": Param(
            locations.labels,
            type=["null", "string"],
            description="A table (.csv, .xlsx, .parquet) with file_name,real_age: a path or an s3:// address. "
            "Empty: AGE_LABELS.",
        ),
        "images": Param(
            locations.images if "images" in locations.model_fields_set else "",
            type=["null", "string"],
            description="The folder of the images, or tar files of them (faces/*.tar). Empty: the folder images "
            "beside the labels.",
        ),
        "recipe": Param(
            variables.recipe,
            type="string",
            enum=names,
            description_md="Every number of the training; the sections below replace single ones.\n\n"
            + "\n".join(f"- **{name}**: {_purpose(name)}" for name in names),
        ),
        "again": Param(
            False,
            type="boolean",
            description="Execute every stage, even if nothing has changed since it last finished.",
        ),
        **dict(_setting_fields(recipes)),
        "settings": Param(
            {},
            type="object",
            section="Several settings at once",
            description='Settings by name, such as {"finetune.epochs": 3, "split.seed": 7}. They count more than the '
            "fields above. An unknown name is refused with the most similar one.",
        ),
    }


def number_schema(kind: str, allowed: str, **rules: Any) -> dict[str, Any]:
    """The schema of a field for a number that is not negative, typed as text; numbers in JSON are accepted too.

    Airflow shows the pattern when it refuses a text, so the pattern begins with a comment that says what is allowed.
    A list of examples makes the field a plain input.

    Args:
        kind: `integer` or `number`.
        allowed: the bounds in words.
        rules: the bounds and `examples`, as in JSON schema.
    """
    text = "a whole number" if kind == "integer" else "a number such as 0.5 or 5e-05"
    pattern = _WHOLE if kind == "integer" else _DECIMAL
    return {"type": ["string", kind], "pattern": f"(?#{text}, {allowed}){pattern}", "maxLength": 40, **rules}


def setting(name: str, section: str, recipes: Mapping[str, Config]) -> Param:
    """The field of a setting; an empty field leaves the recipe's value.

    Args:
        name: dotted, such as `finetune.epochs`.
        section: of the form.
        recipes: their settings by name, for the description.
    """
    schema, allowed = setting_schema(name), allowed_values(name)
    group, _, field = name.partition(".")
    values = {recipe: config.section(group)[field] for recipe, config in recipes.items()}
    rules = _rules(schema, allowed, list(dict.fromkeys(map(json.dumps, values.values()))))
    text = schema["description"]
    bounds = "" if "enum" in rules or schema["type"] in {"string", "array"} else f" ({allowed})"
    return Param(
        None,
        section=section,
        description=f"{text[0].upper()}{text[1:]}{bounds}. {_in_recipes(values)}",
        **rules | {"type": ["null", *rules["type"]]},
    )


def _setting_fields(recipes: Mapping[str, Config]) -> Iterator[tuple[str, Param]]:
    """The fields of all settings by section; those that are used most come first."""
    training, promotion = "Training (empty: the value of the recipe)", "Promotion"
    variables = WorkflowVariables.from_env()
    for name in TRAINING:
        yield name, setting(name, training, recipes)
    yield (
        "require_approval",
        Param(
            variables.require_approval,
            type="boolean",
            section=promotion,
            description="Ask a person before a candidate that passed the gate becomes the champion.",
        ),
    )
    yield (
        "approval_hours",
        Param(
            72,
            section=promotion,
            description="Hours to answer (above 0, at most 720); without an answer the candidate is not promoted.",
            **number_schema(
                "number", "above 0, at most 720", exclusiveMinimum=0, maximum=30 * 24, examples=["4", "24", "72"]
            ),
        ),
    )
    placed = set(TRAINING)
    for title, held in {promotion: ("gate",), **FURTHER}.items():
        for name in known_settings():
            if name not in placed and not {name, name.partition(".")[0]}.isdisjoint(held):
                placed.add(name)
                yield name, setting(name, title, recipes)


def _rules(schema: Mapping[str, Any], allowed: str, examples: list[str]) -> dict[str, Any]:
    """The JSON schema of a setting's field; `type` is a list."""
    kind = schema["type"]
    if "enum" in schema:
        return {
            "type": ["string"],
            "enum": [None, *schema["enum"]],
            "values_display": {"null": "the value of the recipe"},
        }
    if kind == "boolean":  # a switch could not be left to the recipe
        return {"type": ["string", kind], "pattern": f"(?#{allowed})^(true|false)$", "examples": ["true", "false"]}
    if kind == "array":
        return {"type": [kind], "items": {"type": schema["items"]["type"]}}
    if kind == "string":
        return {"type": [kind]}
    bounds = {key: each for key, each in schema.items() if key.lower().endswith(("minimum", "maximum"))}
    return number_schema(kind, allowed, **bounds, examples=examples)


def _in_recipes(values: Mapping[str, Any]) -> str:
    """What the recipes say, in words."""
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    if len(set(texts.values())) == 1:
        return f"All recipes: {next(iter(texts.values()))}"
    return f"Recipes: {', '.join(f'{name} {text}' for name, text in texts.items())}"


def _readable(names: list[str]) -> dict[str, Config]:
    """The settings of the recipes that can be read here; a stage in a container may read others."""
    found: dict[str, Config] = {}
    for name in names:
        with contextlib.suppress(SettingsError):
            found[name.rpartition("/")[2]] = load_recipe(name)
    return found


def _purpose(name: str) -> str:
    try:
        return describe_recipe(name) or "a recipe of your own"
    except SettingsError:
        return "a recipe that can't be read here"
