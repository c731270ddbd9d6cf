"""The trigger form of the retraining; its fields have the types, bounds and help texts of the settings."""

from collections.abc import Callable
from typing import Any

from airflow.sdk import Param

from age_retraining_plugin.trigger_conf import changed_settings
from age_tasks.config import Config, describe_settings, recipe_names
from age_tasks.environment import Locations, WorkflowVariables

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
PROMOTION = ("gate.max_test_mae", "gate.policy", "gate.tolerance_years", "gate.min_gain_years")
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
    """The fields in the order of the form."""
    locations, variables = Locations.from_env(), WorkflowVariables.from_env()
    recipe = variables.recipe  # may be the path of a file
    data, training = "Data", "Training (empty: the value of the recipe)"
    promotion, rest = "Promotion", "Everything else"
    return {
        "labels": Param(
            locations.labels,
            type=["null", "string"],
            section=data,
            description="A table (.csv, .xlsx, .parquet) with file_name,real_age: a path or an s3:// address. "
            "Empty: AGE_LABELS.",
        ),
        "images": Param(
            locations.images if "images" in locations.model_fields_set else "",
            type=["null", "string"],
            section=data,
            description="The folder of the images. Empty: the folder images beside the labels.",
        ),
        "recipe": Param(
            recipe,
            type="string",
            enum=list(dict.fromkeys([*recipe_names(), recipe])),
            section=training,
            description="Every number of the training. The recipe demo is small and fast.",
        ),
        **{name: setting(name, training) for name in TRAINING},
        "require_approval": Param(
            variables.require_approval,
            type="boolean",
            section=promotion,
            description="Ask a person before a candidate that passed the gate becomes the champion.",
        ),
        "approval_hours": Param(
            72,
            type="number",
            exclusiveMinimum=0,
            maximum=30 * 24,
            section=promotion,
            description="Hours to answer; without an answer the candidate is not promoted.",
        ),
        **{name: setting(name, promotion) for name in PROMOTION},
        "again": Param(
            False,
            type="boolean",
            section=rest,
            description="Execute every stage, even if nothing has changed since it last finished.",
        ),
        "settings": Param(
            {},
            type="object",
            section=rest,
            description='Further settings to replace, such as {"finetune.epochs": 3}. All settings: '
            + ", ".join(name for name, _, _ in describe_settings()),
        ),
    }


def setting(name: str, section: str) -> Param:
    """The field of a setting; an empty field leaves the recipe's value.

    Args:
        name: dotted, such as `finetune.epochs`.
        section: of the form.
    """
    group, _, field = name.partition(".")
    schema = type(getattr(Config.model_validate({}), group)).model_json_schema()["properties"][field]
    rules: dict[str, Any] = {key: each for key, each in schema.items() if key.lower().endswith(("minimum", "maximum"))}
    if "enum" in schema:
        rules |= {"enum": [None, *schema["enum"]], "values_display": {"null": "the value of the recipe"}}
    text = schema["description"]
    return Param(
        None,
        type=["null", schema["type"]],
        section=section,
        description=f"{text[0].upper()}{text[1:]}.",
        **rules,
    )
