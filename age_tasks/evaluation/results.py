"""What evaluation and gate hand on: `metrics.json` and `gate.json`. Ages and errors in years."""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict

from age_tasks.config import SettingChange
from age_tasks.evaluation.enough import too_few
from age_tasks.store.documents import Document

LABELS_TO_LOOK_AT = 200  # rows kept for a labeller


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Estimate(_Part):
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


class ModelMetrics(_Part):
    """A model on the test images; `cs5` is the fraction (0–1) of predictions within 5 years."""

    mae: Estimate
    rmse: Estimate
    bias: Estimate
    cs5: Estimate


class ConstantMetrics(_Part):
    """The MAE of predicting one age for everyone."""

    mae: float


class Mistaken(_Part):
    """Images of a group of people, and the fraction (0–1) predicted to be outside it; None without images."""

    images: int
    mistaken: float | None


class ImagesOfPeople(_Part):
    """How many images, and how many people they show: None where that is not known, and before 0.2."""

    images: int
    people: int | None = None

    @property
    def too_few(self) -> str:
        """`few images` or `few people` where these are too few to judge by; else empty."""
        return too_few(self.images, self.people)


class BinDifference(ImagesOfPeople, Estimate):
    """MAE of the candidate less MAE of the champion on the test images of an age bin."""

    low_age: float
    high_age: float
    candidate_mae: float | None = None  # as `champion_mae`, unknown before 0.2
    champion_mae: float | None = None


class SliceMetrics(ImagesOfPeople):
    """The fine-tuned model on the test images with one value of a column of the labels, or of two columns.

    A column may also be one of `IMAGE_SLICES`, which is measured of the images.
    """

    column: str
    value: str
    mae: Estimate
    bias: Estimate


class WeakSegment(_Part):
    """Test images that share up to two properties, on which the error is larger than on all others, beyond chance.

    The numbers are of the half of the test images in which the segment was not searched for. The interval of the
    `difference` of the MAEs holds for all segments that were tested together.
    """

    segment: str  # in words, such as "age 60 and more, image brightness up to 0.31"
    images: int
    mae: float
    mae_elsewhere: float
    difference: Estimate


class SliceDifference(ImagesOfPeople, Estimate):
    """MAE of the candidate less MAE of the champion in a slice.

    `lower_bound` holds for all slices together with a probability of 95 %.
    """

    column: str
    slice_value: str
    lower_bound: float


class PairedComparison(ImagesOfPeople, Estimate):
    """MAE of the candidate less MAE of the champion on the same test images; empty age bins are left out."""

    candidate_mae: float
    champion_mae: float
    p_value: float
    bins: tuple[BinDifference, ...]


class Challenge(_Part):
    """Which challenge of its champion a comparison is, from 1 on, and what that asks of it.

    `upper` is the upper end of the interval of the difference at `level` (0–1), in years. It must be below 0.
    """

    number: int
    level: float
    upper: float

    @property
    def level_shown(self) -> str:
        """The level in percent, such as `99.82 %`: two digits of what is left to 100."""
        digits = max(0, 1 - math.floor(math.log10(100 * (1 - self.level))))
        return f"{round(100 * self.level, digits):.12g} %"

    @property
    def needed(self) -> str:
        """What it needed, in words."""
        interval = f"the {self.level_shown} interval"
        return f"challenge {self.number} of this champion: the upper end of {interval} must be below 0"


def corrected(mae: float, optimism: float | None) -> float | None:
    """A MAE corrected for the selection of its model, in years; None where two decimals would not show a difference.

    Args:
        mae: as measured, in years.
        optimism: by how much that looks too good, in years; None where that is not known.
    """
    return mae + optimism if optimism and optimism >= 0.005 else None


class Selection(ImagesOfPeople):
    """By how much a promoted candidate's MAE on its test `images` looks too good, in years: it was chosen by it."""

    optimism: float

    def among(self, images: int, people: int | None = None) -> float:
        """The same among so many test images of a later time: what was chance on the first is shared out among all.

        Among people, where both are known: further images of the same people share little of it.
        """
        share = self.people / people if self.people and people else self.images / images
        return round(self.optimism * min(1.0, share), 4)


class ChampionComparison(PairedComparison):
    """The comparison with the champion `name` (v1, v2, …), and what the gate asks besides.

    `seen_in_training` of the test images were in the champion's training; `new_images` of all images are new since
    then; `drift` is the population stability index of the ages. `optimism` is by how much the champion's MAE on these
    images looks too good, in years, since it was chosen on them; None where that is not known. `challenge` is None
    before the gate, and in files of versions before 0.2.
    """

    version: str
    name: str
    seen_in_training: int
    new_images: int
    drift: float
    slices: tuple[SliceDifference, ...] = ()
    optimism: float | None = None
    challenge: Challenge | None = None

    @property
    def corrected_champion_mae(self) -> float | None:
        """The champion's MAE on these images corrected for its selection, in years; see `corrected`."""
        return corrected(self.champion_mae, self.optimism)


