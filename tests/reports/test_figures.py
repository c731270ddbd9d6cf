from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageColor

from age_tasks.reports import figures
from age_tasks.reports.figures import ACCENT, BASELINE, FINETUNE

Draw = Callable[[Path], None]

HISTORY = pd.DataFrame(
    {
        "epoch": [1, 2, 3, 4],
        "mae": [12.0, 9.0, 7.0, 6.0],
        "val_mae": [11.0, 9.5, 8.9, 9.1],
        "learning_rate": [1e-3, 1e-3, 1e-3, 1e-3],
    }
)
GROUPS = [{"low": None, "high": 40, "half_width": 6.0}, {"low": 40, "high": None, "half_width": 9.0}]
BY_AGE = pd.DataFrame(
    {
        "bin": ["0–10", "10–20", "over 20"],
        "images": [12, 0, 40],
        "baseline_mae": [8.0, np.nan, 8.0],
        "finetune_mae": [4.0, np.nan, 4.0],
        "finetune_bias": [1.5, np.nan, -2.0],
    }
)
POINT = "#5793a8"  # a point of the scatter of 200, which is see-through, on white
RED_FACE = (np.full((112, 112, 3), (220, 20, 60), np.uint8), "31 → 80")


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    """200 test images: the baseline is off by about 9 years, the fine-tuned model by about 5."""
    rng = np.random.default_rng(0)
    real = rng.uniform(1, 90, 200).round()
    return pd.DataFrame(
        {"real_age": real, "baseline": real + rng.normal(0, 9, 200), "finetune": real + rng.normal(0, 5, 200)}
    )


@pytest.fixture(params=["curve", "scatter", "by age", "errors", "ages", "splits", "interval", "drift", "faces"])
def draw(request: pytest.FixtureRequest, predictions: pd.DataFrame) -> Draw:
    return {
        "curve": lambda path: figures.learning_curve(HISTORY, path, title="Learning curve"),
        "scatter": lambda path: figures.predicted_against_real(predictions, "finetune", path),
        "by age": lambda path: figures.error_by_age(BY_AGE, path),
        "errors": lambda path: figures.error_histogram(predictions, path),
        "ages": lambda path: figures.age_histogram(predictions["real_age"], path, title="Ages"),
        "splits": lambda path: figures.split_ages(predictions[:140], predictions[140:170], predictions[170:], path),
        "interval": lambda path: figures.interval_held(predictions, "finetune", GROUPS, path),
        "drift": lambda path: figures.age_drift(
            predictions["real_age"], predictions["finetune"], 0.02, path, champion="v4"
        ),
        "faces": lambda path: figures.face_sheet([RED_FACE] * 5, path, title="Faces"),
    }[request.param]


def test_every_figure_is_a_readable_png_of_moderate_size(draw: Draw, tmp_path: Path):
    path = tmp_path / "a folder" / "figure.png"
    draw(path)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert 600 <= picture.width <= 1500
        assert 200 <= picture.height <= 1200
    assert 3_000 < path.stat().st_size < 300_000


def test_drawing_leaves_the_style_of_others_alone(draw: Draw, tmp_path: Path):
    theirs = {"font.size": 7.0, "axes.grid": False, "axes.spines.top": True}
    with matplotlib.rc_context(theirs):
        draw(tmp_path / "figure.png")
        assert {name: matplotlib.rcParams[name] for name in theirs} == theirs


def test_a_learning_curve_marks_the_kept_epoch_where_validation_was_best(tmp_path: Path):
    falls, rises = (HISTORY.assign(val_mae=values) for values in ([9.0, 8.0, 7.0, 6.0], [6.0, 7.0, 8.0, 9.0]))
    for history, side in ((falls, "right"), (rises, "left")):
        pixels = drawn(lambda path, history=history: figures.learning_curve(history, path, title=""), tmp_path)
        across = np.nonzero(near(pixels, ACCENT))[1].mean() / pixels.shape[1]
        assert across > 0.75 if side == "right" else across < 0.25


