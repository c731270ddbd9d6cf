"""Settings: typed and frozen; unknown keys are refused. A recipe is a YAML file that sets some of them."""

import difflib
import itertools
import json
import re
import reprlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from age_tasks.backbones import BACKBONES
from age_tasks.errors import SettingsError

MANY = 10  # choices that a text no longer lists
RECIPES = Path(__file__).parent / "recipes"

Fraction = Annotated[float, Field(gt=0, lt=1)]
Years = Annotated[float, Field(gt=0, le=120)]
Difference = Annotated[float, Field(ge=0, le=120)]  # years
Edges = tuple[Annotated[float, Field(ge=0, le=150)], ...]  # years
Epochs = Annotated[int, Field(ge=1, le=10_000)]
Rate = Annotated[float, Field(gt=0, le=1)]
Batch = Annotated[int, Field(ge=1, le=4096)]
RepeatedLabels = Literal["quarantine", "median", "mean"]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what NumPy takes

# Settings of earlier versions, and what to write today. `config_from_stored` reads them; people are told.
FORMER = {
    "views": "renamed to augmentation: augmentation.train_augmentations (1 to 16), "
    "augmentation.test_time_augmentation (true or false)",
    "views.training": "renamed to augmentation.train_augmentations",
    "views.prediction": "renamed to augmentation.test_time_augmentation: false for 1, true for 2",
    "gate.max_quarantine_fraction": "removed: validate.max_quarantine_fraction alone bounds the quarantine",
}

_SHOWN = reprlib.Repr()
_SHOWN.maxlevel = 2
# Of JSON schema, in words.
_KINDS = {"boolean": "true or false", "string": "text", "array": "a list of numbers"}
_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
}
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class _Loader(yaml.SafeLoader):
    """YAML in which a name stands once, and a number is what people take it for: not 1:30 as 90, 010 as 8."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """As PyYAML, which would keep the last of several values."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        names: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in names:
                raise yaml.composer.ComposerError(None, None, f"{key.value!r} is given twice", key.start_mark)
            names.add(str(key.value))
        return node

    def decimal(self, node: yaml.ScalarNode) -> int:
        """An integer; zeros in front of it are without meaning."""
        text = self.construct_scalar(node).replace("_", "")
        return int(text, 16 if "x" in text else 2 if "b" in text else 10)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if not tag.endswith((":int", ":float"))]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?([0-9][0-9_]*|0x[0-9a-fA-F_]+|0b[01_]+)$"), [*"-+0123456789"]
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^([-+]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"
    ),
    [*"-+0123456789."],
)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.decimal)


