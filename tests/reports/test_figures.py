from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from PIL import Image

from age_tasks.evaluation.results import IntervalGroup, SliceMetrics
from age_tasks.reports import figures
from age_tasks.reports.figures import ACCENT, BASELINE, FINETUNE, HISTOGRAM_REACH, NEUTRAL
from tests.support.metrics import comparison_of

Draw = Callable[[], Figure]

HISTORY = pd.DataFrame(
    {
        "epoch": [1, 2, 3, 4],
        "mae": [12.0, 9.0, 7.0, 6.0],
        "val_mae": [11.0, 9.5, 8.9, 9.1],
        "learning_rate": [1e-3, 1e-3, 1e-3, 1e-3],
    }
)
GROUPS = [
    IntervalGroup(low=None, high=40, half_width=6.0, images=100),
    IntervalGroup(low=40, high=None, half_width=9.0, images=100),
]
BY_AGE = pd.DataFrame(
    {
        "bin": ["0–10", "10–20", "over 20"],
        "images": [12, 0, 40],
        "baseline_mae": [8.0, np.nan, 8.0],
        "finetune_mae": [4.0, np.nan, 4.0],
        "finetune_bias": [1.5, np.nan, -2.0],
    }
)
COMPARISON = comparison_of(
    images=60,
    value=-0.5,
    low=-0.8,
    high=-0.2,
    bins=[
        {"low_age": 0, "high_age": 20, "images": 20, "value": 0.1, "low": -0.4, "high": 0.6},
        {"low_age": 20, "high_age": 120, "images": 40, "value": 0.9, "low": 0.3, "high": 1.5},
    ],
)
SLICES = [
    SliceMetrics(
        column=column,
        value=value,
        images=images,
        mae={"value": mae, "low": mae - 1, "high": mae + 2},
        bias={"value": 0, "low": -1, "high": 1},
    )
    for column, value, images, mae in (
        ("image brightness", "0.1 to 0.4", 40, 7.0),
        ("image brightness", "0.4 to 0.8", 60, 5.0),
        ("image colour", "$greyscale$", 9, 8.0),
    )
]
RED_FACE = (np.full((112, 112, 3), (220, 20, 60), np.uint8), "31 → 80")


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    """200 test images: the baseline is off by about 9 years, the fine-tuned model by about 5."""
    rng = np.random.default_rng(0)
    real = rng.uniform(1, 90, 200).round()
    return pd.DataFrame(
        {"real_age": real, "baseline": real + rng.normal(0, 9, 200), "finetune": real + rng.normal(0, 5, 200)}
    )


@pytest.fixture(
    params=[
        "curve",
        "scatter",
        "by age",
        "errors",
        "ages",
        "splits",
        "interval",
        "drift",
        "difference",
        "quality",
        "faces",
    ]
)
def draw(request: pytest.FixtureRequest, predictions: pd.DataFrame) -> Draw:
    real, predicted = predictions["real_age"], predictions["finetune"]
    return {
        "curve": lambda: figures.learning_curve(HISTORY, title="Learning curve"),
        "scatter": lambda: figures.predicted_against_real(predictions, "finetune"),
        "by age": lambda: figures.error_by_age(BY_AGE),
        "errors": lambda: figures.error_histogram(predictions),
        "ages": lambda: figures.age_histogram(real, title="Ages"),
        "splits": lambda: figures.split_ages(predictions[:140], predictions[140:170], predictions[170:]),
        "interval": lambda: figures.interval_held(predictions, "finetune", GROUPS),
        "drift": lambda: figures.age_drift(real, predicted, 0.02, champion="v4"),
        "difference": lambda: figures.difference_by_age(COMPARISON),
        "quality": lambda: figures.error_by_image(SLICES, 6.0),
        "faces": lambda: figures.face_sheet([RED_FACE] * 5, title="Faces"),
    }[request.param]