def test_a_learning_curve_shows_where_the_learning_rate_fell(tmp_path: Path):
    halved = HISTORY.assign(learning_rate=[1e-3, 1e-3, 5e-4, 5e-4])
    steady, fell = (
        drawn(lambda path, history=history: figures.learning_curve(history, path, title=""), tmp_path)
        for history in (HISTORY, halved)
    )
    changed = np.nonzero((steady != fell).any(axis=2))
    assert np.ptp(changed[1]) <= 4  # a thin line
    assert np.ptp(changed[0]) > 0.7 * steady.shape[0]  # from top to bottom
    assert changed[1].mean() / steady.shape[1] == pytest.approx(0.66, abs=0.05)  # at the third of four epochs


def test_one_epoch_is_a_learning_curve_too(tmp_path: Path):
    pixels = drawn(lambda path: figures.learning_curve(HISTORY[:1], path, title="One epoch"), tmp_path)
    assert near(pixels, ACCENT).any()


def test_bars_are_as_high_as_the_errors(tmp_path: Path):
    unbiased = BY_AGE.assign(finetune_bias=0.0)
    pixels = drawn(lambda path: figures.error_by_age(unbiased, path), tmp_path)
    baseline, finetune = (near(pixels, colour).sum(axis=0) for colour in (BASELINE, FINETUNE))
    heights = [np.median(columns[columns > 0.2 * len(pixels)]) for columns in (baseline, finetune)]
    assert heights[0] == pytest.approx(2 * heights[1], rel=0.02)


def test_an_empty_age_bin_keeps_its_place_and_has_no_bar(tmp_path: Path):
    pixels = drawn(lambda path: figures.error_by_age(BY_AGE, path), tmp_path)
    bars = near(pixels, FINETUNE).sum(axis=0) > 0.2 * pixels.shape[0]
    starts = np.flatnonzero(np.diff(bars.astype(int)) == 1)
    assert len(starts) == 2
    assert np.diff(starts)[0] > 0.5 * pixels.shape[1]  # two places apart of three


def test_no_images_at_all_by_age(tmp_path: Path):
    empty = BY_AGE.assign(images=0, baseline_mae=np.nan, finetune_mae=np.nan)
    assert (drawn(lambda path: figures.error_by_age(empty, path), tmp_path) != 255).any()


def test_a_perfect_model_lies_on_the_diagonal_and_a_poor_one_does_not(predictions: pd.DataFrame, tmp_path: Path):
    perfect = predictions.assign(finetune=predictions["real_age"])
    spread = []
    for table in (perfect, predictions):
        pixels = drawn(lambda path, table=table: figures.predicted_against_real(table, "finetune", path), tmp_path)
        rows, columns = np.nonzero(near(pixels, POINT))
        spread.append(np.corrcoef(rows, columns)[0, 1])
    assert spread[0] == pytest.approx(-1, abs=0.01)  # rows count downwards
    assert spread[0] + 0.005 < spread[1] < 0


def test_a_prediction_below_zero_is_seen(tmp_path: Path):
    right = pd.DataFrame({"real_age": [50.0] * 200, "finetune": [50.0] * 200})
    below = right.assign(finetune=right["finetune"].where(right.index != 0, -60.0))
    seen = []
    for table in (right, below):
        pixels = drawn(lambda path, table=table: figures.predicted_against_real(table, "finetune", path), tmp_path)
        seen.append(near(pixels, POINT)[int(0.8 * len(pixels)) :].any())
    assert seen == [False, True]


@pytest.mark.parametrize("count", [1, 3])
def test_few_predictions(count: int, predictions: pd.DataFrame, tmp_path: Path):
    few = predictions[:count]
    for name, draw_few in (
        ("scatter", lambda path: figures.predicted_against_real(few, "finetune", path)),
        ("errors", lambda path: figures.error_histogram(few, path)),
        ("ages", lambda path: figures.age_histogram(few["real_age"], path, title="Few")),
        ("splits", lambda path: figures.split_ages(few, few[:0], few[:0], path)),
    ):
        assert (drawn(draw_few, tmp_path) != 255).any(), name


def test_a_model_that_guesses_too_old_errs_to_the_right(predictions: pd.DataFrame, tmp_path: Path):
    older = predictions.assign(baseline=predictions["real_age"] + 20, finetune=predictions["real_age"] - 20)
    pixels = drawn(lambda path: figures.error_histogram(older, path), tmp_path)[60:]  # below the legend
    middle = pixels.shape[1] / 2
    assert np.nonzero(near(pixels, FINETUNE))[1].mean() < middle
    assert tallest(pixels[:, int(middle) + 40 :], "#c0cad4", 12) > 0.5 * len(pixels)  # the baseline's colour on white