class Settings(BaseModel):
    """A section of the settings: frozen, unknown names and numbers that are not finite refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _as_written(cls, value: object, info: ValidationInfo) -> object:
        """Take an empty value for an empty text; refuse what pydantic would turn into a number.

        That is true, 1_0 as text, digits of other scripts, a set.
        """
        if isinstance(value, (set, frozenset)):
            raise PydanticCustomError("list", "Input should be a list: a set has no order")
        kind = cls.model_fields[str(info.field_name)].annotation
        if value is None and kind is str:
            return ""  # YAML reads null where nothing is written, as in --set data.split_column=
        if kind in (int, float, Edges):
            wanted = "integer, such as 3" if kind is int else "number, such as 0.5"
            for each in value if isinstance(value, (list, tuple)) else [value]:
                if isinstance(each, bool) or (isinstance(each, str) and not _NUMBER.fullmatch(each)):
                    raise PydanticCustomError("number", f"Input should be a valid {wanted}")
        return value


class DataSettings(Settings):
    """When there are enough new labels to train, and what further columns of the labels say."""

    min_new_labels: int = Field(
        0,
        ge=0,
        le=10**9,
        description="skip training if fewer images than this are new since the last one",
    )
    person_column: str = Field(
        "",
        max_length=200,
        description="column of the labels that says who is in an image; images of one person stay in one split; "
        "empty: none",
    )
    split_column: str = Field(
        "",
        max_length=200,
        description="column of the labels with a fixed split (train, val, test), which is used as it is; empty: none",
    )
    across_splits: Literal["leave_out", "refuse"] = Field(
        "leave_out",
        description="what to do where a fixed split has one person, or duplicates, in several splits: leave out of "
        "training, or stop",
    )
    repeated_labels: RepeatedLabels = Field(
        "quarantine",
        description="what to do with an image that is listed several times: put it into quarantine, or take the median "
        "or mean of its ages, as of several raters",
    )
    weight_column: str = Field(
        "",
        max_length=200,
        description="column of the labels with the weight of an image in the training, a number above 0; age_spread: "
        "the less, the more its raters differ; empty: none",
    )
    balance_ages: float = Field(
        1.0,
        ge=1,
        le=100,
        description="at most so many times as much as the most frequent ages count the rarest in the training; 1: all "
        "ages alike",
    )


class ValidateSettings(Settings):
    """What the labels must satisfy beyond `expectations/`."""

    max_quarantine_fraction: float = Field(
        0.02, ge=0, lt=1, description="fraction of rows that may be quarantined before the run stops"
    )
    min_rows: int = Field(
        100, ge=1, le=1_000_000, description="least number of accepted rows; with fewer the run stops"
    )
    max_age_shift: float = Field(
        0.15,
        ge=0,
        le=1,
        description="Kolmogorov-Smirnov distance from the ages accepted last, beyond what chance explains; "
        "above it the run stops; 1: never",
    )


class SplitSettings(Settings):
    """How images are assigned to train, validation and test."""

    test_fraction: Fraction = Field(0.15, description="fraction of all images in the test split")
    val_fraction: Fraction = Field(0.15, description="fraction of all images in the validation split")
    bins: Literal["quantile", "equal_width"] = Field(
        "quantile", description="age strata of equal counts or of equal widths"
    )
    n_bins: int = Field(10, ge=1, le=100, description="number of age strata")
    seed: Seed = Field(42, description="seed of the shuffle within strata")

    @model_validator(mode="after")
    def _leave_some_to_train(self) -> "SplitSettings":
        if self.test_fraction + self.val_fraction >= 1:
            raise ValueError(
                f"test_fraction {self.test_fraction:g} and val_fraction {self.val_fraction:g} leave nothing to train on"
                "; lower one"
            )
        return self


class ModelSettings(Settings):
    """The network: a pretrained backbone and a head."""

    backbone: str = Field(
        "resnet50",
        description="a keras.applications name in lower case, such as resnet50, or efficientnet_lite0, 1 or 2",
        json_schema_extra={"enum": list(BACKBONES)},
    )
    weights: str = Field("imagenet", description="'imagenet', or the path of a weights file")
    image_size: int = Field(224, ge=32, le=1024, description="side of the square input in pixels")
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout before and after the dense layer")
    dense_units: int = Field(128, ge=0, le=65_536, description="width of the head's dense layer; 0: none")
    head: Literal["regression", "expected_value"] = Field(
        "regression", description="one number, or the expected value of an age distribution over 0 to 100 years"
    )

    @property
    def weights_path(self) -> Path | None:
        """The file that `weights` names; None: the weights are those of ImageNet."""
        return None if self.weights == "imagenet" else Path(self.weights).expanduser()

    @field_validator("backbone")
    @classmethod
    def _known_backbone(cls, name: str) -> str:
        if name not in BACKBONES:
            raise PydanticCustomError(
                "backbone", f"no such backbone.{did_you_mean(name, BACKBONES)} Choose one of {', '.join(BACKBONES)}"
            )
        return name

    @model_validator(mode="after")
    def _large_enough(self) -> "ModelSettings":
        least = BACKBONES[self.backbone].least_size
        if self.image_size < least:
            raise PydanticCustomError(
                "size", f"image_size {self.image_size} is too small for {self.backbone}; give at least {least}"
            )
        return self


class AugmentationSettings(Settings):
    """Augmentations of an image: the image, its mirror, and variants by crop, rotation, brightness and colour."""

    train_augmentations: int = Field(
        1,
        ge=1,
        le=16,
        description="cached augmentations of each training image; each epoch draws one at random, where a head alone "
        "learns only of the image and its mirror",
    )
    test_time_augmentation: bool = Field(False, description="average the predictions for an image and its mirror")

    @property
    def of_prediction(self) -> int:
        """How many augmentations of an image a prediction is the mean of: the image, and its mirror."""
        return 2 if self.test_time_augmentation else 1


class TrainingSettings(Settings):
    """One training: optimiser, length and callbacks."""

    epochs: Epochs = Field(8, description="at most this many passes over the training set")
    learning_rate: Rate = Field(1e-3, description="Adam's initial learning rate")
    batch_size: Batch = Field(32, description="images per step, of all GPUs together")
    early_stopping_patience: Epochs = Field(5, description="epochs without a better val_mae before stopping")
    reduce_lr_patience: Epochs = Field(5, description="epochs without a better val_mae before reducing the rate")
    reduce_lr_factor: Fraction = Field(0.5, description="factor applied to the learning rate at a plateau")
    schedule: Literal["plateau", "cosine"] = Field(
        "plateau",
        description="learning rate: reduced at plateaus of val_mae, or a cosine after a short warm-up",
    )
    weight_decay: float = Field(0.0, ge=0, le=1, description="decoupled weight decay of Adam (AdamW)")
    ema_momentum: float = Field(0.0, ge=0, lt=1, description="momentum of the averaged weights (EMA); 0: off")
    label_sigma: Years = Field(2.5, description="standard deviation in years of the age distribution to learn")
    mae_weight: float = Field(
        0.1, ge=0, le=1000, description="weight of the MAE beside the age distribution's cross-entropy"
    )
    seed: Seed = Field(42, description="seed of weight initialisation, dropout and batch order")


class FinetuneSettings(TrainingSettings):
    """Fine-tuning: as `TrainingSettings`, for the last layers of the backbone."""

    epochs: Epochs = Field(12, description="at most this many passes over the training set")
    learning_rate: Rate = Field(5e-5, description="Adam's initial learning rate")
    early_stopping_patience: Epochs = Field(4, description="epochs without a better val_mae before stopping")
    reduce_lr_patience: Epochs = Field(2, description="epochs without a better val_mae before reducing the rate")
    last_layers: int = Field(
        30,
        ge=1,
        le=max(backbone.layers for backbone in BACKBONES.values()),
        description="layers of the backbone to train, counted from its end",
    )
    random_crop: float = Field(
        1.0,
        gt=0,
        le=1,
        description="least area, as a fraction of the image, of what is cut out of a training image at random in each "
        "epoch, and scaled; 1: off; only where all layers of the backbone are trained",
    )
    random_flip: bool = Field(
        False,
        description="mirror half of the training images, drawn in each epoch; only where all layers of the backbone "
        "are trained",
    )
    start_from: Literal["baseline", "champion"] = Field(
        "baseline",
        description="initial weights: those of this run's baseline, or of the champion; of one that averages several "
        "networks, each of as many seeds starts from one of them; refused if the champion has learned from test or "
        "validation images of this run",
    )
    seeds: int = Field(
        1, ge=1, le=10, description="trainings that differ in their seed alone: seed, seed + 1, …; 1: one training"
    )
    combine: Literal["best", "average"] = Field(
        "best",
        description="of several seeds: the one with the lowest validation MAE, or one network that averages all: their "
        "ages, or with the head `expected_value` their age distributions, of which it predicts the median",
    )

    @property
    def at_random(self) -> tuple[str, ...]:
        """What is done with the pixels of training images at random, as settings; none: they are taken as they are."""
        cropped = (f"random_crop = {self.random_crop:g}",) if self.random_crop < 1 else ()
        return (*cropped, "random_flip = true") if self.random_flip else cropped

    def each_seed(self) -> list[int]:
        """The seed of each training, in order; after the largest that NumPy takes, 0 follows."""
        return [(self.seed + number) % 2**32 for number in range(self.seeds)]


class ComputeSettings(Settings):
    """Use of the machine; results change by rounding only, or by the order of images where features are streamed."""

    cache_budget_gb: float = Field(
        50.0,
        ge=0,
        le=1_000_000,
        description="disk for cached features; those without room are streamed from AGE_CACHE_REMOTE, or computed in "
        "every epoch",
    )
    xla: Literal["auto", "always", "never"] = Field("auto", description="compile with XLA; auto: on a GPU")
    mixed_precision: Literal["auto", "always", "never"] = Field(
        "auto",
        description="train in half precision; auto: on a GPU, and on a CPU with bfloat16",
    )
    prefix_engine: Literal["auto", "tensorflow", "litert", "openvino"] = Field(
        "auto",
        description="what computes the layers that are not trained, with the same numbers; auto: on CPUs the fastest "
        "that is installed",
    )


SLICE = "slice:"  # prefix of the columns of tables that hold the values of a `SliceColumn`
# Measured of every image; in `evaluate.slices` these names mean what was measured, not a column of the labels.
IMAGE_SLICES = BRIGHTNESS, SHARPNESS, SIZE, COLOUR = (
    "image brightness",
    "image sharpness",
    "image size",
    "image colour",
)


class SliceColumn(BaseModel):
    """By what test images are measured apart: a column of the labels or one of `IMAGE_SLICES`, and edges of bins."""

    model_config = ConfigDict(frozen=True)

    name: str
    edges: tuple[float, ...] = ()

    @property
    def key(self) -> str:
        """The name of the column in the tables of a run, such as `slice:sex`."""
        return SLICE + self.name


def parse_slice(text: str) -> tuple[SliceColumn, ...]:
    """One or two columns from a text such as `sex`, `income: 0, 20, 50` or `sex & origin`.

    Raises:
        PydanticCustomError: it is none; also a ValueError.
    """
    columns = []
    for part in text.split("&"):
        name, colon, edges = part.partition(":")
        numbers = [each.strip() for each in edges.split(",")] if colon else []
        if not name.strip() or not all(_NUMBER.fullmatch(each) for each in numbers):
            raise PydanticCustomError(
                "slice", f"{text!r} is no slice; write a column, column: edge, edge, or column & column"
            )
        bounds = tuple(map(float, numbers))
        if colon and (len(bounds) < 2 or any(low >= high for low, high in itertools.pairwise(bounds))):
            raise PydanticCustomError("slice", f"{text!r} needs two edges or more, each above the one before")
        columns.append(SliceColumn(name=name.strip(), edges=bounds))
    if len(columns) > 2:
        raise PydanticCustomError("slice", f"{text!r} joins {len(columns)} columns; join two at most")
    return tuple(columns)


class EvaluateSettings(Settings):
    """How test errors are summarised."""

    bootstrap_samples: int = Field(2000, ge=100, le=1_000_000, description="resamples behind each 95 % interval")
    comparison_samples: int = Field(
        10_000, ge=1000, le=1_000_000, description="resamples for the difference to the champion"
    )
    bin_edges: Edges = Field(
        (0, 10, 20, 30, 40, 50, 60, 70, 120),
        min_length=2,
        max_length=50,
        description="edges of the age bins in years, ascending",
    )
    seed: Seed = Field(42, description="seed of the bootstrap")
    slices: tuple[str, ...] = Field(
        (),
        max_length=20,
        description="columns of the labels by whose values the test images are measured apart: text by its values, "
        "numbers by quartiles or by edges (`income: 0, 20, 50`); two joined by & give pairs (`sex & origin`); "
        f"{', '.join(f'`{name}`' for name in IMAGE_SLICES)} need no column, and are in the report in any case",
    )

    @field_validator("slices")
    @classmethod
    def _readable_slices(cls, slices: tuple[str, ...]) -> tuple[str, ...]:
        for each in slices:
            parse_slice(each)
        return slices

    @field_validator("bin_edges")
    @classmethod
    def _ascending(cls, edges: Edges) -> Edges:
        if not all(low < high for low, high in itertools.pairwise(edges)):
            raise ValueError("each edge must be above the one before it; sort them, each once")
        return edges


class GateSettings(Settings):
    """The bounds a candidate must meet to be published."""

    max_test_mae: Years = Field(9.0, description="highest acceptable test MAE in years")
    policy: Literal["better", "not_worse"] = Field(
        "better", description="replace the champion by a better model only, or with new images also by an equal one"
    )
    tolerance_years: Years = Field(
        0.25, description="upper end of the 95 % interval of the MAE difference to the champion must be below this"
    )
    min_gain_years: Difference = Field(0.1, description="least reduction of the MAE that counts as better")
    max_bin_regression_years: Difference = Field(
        1.0, description="highest lower end of a 95 % interval by which an age bin's MAE may be worse"
    )
    max_slice_regression_years: Difference = Field(
        0.1, description="highest lower bound, for all slices together, by which the MAE of a slice may be worse"
    )
    max_slice_gap_years: Difference = Field(
        0.0, description="highest difference between the MAEs of two slices of one column; 0: no bound"
    )
    max_drift: float = Field(
        0.25,
        gt=0,
        le=100,
        description="population stability index of ages against the champion's data; 0.1 little, 0.25 much",
    )


class CardSettings(Settings):
    """Text for the model card that only the owner can write; Markdown."""

    owner: str = Field("age-team", description="who is responsible for the model")
    intended_use: str = Field(
        "Age statistics over many face images like those it was trained on.", description="what the model is for"
    )
    limits: str = Field(
        "No decision about a person, no proof of age, no identification.", description="what it must not be used for"
    )
    data_terms: str = Field(
        "Not stated: ask the owner before sharing the data or the model.",
        description="terms under which the images and labels may be used",
    )


class Config(Settings):
    """Every number of a retraining."""

    recipe: str = Field("reference", min_length=1, description="name of the recipe these settings started from")
    data: DataSettings = DataSettings()
    validate_: ValidateSettings = Field(ValidateSettings(), alias="validate")
    split: SplitSettings = SplitSettings()
    model: ModelSettings = ModelSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    baseline: TrainingSettings = TrainingSettings()
    finetune: FinetuneSettings = FinetuneSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    gate: GateSettings = GateSettings()
    card: CardSettings = CardSettings()
    compute: ComputeSettings = ComputeSettings()

    @model_validator(mode="after")
    def _layers_exist(self) -> "Config":
        wanted, layers = self.finetune.last_layers, BACKBONES[self.model.backbone].layers
        if wanted > layers:
            raise PydanticCustomError(
                "layers",
                f"finetune.last_layers = {wanted}: {self.model.backbone} has {layers} layers; give at most that",
            )
        return self

    @model_validator(mode="after")
    def _random_where_training_begins(self) -> "Config":
        wanted, layers = self.finetune.last_layers, BACKBONES[self.model.backbone].layers
        if self.finetune.at_random and wanted < layers:
            raise PydanticCustomError(
                "pixels",
                f"finetune.{self.finetune.at_random[0]}: only pixels are cut or mirrored at random, and a training of "
                f"{wanted} of the {layers} layers of {self.model.backbone} begins behind the frozen ones; give "
                f"finetune.last_layers = {layers}, or use augmentation.train_augmentations",
            )
        return self

    def with_overrides(self, overrides: Mapping[str, object], source: str = "--set") -> "Config":
        """A copy with dotted settings replaced, such as `{"finetune.epochs": 3}`.

        Args:
            overrides: values by dotted name.
            source: where they were given, for messages: `--set`, `AGE_SET`, the trigger form.

        Raises:
            SettingsError: an unknown or former setting, or a value out of its bounds; names source and setting.
        """
        values = self.to_dict()
        for name, value in overrides.items():
            section, _, field = name.partition(".")
            if name in FORMER or not field or not isinstance(values.get(section), dict):
                raise SettingsError(f"{source} {_unknown(name)}")
            values[section][field] = value
        try:
            return config_from_dict(values)
        except SettingsError as error:
            raise SettingsError(*(f"{source} {problem}" for problem in error.args)) from None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, as stored with every run."""
        return self.model_dump(mode="json", by_alias=True)

    def section(self, name: str) -> dict[str, Any]:
        """One section as plain JSON types; part of a stage's fingerprint."""
        section: dict[str, Any] = self.to_dict()[name]
        return section


