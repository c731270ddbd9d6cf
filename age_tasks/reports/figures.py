"""Every plot, as a Matplotlib figure. Ages and errors in years; colours that most colour-blind readers tell apart.

save(error_by_age(table), path)
"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.typing import RcKeyType

from age_tasks.evaluation.conformal import bounds
from age_tasks.evaluation.results import Estimate, IntervalGroup, PairedComparison, SliceMetrics
from age_tasks.stopwatch import timed

HISTOGRAM_REACH = 60  # years; one extreme prediction must not compress the rest
BASELINE, FINETUNE, NEUTRAL, ACCENT = "#8da0b3", "#1f6f8b", "#5b6770", "#d1495b"
STYLE: dict[RcKeyType, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#b8bfc6",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e9ec",
    "xtick.color": "#5b6770",
    "ytick.color": "#5b6770",
    "legend.frameon": False,
}


@timed("output")
@matplotlib.rc_context(STYLE)
def save(figure: Figure, path: Path) -> None:
    """Write the figure as PNG; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


@matplotlib.rc_context(STYLE)
def learning_curve(history: pd.DataFrame, *, title: str) -> Figure:
    """Training and validation MAE by epoch, with the kept epoch and each drop of the learning rate marked.

    Args:
        history: columns `epoch`, `mae`, `val_mae` (years) and `learning_rate`.
    """
    figure, axes = _figure(7, 3.6)
    axes.plot(history["epoch"], history["mae"], color=BASELINE, marker="o", ms=3, label="training")
    axes.plot(history["epoch"], history["val_mae"], color=FINETUNE, marker="o", ms=3, label="validation")
    best = history.iloc[int(history["val_mae"].argmin())]
    axes.plot(best["epoch"], best["val_mae"], "o", ms=11, mfc="none", mec=ACCENT, mew=1.8)
    label = f"kept: {best['val_mae']:.2f} years"
    axes.annotate(
        label,
        (best["epoch"], best["val_mae"]),
        (0, 12),
        textcoords="offset points",
        color=ACCENT,
        ha="center",
    )
    for epoch in history.loc[history["learning_rate"].diff() < 0, "epoch"]:
        axes.axvline(epoch, color=NEUTRAL, lw=0.8, ls=":")
    axes.set(title=title, xlabel="epoch (dotted: learning rate reduced)", ylabel="MAE (years)")
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.margins(y=0.18)
    axes.legend()
    return figure


@matplotlib.rc_context(STYLE)
def predicted_against_real(predictions: pd.DataFrame, column: str) -> Figure:
    """One point per image; the diagonal is a correct prediction, the band is an error of at most 5 years.

    Args:
        predictions: `real_age` and `column`, in years.
    """
    figure, axes = _figure(5.6, 5.2)
    top = float(np.nanmax(predictions[["real_age", column]].to_numpy())) + 4
    line = np.array([0, top])
    axes.fill_between(line, line - 5, line + 5, color=FINETUNE, alpha=0.12, lw=0, label="within 5 years")
    axes.plot(line, line, color=NEUTRAL, lw=1)
    opacity = float(np.clip(150 / max(len(predictions), 1), 0.15, 0.8))
    axes.scatter(predictions["real_age"], predictions[column], s=14, color=FINETUNE, alpha=opacity, lw=0)
    axes.set(title="Predicted against real age", xlabel="real age (years)", ylabel="predicted age (years)")
    axes.set(xlim=(0, top), ylim=(min(0, float(predictions[column].min())), top))
    axes.legend(loc="upper left")
    return figure


@matplotlib.rc_context(STYLE)
def error_by_age(by_age: pd.DataFrame) -> Figure:
    """MAE of each model by age bin, and the bias of the fine-tuned model, with the number of images per bin.

    Args:
        by_age: columns `bin`, `images`, `baseline_mae`, `finetune_mae`, `finetune_bias`, and `champion_mae` where there
            is a champion (years; NaN where a bin is empty).
    """
    looks = (
        ("baseline", BASELINE, "baseline"),
        ("champion", NEUTRAL, "champion"),
        ("finetune", FINETUNE, "fine-tuned"),
    )
    models = [look for look in looks if f"{look[0]}_mae" in by_age]
    figure = Figure(figsize=(7.4, 5.2), layout="constrained")
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 1.4))
    places, width = np.arange(len(by_age)), 0.8 / len(models)
    for number, (name, colour, label) in enumerate(models):
        offset = (number - (len(models) - 1) / 2) * width
        _bars(upper, places + offset, by_age[f"{name}_mae"], width * 0.95, colour, "{:.1f}", label=label)
    _bars(lower, places, by_age["finetune_bias"], 0.5, FINETUNE, "{:+.1f}")
    lower.axhline(0, color=NEUTRAL, lw=1)
    lower.margins(y=0.25)
    lower.set_xticks(places, [f"{row.bin}\nn = {row.images}" for row in by_age.itertuples()], fontsize=9)
    for axes in (upper, lower):
        axes.grid(axis="x", visible=False)
    upper.set(title="Error by real age", ylabel="test MAE (years)")
    lower.set(title="Bias: above 0, predicted too old", ylabel="years")
    upper.legend()
    return figure