def test_a_saved_figure_is_a_readable_png_of_moderate_size(draw: Draw, tmp_path: Path):
    path = tmp_path / "a folder" / "figure.png"
    figures.save(draw(), path)
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert 600 <= image.width <= 1500
        assert 200 <= image.height <= 1200
    assert 3_000 < path.stat().st_size < 300_000


def test_drawing_leaves_the_global_style_alone(draw: Draw, tmp_path: Path):
    theirs = {"font.size": 7.0, "axes.grid": False, "axes.spines.top": True}
    with matplotlib.rc_context(theirs):
        figures.save(draw(), tmp_path / "figure.png")
        assert {name: matplotlib.rcParams[name] for name in theirs} == theirs


def test_the_learning_curve_marks_the_epoch_with_the_best_validation():
    curve, marked = lines(figures.learning_curve(HISTORY, title=""))["validation"], kept(HISTORY)
    assert curve == [(1, 11.0), (2, 9.5), (3, 8.9), (4, 9.1)]
    assert marked == (3, 8.9)
    assert kept(HISTORY.assign(val_mae=[6.0, 7.0, 8.0, 9.0])) == (1, 6.0)


def test_the_learning_curve_shows_where_the_learning_rate_fell():
    assert dotted_lines(figures.learning_curve(HISTORY, title="")) == []
    halved = HISTORY.assign(learning_rate=[1e-3, 1e-3, 5e-4, 5e-4])
    assert dotted_lines(figures.learning_curve(halved, title="")) == [3]


def test_the_learning_curve_of_a_single_epoch_marks_it():
    assert kept(HISTORY[:1]) == (1, 11.0)


def test_bars_are_as_high_as_the_errors():
    upper, lower = figures.error_by_age(BY_AGE).axes
    assert bars(upper, BASELINE) == [8, 0, 8]
    assert bars(upper, FINETUNE) == [4, 0, 4]
    assert bars(lower, FINETUNE) == [1.5, 0, -2]
    assert [text.get_text() for text in lower.texts] == ["+1.5", "", "-2.0"]  # an empty bin has its place, no number
    assert [label.get_text() for label in lower.get_xticklabels()] == [
        "0–10\nn = 12",
        "10–20\nn = 0",
        "over 20\nn = 40",
    ]


def test_the_champion_has_bars_between_the_models():
    upper, _ = figures.error_by_age(BY_AGE.assign(champion_mae=[5.0, np.nan, 6.0])).axes
    assert bars(upper, NEUTRAL) == [5, 0, 6]
    assert [text.get_text() for text in upper.get_legend().get_texts()] == ["baseline", "champion", "fine-tuned"]


def test_error_by_age_without_any_image():
    empty = BY_AGE.assign(images=0, baseline_mae=np.nan, finetune_mae=np.nan, finetune_bias=np.nan)
    upper, _ = figures.error_by_age(empty).axes
    assert bars(upper, FINETUNE) == [0, 0, 0]


def test_every_prediction_is_a_point_beside_the_diagonal(predictions: pd.DataFrame):
    axes = only_axes(figures.predicted_against_real(predictions, "finetune"))
    assert points(axes, FINETUNE) == list(zip(predictions["real_age"], predictions["finetune"], strict=True))
    (diagonal,) = axes.lines
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata())
    assert axes.get_xlim()[1] == axes.get_ylim()[1] > predictions["finetune"].max()


def test_a_prediction_below_zero_is_within_the_axes():
    table = pd.DataFrame({"real_age": [50.0, 50.0], "finetune": [50.0, -60.0]})
    assert only_axes(figures.predicted_against_real(table, "finetune")).get_ylim()[0] == -60


@pytest.mark.parametrize("count", [1, 3])
def test_few_predictions(count: int, predictions: pd.DataFrame, tmp_path: Path):
    few = predictions[:count]
    assert len(points(only_axes(figures.predicted_against_real(few, "finetune")), FINETUNE)) == count
    assert sum(bars(only_axes(figures.error_histogram(few)), BASELINE)) == count
    assert sum(bars(only_axes(figures.age_histogram(few["real_age"], title="")), FINETUNE)) == count
    assert len(steps(figures.split_ages(few, few[:0], few[:0]))) == 3