class SettingChange(BaseModel):
    """A setting of a run whose value is not that of its recipe."""

    model_config = ConfigDict(frozen=True)

    name: str  # dotted
    value: Any
    recipe: Any

    @property
    def sentence(self) -> str:
        """Such as `gate.max_test_mae 20 (recipe: 9)`."""
        return f"{self.name} {self.shown} (recipe: {self.shown_recipe})"

    @property
    def shown(self) -> str:
        """The value for people."""
        return _in_words(self.value)

    @property
    def shown_recipe(self) -> str:
        """The recipe's value for people."""
        return _in_words(self.recipe)


def changed_settings(config: Config, recipe: Config) -> tuple[SettingChange, ...]:
    """The settings of a run that differ from those of its recipe, in the order of the sections."""
    return tuple(
        SettingChange(name=f"{section}.{field}", value=value, recipe=recipe.section(section)[field])
        for section in _sections()
        for field, value in config.section(section).items()
        if value != recipe.section(section)[field]
    )


def _in_words(value: object) -> str:
    number = isinstance(value, float) and value.is_integer() and abs(value) < 1e15
    return value if isinstance(value, str) else json.dumps(int(value) if number else value)  # type: ignore[call-overload]


def config_from_dict(values: Mapping[str, object]) -> Config:
    """The settings in `values`, defaults elsewhere.

    Raises:
        SettingsError: names each unknown key and each value that breaks its bound.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise SettingsError(*map(_explain, error.errors())) from None


def config_from_stored(values: Mapping[str, Any]) -> Config:
    """As `config_from_dict`, of settings that this or an earlier version stored with a run (`run.json`).

    Raises:
        SettingsError: they are not such settings.
    """
    migrated = dict(values)
    if former := migrated.pop("views", None):
        migrated["augmentation"] = _augmentation_from_views(former)
    if isinstance(gate := values.get("gate"), Mapping):
        migrated["gate"] = {name: value for name, value in gate.items() if f"gate.{name}" not in FORMER}
    return config_from_dict(migrated)


def stored_augmentation(manifest: Mapping[str, Any]) -> AugmentationSettings:
    """The augmentation settings in a version's manifest: `augmentation`, or `views` as written until 0.1.0.

    Raises:
        SettingsError: they are not such settings.
    """
    stored = manifest.get("augmentation") or _augmentation_from_views(manifest.get("views"))
    return config_from_dict({"augmentation": stored}).augmentation


def _augmentation_from_views(views: object) -> dict[str, Any]:
    if not isinstance(views, Mapping) or not {"training", "prediction"} <= views.keys():
        raise SettingsError(
            f"views = {_shown(views)}: expected an object with training and prediction, as 0.1.0 wrote it; restore it"
        )
    return {"train_augmentations": views["training"], "test_time_augmentation": views["prediction"] == 2}


def recipe_names() -> list[str]:
    """The recipes in `age_tasks/recipes/`, sorted."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def load_recipe(name: str) -> Config:
    """The recipe `name` from `age_tasks/recipes/`, or a YAML file's path.

    Raises:
        SettingsError: no such recipe, broken YAML, or invalid settings.
    """
    path, content = _recipe_file(name)
    values = _parse_yaml(content, str(path)) or {}
    if not isinstance(values, dict):
        raise SettingsError(
            f"{path}: a recipe is a mapping of sections such as 'finetune:', not {type(values).__name__}"
        )
    try:
        return config_from_dict({"recipe": path.stem, **_by_section(values)})
    except SettingsError as error:
        raise SettingsError(*(f"{path}: {problem}" for problem in error.args)) from None