class ErrorInUse(ImagesOfPeople):
    """The MAE of the champion `name` on images of all splits that are new since it was trained.

    `test_mae` is that of its test images when it was published, None if that is lost; `optimism` is by how much it
    looks too good, in years, since the champion was chosen by it; None where that is not known. `difference` is the MAE
    on the new images less the test MAE so corrected. `few` says that the new images, or the people whom they
    show, are too few to judge by; `worse` that the MAE is higher beyond chance.
    """

    name: str
    mae: Estimate
    test_mae: Estimate | None
    optimism: float | None = None
    difference: Estimate | None
    few: bool
    worse: bool

    @property
    def corrected_test_mae(self) -> float | None:
        """The test MAE corrected for its selection, in years; see `corrected`."""
        return corrected(self.test_mae.value, self.optimism) if self.test_mae else None

    @property
    def sentence(self) -> str:
        """What was found, without a full stop."""
        images = "the image that is" if self.images == 1 else f"the {self.images} images that are"
        said = f"on {images} new since {self.name} was trained, its MAE is {_in_years(self.mae)}"
        if not (self.test_mae and self.difference):
            return f"{said}; its test MAE when it was published is not known"
        said += f"; on its test images it was {_in_years(self.test_mae)}"
        if self.corrected_test_mae is not None:
            said += f", {self.corrected_test_mae:.2f} corrected for its selection"
        if self.few:
            return f"{said}; so {self.too_few or 'few images'} are too few to judge by"
        judged, apart = "worse" if self.worse else "not worse", self.difference
        interval = f"95 % interval {apart.low:+z.2f} to {apart.high:+z.2f}"
        return f"{said}: {judged} beyond chance (difference {apart.value:+z.2f} years, {interval})"


def _in_years(number: Estimate) -> str:
    return f"{number.value:.2f} years (95 % interval {number.low:.2f} to {number.high:.2f})"


class IntervalGroup(_Part):
    """The 90 % interval around the predicted ages between `low` and `high`; None where the group is open."""

    low: float | None
    high: float | None
    half_width: float
    images: int
    test_images: int | None = None
    test_coverage: float | None = None


class PredictionInterval(_Part):
    """The interval for a nominal `coverage` (0–1), and its coverage of the test images."""

    coverage: float
    test_coverage: float
    groups: tuple[IntervalGroup, ...]


class Metrics(Document):
    """`metrics.json`: each model's metrics on the test images; `champion` is None before the first promotion.

    `people` is how many people they show, None where that is not known; intervals then resample people. `slices` are
    those of the setting `evaluate.slices`, by which the gate judges; `image_slices` are by what is measured of the
    images. `weak_segments` is None where they were not searched for, since there are too few test images, or people.
    `in_use` is None where no image is new since the champion was trained; versions before 0.2 did not measure it.
    """

    images: int
    people: int | None = None
    median_age: float
    predict_the_median: ConstantMetrics
    baseline: ModelMetrics
    finetune: ModelMetrics
    difference: Estimate
    minors: Mistaken
    adults: Mistaken
    champion: ChampionComparison | None
    interval: PredictionInterval
    slices: tuple[SliceMetrics, ...] = ()
    image_slices: tuple[SliceMetrics, ...] = ()
    weak_segments: tuple[WeakSegment, ...] | None = None
    in_use: ErrorInUse | None = None


class Rule(_Part):
    """One promotion rule, applied to a candidate: a value, a bound, and the result.

    `value` is None where nothing could be measured; the rule then refuses nothing. `recipe_bound` is the bound of the
    recipe where the run has another.
    """

    name: str
    value: float | None
    comparison: Literal["<=", "<"]  # between value and bound
    bound: float
    unit: str
    why: str
    passed: bool
    sentence: str  # the result in words, such as "test MAE: 7.10 is not <= 7.00 years"
    recipe_bound: float | None = None

    @property
    def result(self) -> str:
        """`pass`, `fail`, or `not measured`."""
        if self.value is None:
            return "not measured"
        return "pass" if self.passed else "fail"

    @property
    def limit(self) -> str:
        """The bound in words, such as `<= 20.00 years (recipe: 9.00)`."""
        limit = f"{self.comparison} {self.bound:.2f} {self.unit}".rstrip()
        return limit if self.recipe_bound is None else f"{limit} (recipe: {self.recipe_bound:.2f})"


class GateResult(Document):
    """`gate.json`: whether all rules hold, in a sentence; each rule; what differs from the recipe's settings.

    `challenge` is None where there was no champion, or an equal model was enough; `selection` where there was no
    champion, or the candidate was refused. Versions before 0.2 wrote neither.
    """

    passed: bool
    verdict: str
    rules: tuple[Rule, ...]
    changed: tuple[SettingChange, ...] = ()
    challenge: Challenge | None = None
    selection: Selection | None = None

    def corrected(self, mae: float) -> float | None:
        """The candidate's test MAE corrected for its selection, in years; see `corrected`."""
        return corrected(mae, self.selection.optimism) if self.selection else None