def test_images_outside_the_interval_stand_out(tmp_path: Path):
    red = []
    for off in (5.0, 8.0):
        table = pd.DataFrame({"real_age": [20.0, 30.0], "finetune": [20.0, 30.0 + off]})
        pixels = drawn(lambda path, table=table: figures.interval_held(table, "finetune", GROUPS, path), tmp_path)
        red.append(near(pixels, ACCENT, 60)[:, 200:].sum())  # but for the legend
    assert red[1] > red[0]


def test_an_age_histogram_shows_every_age_up_to_the_oldest(tmp_path: Path):
    """A hundred and seventeen is rare, and neither dropped nor drawn outside."""
    pixels = drawn(lambda path: figures.age_histogram(pd.Series([117.0] * 9), path, title="Old"), tmp_path)
    across = np.nonzero(near(pixels, FINETUNE))[1].mean() / pixels.shape[1]
    assert across > 0.85


def test_splits_of_one_distribution_lie_on_each_other_whatever_their_size(tmp_path: Path):
    ages = pd.DataFrame({"real_age": [5.0] * 30 + [25.0] * 60 + [65.0] * 10})
    apart = ages.assign(real_age=85.0)
    same, other = (
        drawn(lambda path, test=test: figures.split_ages(ages, ages[::10], test, path), tmp_path)
        for test in (ages[::10], apart)
    )
    # Test is drawn last: with equal shares nothing of the others is left to see below the legend.
    assert near(same[150:], BASELINE).sum() < 0.2 * near(other[150:], BASELINE).sum()


def test_faces_come_with_their_captions_in_rows(tmp_path: Path):
    one_row, two_rows = (
        drawn(lambda path, count=count: figures.face_sheet([RED_FACE] * count, path, title="Faces"), tmp_path)
        for count in (8, 9)
    )
    red = near(one_row, "#dc143c")
    assert runs(red.any(axis=0)) == 8
    assert runs(red.any(axis=1)) == 1
    assert runs(near(two_rows, "#dc143c").any(axis=1)) == 2
    below = one_row[np.nonzero(red)[0].max() + 2 :]
    assert runs((below < 128).any(axis=2).any(axis=0), gap=30) == 8  # a caption under each


def test_a_face_keeps_its_colours(tmp_path: Path):
    """Red stays red: no channel is swapped, nothing is scaled."""
    pixels = drawn(lambda path: figures.face_sheet([RED_FACE], path, title="One", columns=1), tmp_path)
    assert near(pixels, "#dc143c", 0).sum() > 5_000


@pytest.mark.parametrize("caption", ["$30", "$\\bad$", "{x} & <b>", ""])
def test_a_caption_is_drawn_as_it_is(caption: str, tmp_path: Path):
    figures.face_sheet([(RED_FACE[0], caption)], tmp_path / "sheet.png", title="Faces")


def test_a_sheet_without_faces_is_still_a_picture(tmp_path: Path):
    assert (drawn(lambda path: figures.face_sheet([], path, title="No faces"), tmp_path) != 255).any()


def drawn(draw: Draw, folder: Path) -> np.ndarray:
    """The figure as uint8 pixels of shape (height, width, 3)."""
    draw(folder / "figure.png")
    with Image.open(folder / "figure.png") as picture:
        return np.asarray(picture.convert("RGB"))


def near(pixels: np.ndarray, colour: str, tolerance: int = 24) -> np.ndarray:
    """Where the pixels have the colour, each channel within the tolerance; shape (height, width)."""
    return (np.abs(pixels.astype(int) - ImageColor.getrgb(colour)) <= tolerance).all(axis=2)


def tallest(pixels: np.ndarray, colour: str, tolerance: int = 24) -> int:
    """The most pixels of the colour in one column: the height of the highest bar."""
    return int(near(pixels, colour, tolerance).sum(axis=0).max())


def runs(line: np.ndarray, gap: int = 1) -> int:
    """How many stretches of True there are, closer than `gap` pixels counting as one."""
    places = np.flatnonzero(line)
    return 0 if len(places) == 0 else 1 + int((np.diff(places) > gap).sum())