def parse_overrides(assignments: Iterable[str]) -> dict[str, object]:
    """`["finetune.epochs=3"]` as `{"finetune.epochs": 3}`; values are read as YAML.

    Raises:
        SettingsError: an assignment without `=`, or a value that is not YAML.
    """
    overrides: dict[str, object] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise SettingsError(f"--set {assignment}: write it as section.setting=value, such as finetune.epochs=3")
        overrides[name.strip()] = _yaml_value(value, f"--set {assignment}")
    return overrides


def describe_settings() -> list[tuple[str, str, str]]:
    """(dotted name, default, description) of every setting, for documentation, help and trigger form."""
    return [
        (f"{section}.{name}", json.dumps(_plain(field.default)), field.description or "")
        for section, settings in _sections().items()
        for name, field in settings.model_fields.items()
    ]


def setting_schema(name: str) -> dict[str, Any]:
    """The JSON schema of a setting, such as `finetune.epochs`: its type, bounds, choices and description."""
    section, _, field = name.partition(".")
    return dict(_schemas()[section][field])


def allowed_values(name: str) -> str:
    """What a setting may be, for people: `1 to 16`, `above 0, at most 1`, `better, not_worse`."""
    schema = setting_schema(name)
    if choices := schema.get("enum"):
        return ", ".join(choices) if len(choices) < MANY else f"one of {len(choices)} names"
    if schema["type"] == "array" and schema["items"]["type"] == "string":
        return "a list of texts"
    if schema["type"] in _KINDS:
        return _KINDS[schema["type"]]
    if {"minimum", "maximum"} <= schema.keys():
        return f"{schema['minimum']:,} to {schema['maximum']:,}"
    return ", ".join(text.format(f"{schema[bound]:,}") for bound, text in _BOUNDS.items() if bound in schema)