def test_a_model_that_predicts_too_old_has_its_errors_right_of_zero(predictions: pd.DataFrame):
    older = predictions.assign(baseline=predictions["real_age"] + 21, finetune=predictions["real_age"] - 21)
    axes = only_axes(figures.error_histogram(older))
    (filled,) = {bar.get_x() for bar in axes.patches if hasattr(bar, "get_x") and bar.get_height()}
    assert filled == 20  # the bin from 20 to 22
    (outline,) = [patch for patch in axes.patches if not hasattr(patch, "get_x")]
    corners = outline.get_xy()
    assert corners[corners[:, 1] > 0, 0].max() == -20


def test_slices_by_image_quality_stand_under_the_name_of_what_was_measured():
    axes = only_axes(figures.error_by_image(SLICES, 6.0))
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "image brightness",
        "0.1 to 0.4  (n = 40)",
        "0.4 to 0.8  (n = 60)",
        "image colour",
        "$greyscale$  (n = 9)",
    ]
    places = {place: label for label, place in zip(axes.get_yticklabels(), axes.get_yticks(), strict=True)}
    dots = [line.get_xydata()[0] for line in axes.lines if line.get_marker() == "o"]
    assert {places[place].get_text().split("  ")[0]: mae for mae, place in dots} == {
        "0.1 to 0.4": 7.0,
        "0.4 to 0.8": 5.0,
        "$greyscale$": 8.0,
    }


def test_extreme_errors_are_counted_in_the_outermost_bins():
    table = pd.DataFrame({"real_age": [30.0, 30.0], "baseline": [30.0, 900.0], "finetune": [30.0, 31.0]})
    axes = only_axes(figures.error_histogram(table))
    assert sum(bars(axes, BASELINE)) == 2
    assert axes.get_xlim()[1] < HISTOGRAM_REACH + 10
    assert "outermost: 58 and more" in axes.get_xlabel()


def test_images_outside_the_interval_are_highlighted():
    table = pd.DataFrame({"real_age": [20.0, 30.0], "finetune": [20.0, 38.0]})
    figure = figures.interval_held(table, "finetune", GROUPS)
    assert points(only_axes(figure), FINETUNE) == [(20, 20)]
    assert points(only_axes(figure), ACCENT) == [(38, 30)]
    assert only_axes(figure).get_title(loc="left") == "50.0 % of the test images lie within the interval"


def test_the_age_histogram_includes_the_oldest():
    axes = only_axes(figures.age_histogram(pd.Series([117.0] * 9), title="Old"))
    assert [(bar.get_x(), bar.get_height()) for bar in axes.patches if bar.get_height()] == [(115, 9)]


def test_splits_of_one_distribution_coincide_at_any_size():
    ages = pd.DataFrame({"real_age": [5.0] * 30 + [25.0] * 60 + [65.0] * 10})
    train, val, test = steps(figures.split_ages(ages, ages[::10], ages[::10]))
    assert train == val == test
    assert (train[1], train[5], train[13], sum(train)) == (30, 60, 10, pytest.approx(100))


def test_the_drift_shows_both_age_distributions_in_percent():
    before, now = pd.Series([2.0, 12.0, 12.0, 12.0]), pd.Series([12.0, 22.0])
    figure = figures.age_drift(before, now, 0.0214, champion="v4")
    old, new = steps(figure)
    assert (old[0], old[2], new[2], new[4]) == (25, 75, 50, 50)
    assert "population stability index 0.021" in only_axes(figure).get_title(loc="left")
    assert [text.get_text() for text in only_axes(figure).get_legend().get_texts()] == [
        "v4's data (4)",
        "this run's data (2)",
    ]


