"""Settings: typed, frozen, and every unknown key refused. A recipe is a YAML file that fills them in."""

import json
import reprlib
from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from age_tasks.errors import SettingsError

RECIPES = Path(__file__).parent / "recipes"

Fraction = Annotated[float, Field(gt=0, lt=1)]
Years = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what NumPy takes

_SHOWN = reprlib.Repr()
_SHOWN.maxlevel = 2


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataSettings(Settings):
    """When labels are worth a training."""

    min_new_labels: int = Field(
        0,
        ge=0,
        le=10**9,
        description="a run ends early, skipped, with fewer pictures that no finished training has seen",
    )


class ValidateSettings(Settings):
    """What the labels must satisfy beyond `expectations/`."""

    max_quarantine_fraction: float = Field(
        0.02, ge=0, lt=1, description="share of rows that may be set aside before the run stops"
    )


class SplitSettings(Settings):
    """How images are dealt to train, validation and test."""

    test_fraction: Fraction = Field(0.15, description="share of all images held out for the test")
    val_fraction: Fraction = Field(0.15, description="share of all images for validation")
    bins: Literal["quantile", "equal_width"] = Field(
        "quantile", description="how age is cut into strata: equal counts or equal widths"
    )
    n_bins: int = Field(10, ge=1, le=100, description="number of age strata")
    seed: Seed = Field(42, description="seed of the shuffle within strata")

    @model_validator(mode="after")
    def _leave_some_to_train(self) -> "SplitSettings":
        if self.test_fraction + self.val_fraction >= 1:
            raise ValueError(
                f"test_fraction {self.test_fraction:g} and val_fraction {self.val_fraction:g} leave nothing to train on"
            )
        return self


class ModelSettings(Settings):
    """The network: a pretrained backbone and a regression head."""

    backbone: str = Field("resnet50", description="a keras.applications name, or efficientnet_lite0")
    weights: str = Field("imagenet", description="'imagenet', or the path of a weights file")
    image_size: int = Field(224, ge=32, le=1024, description="side of the square input in pixels")
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout before and after the dense layer")
    dense_units: int = Field(128, ge=0, le=65_536, description="width of the head's dense layer; 0: none")
    head: Literal["regression", "expected_value"] = Field(
        "regression", description="years directly, or the expected value over shares of the ages 0 to 100"
    )


class ViewsSettings(Settings):
    """Views of a picture: the picture, its mirror, and further ones by crops, small turns and light."""

    training: int = Field(1, ge=1, le=16, description="cached views of each training picture, one an epoch by lot")
    prediction: int = Field(1, ge=1, le=2, description="2: an age is the mean of the picture's and its mirror's")


class TrainingSettings(Settings):
    """One training: optimiser, length and callbacks."""

    epochs: Count = Field(8, description="at most this many passes over the training set")
    learning_rate: float = Field(1e-3, gt=0, description="Adam's initial learning rate")
    batch_size: Count = Field(32, description="images a step")
    early_stopping_patience: Count = Field(5, description="epochs without a better val_mae before stopping")
    reduce_lr_patience: Count = Field(5, description="epochs without a better val_mae before a lower rate")
    reduce_lr_factor: Fraction = Field(0.5, description="factor on the learning rate at a plateau")
    schedule: Literal["plateau", "cosine"] = Field(
        "plateau", description="lower the rate at plateaus of val_mae, or along a cosine after a short warm-up"
    )
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay of Adam (AdamW)")
    ema_momentum: float = Field(0.0, ge=0, lt=1, description="average the weights over steps; 0: don't")
    label_sigma: Years = Field(2.5, description="width of the age shares to learn, for the expected_value head")
    mae_weight: float = Field(0.1, ge=0, description="weight of the MAE beside the age shares' loss")
    seed: Seed = Field(42, description="seed of weight initialisation, dropout and batch order")