def describe_recipe(name: str) -> str:
    """What a recipe is for: the comment at the beginning of its file, as one text.

    Raises:
        SettingsError: no such recipe.
    """
    lines = itertools.takewhile(
        lambda line: line.startswith("#"), _recipe_file(name)[1].decode(errors="replace").splitlines()
    )
    return " ".join(line.lstrip("# ") for line in lines)


def similar_names(name: str, choices: Iterable[str]) -> list[str]:
    """The choices that somebody may have meant who wrote `name`, at most four; dotted ones also by their last part."""
    known = list(dict.fromkeys(choices))
    for part in (_letters, lambda text: _letters(text.rpartition(".")[2])):
        if found := [choice for choice in known if part(choice) == part(name)]:
            return found[:4]
    near = difflib.get_close_matches(_letters(name), map(_letters, known), n=2, cutoff=0.75)
    last = difflib.get_close_matches(_letters(name), [_letters(each.rpartition(".")[2]) for each in known], n=1)
    found = [choice for letters in near for choice in known if _letters(choice) == letters]
    return (found or [choice for choice in known if _letters(choice.rpartition(".")[2]) in last])[:4]


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """` Did you mean …?`, or nothing."""
    found = similar_names(name, choices)
    return f" Did you mean {' or '.join(found)}?" if found else ""