def test_the_difference_by_age_colours_better_unclear_and_worse():
    axes = only_axes(figures.difference_by_age(COMPARISON))
    intervals = [line for line in axes.lines[1:] if len(line.get_xdata()) == 2]
    assert [tuple(line.get_xdata()) for line in intervals] == [(-0.8, -0.2), (-0.4, 0.6), (0.3, 1.5)]
    assert [line.get_color() for line in intervals] == [FINETUNE, BASELINE, ACCENT]
    low, high = axes.get_xlim()
    assert low == -high


def test_faces_come_in_rows_each_with_its_caption():
    axes = only_axes(figures.face_sheet([RED_FACE] * 9, title="Faces"))
    places = [image.get_extent() for image in axes.images]
    assert [place[0] for place in places[1:8]] == pytest.approx([place[1] + 0.1 for place in places[:7]])
    below = [*places[0][:2], places[0][2] + 1.42, places[0][3] + 1.42]
    assert places[8] == pytest.approx(below)  # the ninth begins the second row
    for (left, right, bottom, _), caption in zip(places, axes.texts, strict=True):
        x, y = caption.get_position()
        assert caption.get_text() == "31 → 80"
        assert left < x < right
        assert bottom < y < bottom + 0.1


def test_a_face_keeps_its_colours(tmp_path: Path):
    figures.save(figures.face_sheet([RED_FACE], title="One", columns=1), tmp_path / "one.png")
    with Image.open(tmp_path / "one.png") as image:
        assert (np.asarray(image.convert("RGB")) == (220, 20, 60)).all(axis=2).sum() > 5_000


@pytest.mark.parametrize("caption", ["$30", "$\\bad$", "{x} & <b>", ""])
def test_a_caption_is_no_formula(caption: str, tmp_path: Path):
    figure = figures.face_sheet([(RED_FACE[0], caption)], title="Faces")
    figures.save(figure, tmp_path / "sheet.png")  # Matplotlib would raise for a broken formula
    (text,) = only_axes(figure).texts
    assert text.get_text() == caption
    assert not text.get_parse_math()


def test_a_sheet_without_faces_is_still_an_image(tmp_path: Path):
    figures.save(figures.face_sheet([], title="No faces"), tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 3_000


def only_axes(figure: Figure) -> Axes:
    (axes,) = figure.axes
    return axes


def lines(figure: Figure) -> dict[str, list[tuple[float, float]]]:
    """The points of each line, by its label."""
    return {line.get_label(): list(map(tuple, line.get_xydata())) for line in only_axes(figure).lines}


def kept(history: pd.DataFrame) -> tuple[float, float]:
    """The epoch and MAE that the learning curve marks."""
    axes = only_axes(figures.learning_curve(history, title=""))
    ((place,),) = [line.get_xydata() for line in axes.lines if line.get_markeredgecolor() == ACCENT]
    return tuple(place)


def dotted_lines(figure: Figure) -> list[float]:
    return [line.get_xdata()[0] for line in only_axes(figure).lines if line.get_linestyle() == ":"]


def bars(axes: Axes, colour: str) -> list[float]:
    """The heights of the bars of a colour, from left to right."""
    found = [bar for bar in axes.patches if hasattr(bar, "get_height") and to_hex(bar.get_facecolor()) == colour]
    return [bar.get_height() for bar in sorted(found, key=lambda bar: bar.get_x())]


def points(axes: Axes, colour: str) -> list[tuple[float, float]]:
    """The points of the scatters of a colour."""
    scatters = [dots for dots in axes.collections if isinstance(dots, PathCollection)]
    found = [dots for dots in scatters if to_hex(dots.get_facecolor()[0]) == colour]
    return [tuple(map(float, place)) for dots in found for place in dots.get_offsets()]


def steps(figure: Figure) -> list[list[float]]:
    """The heights of each stepped line."""
    return [list(patch.get_data().values) for patch in only_axes(figure).patches if isinstance(patch, StepPatch)]