class FinetuneSettings(TrainingSettings):
    """Fine-tuning: the same, for the last layers of the backbone."""

    epochs: Count = Field(12, description="at most this many passes over the training set")
    learning_rate: float = Field(5e-5, gt=0, description="Adam's initial learning rate")
    early_stopping_patience: Count = Field(4, description="epochs without a better val_mae before stopping")
    reduce_lr_patience: Count = Field(2, description="epochs without a better val_mae before a lower rate")
    last_layers: Count = Field(30, description="layers of the backbone to train, counted from its end")
    start_from: Literal["baseline", "champion"] = Field(
        "baseline", description="weights to start from: this run's baseline, or the model in use"
    )


class ComputeSettings(Settings):
    """What the machine may do; results stay the same within the noise of its arithmetic."""

    cache_budget_gb: float = Field(50.0, ge=0, description="disk for cached features; beyond it images are streamed")
    xla: Literal["auto", "always", "never"] = Field("auto", description="compile with XLA; auto: on a GPU")
    mixed_precision: Literal["auto", "always", "never"] = Field(
        "auto",
        description="train in half precision; auto: on a GPU, and on a CPU with bfloat16",
    )


class EvaluateSettings(Settings):
    """How test errors are summarised."""

    bootstrap_samples: int = Field(2000, ge=100, le=1_000_000, description="resamples behind each 95 % interval")
    comparison_samples: int = Field(
        10_000, ge=1000, le=1_000_000, description="the same, of the difference to the champion"
    )
    bin_edges: tuple[float, ...] = Field(
        (0, 10, 20, 30, 40, 50, 60, 70, 120),
        min_length=2,
        description="edges of the age bins in years, ascending",
    )
    seed: Seed = Field(42, description="seed of the bootstrap")

    @field_validator("bin_edges")
    @classmethod
    def _ascending(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        if not all(low < high for low, high in pairwise(edges)):
            raise ValueError("each edge must be above the one before it")
        return edges


class GateSettings(Settings):
    """The bounds a candidate must meet to be published."""

    max_test_mae: Years = Field(9.0, description="highest acceptable test MAE in years")
    policy: Literal["better", "not_worse"] = Field(
        "better", description="what a champion must yield to: a better model, or with new images also an equal one"
    )
    tolerance_years: Years = Field(
        0.25, description="the MAE may be that much worse than the champion's, at the upper end of the 95 % interval"
    )
    min_gain_years: float = Field(0.1, ge=0, description="a better model's MAE is that much lower at least")
    max_bin_regression_years: float = Field(
        1.0, ge=0, description="no age bin's MAE may be that much worse beyond chance"
    )
    max_quarantine_fraction: float = Field(0.02, ge=0, lt=1, description="share of the labels that may be set aside")
    max_drift: float = Field(
        0.25, gt=0, description="population stability index of ages against the champion's data; 0.1 little, 0.25 much"
    )


class CardSettings(Settings):
    """What only the owner can say of a model, for its card; Markdown."""

    owner: str = Field("age-team", description="who answers for the model")
    intended_use: str = Field(
        "Age statistics over many pictures of faces like those it was trained on.", description="what the model is for"
    )
    limits: str = Field(
        "No decision about a person, no proof of age, no identification.", description="what it must not be used for"
    )
    data_terms: str = Field(
        "Not stated: ask the owner before the data or the model is passed on.",
        description="terms under which the pictures and labels may be used",
    )


class Config(Settings):
    """Every number of a retraining."""

    recipe: str = Field("reference", description="name of the recipe these settings started from")
    data: DataSettings = DataSettings()
    validate_: ValidateSettings = Field(ValidateSettings(), alias="validate")
    split: SplitSettings = SplitSettings()
    model: ModelSettings = ModelSettings()
    views: ViewsSettings = ViewsSettings()
    baseline: TrainingSettings = TrainingSettings()
    finetune: FinetuneSettings = FinetuneSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    gate: GateSettings = GateSettings()
    card: CardSettings = CardSettings()
    compute: ComputeSettings = ComputeSettings()

    def with_overrides(self, overrides: dict[str, object]) -> "Config":
        """A copy with dotted settings replaced, such as `{"finetune.epochs": 3}`.

        Raises:
            SettingsError: an unknown setting or a value out of its bounds.
        """
        values = self.to_dict()
        for name, value in overrides.items():
            section, _, field = name.partition(".")
            if not field or not isinstance(values.get(section), dict):
                raise SettingsError(f"--set {name}: no such setting. {_choices(section)}")
            values[section][field] = value
        return config_from_dict(values)

    def to_dict(self) -> dict:
        """Plain JSON types, as kept with every run."""
        return self.model_dump(mode="json", by_alias=True)

    def section(self, name: str) -> dict:
        """One section as plain JSON types; what a stage's fingerprint is made of."""
        return self.to_dict()[name]


def config_from_dict(values: dict) -> Config:
    """The settings in `values`, defaults elsewhere.

    Raises:
        SettingsError: names each unknown key and each value that breaks its bound.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(problem) for problem in error.errors())) from None


def recipe_names() -> list[str]:
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def load_recipe(name: str) -> Config:
    """The recipe `name` from `age_tasks/recipes/`, or a YAML file's path.

    Raises:
        SettingsError: no such recipe, broken YAML, or settings that don't hold.
    """
    path = RECIPES / f"{name}.yaml" if name in recipe_names() else Path(name)
    try:
        content = path.read_bytes() if path.suffix in {".yaml", ".yml"} and path.is_file() else None
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    if content is None:
        raise SettingsError(f"no recipe '{name}'; there are {', '.join(recipe_names())}, or give a .yaml file's path")
    values = _parse_yaml(content, str(path)) or {}
    if not isinstance(values, dict):
        raise SettingsError(
            f"{path}: a recipe is a mapping of sections such as 'finetune:', not {type(values).__name__}"
        )
    try:
        return config_from_dict({"recipe": path.stem, **values})
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None


def parse_overrides(assignments: Iterable[str]) -> dict[str, object]:
    """`["finetune.epochs=3"]` as `{"finetune.epochs": 3}`; values are read as YAML.

    Raises:
        SettingsError: an assignment without `=`, or a value that is no YAML.
    """
    overrides = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise SettingsError(f"--set {assignment}: write it as section.setting=value, such as finetune.epochs=3")
        overrides[name.strip()] = _yaml_value(value, f"--set {assignment}")
    return overrides


def describe_settings() -> list[tuple[str, str, str]]:
    """(dotted name, default, description) of every setting; the README, the help and the trigger form use it."""
    rows = []
    for section, field in Config.model_fields.items():
        if isinstance(field.default, Settings):
            rows += [
                (
                    f"{field.alias or section}.{name}",
                    json.dumps(_plain(inner.default)),
                    inner.description or "",
                )
                for name, inner in type(field.default).model_fields.items()
            ]
    return rows


def _parse_yaml(text: str | bytes, name: str) -> object:
    try:
        return yaml.safe_load(text)
    except Exception as error:  # of PyYAML for its syntax, any other for values: !!int x, 2026-13-45, [[[[…
        raise SettingsError(f"{name}: not valid YAML: {error}") from None


def _yaml_value(text: str, name: str) -> object:
    value = _parse_yaml(text, name)
    if isinstance(value, str):  # YAML 1.1 reads 1e-3 as text
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


@cache
def _known() -> dict[str, list[str]]:
    known: dict[str, list[str]] = {}
    for name, _, _ in describe_settings():
        section, _, field = name.partition(".")
        known.setdefault(section, []).append(field)
    return known


def _choices(section: str) -> str:
    if section in _known():
        return f"'{section}' has: {', '.join(_known()[section])}"
    return f"Sections: {', '.join(_known())}"


def _explain(problem: dict) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        section = str(problem["loc"][0]) if len(problem["loc"]) > 1 else ""
        return f"{name}: no such setting. {_choices(section)}"
    return f"{name} = {_shown(problem['input'])}: {problem['msg']}"


def _shown(value: object) -> str:
    try:
        return _SHOWN.repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a number without end"
