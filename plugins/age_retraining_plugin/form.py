"""The trigger form of the retraining: fields for settings have the types, bounds and help of the settings classes."""

from airflow.sdk import Param

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
# What the form says of settings: the fields that were filled in, and over them the free ones.
SETTINGS = (
    f"{{{{ dict(params.items() | selectattr('0', 'in', {TRAINING + PROMOTION}) | rejectattr('1', 'none'),"
    " **params.settings) | tojson }}"
)


def retraining_form() -> dict[str, Param]:
    """The fields in the order of the form."""
    locations, variables = Locations.from_env(), WorkflowVariables.from_env()
    recipe = variables.recipe  # may be the path of a file
    data, training, promotion, rest = "Data", "Training (empty: as the recipe says)", "Promotion", "Everything else"
    return {
        "labels": Param(
            locations.labels,
            type=["null", "string"],
            section=data,
            description="labels.csv with file_name,real_age: a path or an s3:// address. Empty: AGE_LABELS.",
        ),
        "images": Param(
            locations.images if "images" in locations.model_fields_set else "",
            type=["null", "string"],
            section=data,
            description="The folder of pictures. Empty: the folder images beside the labels.",
        ),
        "recipe": Param(
            recipe,
            type="string",
            enum=list(dict.fromkeys([*recipe_names(), recipe])),
            section=training,
            description="Every number of the training. The recipe demo is small and quick.",
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
            description="Hours that there are to answer; after them the candidate is not promoted.",
        ),
        **{name: setting(name, promotion) for name in PROMOTION},
        "again": Param(
            False,
            type="boolean",
            section=rest,
            description="Carry out every stage, also those that could be reused because nothing has changed.",
        ),
        "settings": Param(
            {},
            type="object",
            section=rest,
            description='Any settings to replace, such as {"finetune.epochs": 3}. There are: '
            + ", ".join(name for name, _, _ in describe_settings()),
        ),
    }


def setting(name: str, section: str) -> Param:
    """The field of a setting; left empty, the recipe's value holds.

    Args:
        name: dotted, such as `finetune.epochs`.
        section: of the form.
    """
    group, _, field = name.partition(".")
    schema = type(getattr(Config(), group)).model_json_schema()["properties"][field]
    bounds = {key: value for key, value in schema.items() if key.lower().endswith(("minimum", "maximum"))}
    choices = (
        {"enum": [None, *schema["enum"]], "values_display": {"null": "as the recipe says"}} if "enum" in schema else {}
    )
    text = schema["description"]
    return Param(
        None,
        type=["null", schema["type"]],
        section=section,
        description=f"{text[0].upper()}{text[1:]}.",
        **bounds,
        **choices,
    )