def _recipe_file(name: str) -> tuple[Path, bytes]:
    """The path and content of a recipe."""
    path = RECIPES / f"{name}.yaml" if name in recipe_names() else Path(name)
    try:
        content = path.read_bytes() if path.suffix in {".yaml", ".yml"} and path.is_file() else None
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}; check the path and its permissions") from None
    if content is None:
        raise SettingsError(
            f"no recipe '{name}'; choose {', '.join(recipe_names())}, or give a .yaml file's path."
            f"{did_you_mean(name, recipe_names())}"
        )
    return path, content


def _parse_yaml(text: str | bytes, name: str) -> object:
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        said = " ".join(f"{error.context or ''} {error.problem or ''}".split())
        mark = error.problem_mark or error.context_mark
        at = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise SettingsError(f"{name}: not valid YAML: {said}{at}; put texts in quotes") from None
    except Exception as error:  # of PyYAML for characters, any other for values: !!int x, 2026-13-45, [[[[…
        raise SettingsError(f"{name}: not valid YAML: {' '.join(str(error).split())}; put texts in quotes") from None


def _by_section(values: Mapping[Any, Any]) -> dict[Any, Any]:
    """The values with dotted names, such as `finetune.epochs: 3`, put into their sections.

    Raises:
        SettingsError: a setting is given in both ways.
    """
    sections = {name: value for name, value in values.items() if "." not in str(name)}
    for name in values.keys() - sections.keys():
        section, _, field = str(name).partition(".")
        inner = sections.get(section) or {}
        if name not in known_settings() or not isinstance(inner, Mapping):
            raise SettingsError(_unknown(str(name)))
        if field in inner:
            raise SettingsError(f"{name} is given twice, also below '{section}:'; leave out one of them")
        sections[section] = {**inner, field: values[name]}
    return sections