@matplotlib.rc_context(STYLE)
def interval_held(predictions: pd.DataFrame, column: str, groups: Sequence[IntervalGroup]) -> Figure:
    """Real against predicted age, with the interval as a band; test images outside it are highlighted.

    Args:
        predictions: `real_age` and `column`, in years.
        groups: of the interval; see `age_tasks.evaluation.conformal.half_widths`.
    """
    predicted, real = predictions[column].to_numpy(), predictions["real_age"].to_numpy()
    low, high = bounds(predicted, groups)
    inside = (low <= real) & (real <= high)
    figure, axes = _figure(7.4, 4.2)
    line = np.linspace(max(predicted.min() - 2, 0), predicted.max() + 2, 500)
    axes.fill_between(line, *bounds(line, groups), color=FINETUNE, alpha=0.12, lw=0)
    opacity = float(np.clip(300 / max(len(predictions), 1), 0.3, 0.9))
    for mask, colour, name in ((inside, FINETUNE, "within the interval"), (~inside, ACCENT, "outside")):
        label = f"{name} ({int(mask.sum()):,})"
        axes.scatter(predicted[mask], real[mask], s=14, color=colour, alpha=opacity, lw=0, label=label)
    title = f"{100 * inside.mean():.1f} % of the test images lie within the interval"
    axes.set(title=title, xlabel="predicted age (years)", ylabel="real age (years)")
    axes.legend(loc="upper left")
    return figure


@matplotlib.rc_context(STYLE)
def age_drift(before: pd.Series, now: pd.Series, stability: float, *, champion: str) -> Figure:
    """The age distributions of the champion's data and of this run's data, in bins of 5 years.

    Args:
        before, now: ages in years, of the champion's data and of this run's.
        stability: the population stability index between the two.
        champion: its name.
    """
    figure, axes = _figure(7.4, 3.2)
    for ages, name, colour, filled in (
        (before, f"{champion}'s", BASELINE, True),
        (now, "this run's", FINETUNE, False),
    ):
        counts, edges = np.histogram(ages, np.arange(0, 126, 5))
        label = f"{name} data ({len(ages):,})"
        alpha = 0.55 if filled else 1
        axes.stairs(100 * counts / len(ages), edges, lw=1.8, color=colour, fill=filled, alpha=alpha, label=label)
    axes.set(title=f"Drift of ages: population stability index {stability:.3f}", xlim=(0, 105))
    axes.set(xlabel="real age (years)", ylabel="images (%)")
    axes.grid(axis="x", visible=False)
    axes.legend()
    return figure


@matplotlib.rc_context(STYLE)
def difference_by_age(comparison: PairedComparison) -> Figure:
    """MAE of the candidate less MAE of the champion, overall and by age bin, with 95 % intervals."""
    rows: list[tuple[str, Estimate, int]] = [("all ages", comparison, comparison.images)]
    rows += [(f"{found.low_age:g}–{found.high_age:g}", found, found.images) for found in comparison.bins]
    figure, axes = _figure(7.4, 0.9 + 0.36 * len(rows))
    axes.axvline(0, color=NEUTRAL, lw=1)
    for place, (_, found, _) in enumerate(rows):
        better, worse = found.high < 0, found.low > 0
        colour = FINETUNE if better else ACCENT if worse else BASELINE
        axes.plot([found.low, found.high], [place, place], color=colour, lw=4 if place == 0 else 2.2)
        axes.plot(found.value, place, "o", color=colour, ms=9 if place == 0 else 6)
    axes.set_yticks(range(len(rows)), [f"{label}  (n = {count})" for label, _, count in rows], fontsize=9)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    reach = max(abs(edge) for edge in axes.get_xlim())
    axes.set(xlim=(-reach, reach), title="Candidate against champion")
    axes.set_xlabel("← candidate better    MAE difference (years), 95 % interval    champion better →")
    return figure


@matplotlib.rc_context(STYLE)
def error_by_image(slices: Sequence[SliceMetrics], overall: float) -> Figure:
    """The MAE in each slice by image quality with its 95 % interval; the line is the MAE of all.

    Args:
        slices: at least one; those of a column follow each other, under its name.
        overall: MAE of all test images in years.
    """
    figure, axes = _figure(7.4, 0.9 + 0.28 * (len(slices) + len({each.column for each in slices})))
    axes.axvline(overall, color=NEUTRAL, lw=1, label=f"all test images: {overall:.2f}")
    labels: list[str] = []
    for column, found in itertools.groupby(slices, key=lambda each: each.column):
        labels.append(column)
        for each in found:
            axes.plot([each.mae.low, each.mae.high], [len(labels)] * 2, color=FINETUNE, lw=2.2)
            axes.plot(each.mae.value, len(labels), "o", color=FINETUNE, ms=6)
            labels.append(f"{each.value}  (n = {each.images})")
    axes.set_yticks(range(len(labels)), labels, fontsize=9, parse_math=False)
    columns = {each.column for each in slices}
    for tick in axes.get_yticklabels():
        tick.set_fontweight("bold" if tick.get_text() in columns else "normal")
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(labels) - 0.3, -0.7)
    axes.grid(axis="y", visible=False)
    axes.set(title="Error by image quality", xlabel="test MAE of the fine-tuned model (years), 95 % interval")
    axes.legend(loc="best")
    return figure