def _yaml_value(text: str, name: str) -> object:
    value = _parse_yaml(text, name)
    node = yaml.compose(text, _Loader)
    if text[node.end_mark.index if node else 0 :].strip():
        raise SettingsError(f"{name}: what follows a # is a comment in YAML; put the value in quotes")
    return value


def _letters(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.casefold())


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def known_settings() -> list[str]:
    """The dotted name of every setting."""
    return [name for name, _, _ in describe_settings()]


@cache
def _sections() -> dict[str, type[Settings]]:
    """The class of each section's settings."""
    fields = Config.model_fields.items()
    return {field.alias or name: type(field.default) for name, field in fields if isinstance(field.default, Settings)}


@cache
def _schemas() -> dict[str, dict[str, dict[str, Any]]]:
    """The JSON schema of each setting, by section."""
    return {section: settings.model_json_schema()["properties"] for section, settings in _sections().items()}


def _unknown(name: str) -> str:
    """Why a dotted name is no setting, and what to write."""
    section = name.partition(".")[0]
    former = FORMER.get(name) or FORMER.get(section)
    return f"{name}: {former or f'no such setting. {_choices(section)}.{did_you_mean(name, known_settings())}'}"


def _choices(section: str) -> str:
    if section in _sections():
        return f"'{section}' has: {', '.join(_sections()[section].model_fields)}"
    return f"Sections: {', '.join(_sections())}"


def _explain(problem: ErrorDetails) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return _unknown(name)
    if not name:
        return problem["msg"]  # of several sections; it names them
    if problem["type"] == "tuple_type":
        return f"{name} = {_shown(problem['input'])}: Input should be a list, in square brackets"
    return f"{name} = {_shown(problem['input'])}: {problem['msg']}"


def _shown(value: object) -> str:
    try:
        return _SHOWN.repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a number of thousands of digits"