@matplotlib.rc_context(STYLE)
def error_histogram(predictions: pd.DataFrame) -> Figure:
    """Signed errors of both models in bins of 2 years; above 0 the prediction is too old.

    Errors beyond `HISTOGRAM_REACH` are counted in the outermost bins.

    Args:
        predictions: columns `real_age`, `baseline`, `finetune`, in years.
    """
    figure, axes = _figure(7, 3.4)
    errors = {name: predictions[name] - predictions["real_age"] for name in ("baseline", "finetune")}
    largest = max(error.abs().max() for error in errors.values())
    reach = min(2 * np.ceil(largest / 2) + 2, HISTOGRAM_REACH)
    errors = {name: error.clip(1 - reach, reach - 1) for name, error in errors.items()}
    beyond = f"; outermost: {reach - 2:.0f} and more" if largest > reach - 2 else ""
    bins = np.arange(-reach, reach + 1, 2).tolist()
    axes.hist(errors["baseline"], bins, color=BASELINE, alpha=0.55, label="baseline")
    axes.hist(errors["finetune"], bins, histtype="step", lw=2, color=FINETUNE, label="fine-tuned")
    axes.axvline(0, color=NEUTRAL, lw=1)
    axes.set(title="Errors", xlabel=f"predicted minus real age (years{beyond})", ylabel="test images")
    axes.legend()
    return figure


@matplotlib.rc_context(STYLE)
def age_histogram(ages: pd.Series, *, title: str) -> Figure:
    """Images by age in bins of 5 years, with quartiles."""
    figure, axes = _figure(7, 3.2)
    axes.hist(ages, np.arange(0, max(ages.max(), 100) + 5, 5).tolist(), color=FINETUNE, edgecolor="white", lw=0.6)
    for quartile, name in zip(
        ages.quantile([0.25, 0.5, 0.75]), ("first quartile", "median", "third quartile"), strict=True
    ):
        axes.axvline(quartile, color=ACCENT, lw=1, ls="--" if name != "median" else "-")
        axes.text(quartile, axes.get_ylim()[1], f" {quartile:g}", color=ACCENT, va="top", fontsize=8)
    axes.grid(axis="x", visible=False)
    axes.set(title=title, xlabel="real age (years); red: quartiles", ylabel="images")
    return figure


@matplotlib.rc_context(STYLE)
def split_ages(train: pd.DataFrame, val: pd.DataFrame, test: pd.DataFrame) -> Figure:
    """The age distribution of each split, one line each; the lines should coincide."""
    figure, axes = _figure(7, 3.2)
    for part, name, colour in (
        (train, "train", NEUTRAL),
        (val, "validation", BASELINE),
        (test, "test", ACCENT),
    ):
        counts, edges = np.histogram(part["real_age"], np.arange(0, 106, 5))
        axes.stairs(100 * counts / max(len(part), 1), edges, lw=1.8, color=colour, label=f"{name} ({len(part):,})")
    axes.set(title="Ages by split", xlabel="real age (years)", ylabel="images of the split (%)")
    axes.legend()
    return figure


@matplotlib.rc_context(STYLE)
def face_sheet(faces: Sequence[tuple[np.ndarray, str]], *, title: str, columns: int = 8) -> Figure:
    """Images in rows, with a caption under each.

    Args:
        faces: (uint8 RGB array of shape (height, width, 3), caption).
    """
    rows = max(-(-len(faces) // columns), 1)
    height = 1.42 * rows + 0.4
    figure = Figure(figsize=(1.15 * columns, height))
    figure.suptitle(title, fontsize=11, fontweight="bold", x=0.01, y=1 - 0.08 / height, ha="left")
    # Axes of its own for each image, and a layout that fits them, would take as long again as all the rest.
    axes = figure.add_axes((0, 0, 1, 1 - 0.35 / height))
    axes.axis("off")
    for place, (pixels, caption) in enumerate(faces):
        row, column = divmod(place, columns)
        left, top = 1.15 * column + 0.05, 1.42 * row  # inches, as the figure's size
        axes.imshow(pixels, extent=(left, left + 1.05, top + 1.05, top))
        axes.text(left + 1.05 / 2, top + 1.1, caption, fontsize=9, ha="center", va="top", parse_math=False)
    axes.set(xlim=(0, 1.15 * columns), ylim=(1.42 * rows, 0))
    return figure


def _bars(
    axes: Axes, places: np.ndarray, heights: pd.Series, width: float, colour: str, number: str, label: str | None = None
) -> None:
    """Bars with their numbers; none where a height is NaN."""
    bars = axes.bar(places, heights.fillna(0), width, color=colour, label=label)
    numbers = ["" if np.isnan(height) else number.format(height) for height in heights]
    axes.bar_label(bars, numbers, fontsize=8, padding=1)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()
