"""The page of all versions: the champion, the test MAE over promotions, and the log itself."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from age_tasks.errors import NotFoundError
from age_tasks.registry.promotions import Promotion, history, manifest
from age_tasks.reports.html import render
from age_tasks.store.base import Store

WIDTH, HEIGHT = 920, 260  # of the chart, in its own units
LEFT, RIGHT, TOP, BOTTOM = 56, 24, 24, 36
STEPS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)  # years between the chart's lines
MOST_LINES = 6
MOST_LABELS = 24  # under the chart; they would run into each other


@dataclass(frozen=True)
class Row:
    """An entry of the promotion log with what the manifest of its version says; None where that was removed."""

    entry: Promotion
    mae: float | None
    run: str | None  # that made the version

    @property
    def rolled_back(self) -> bool:
        return self.entry.run is None


@dataclass(frozen=True)
class Point:
    row: Row
    x: float
    y: float
    labelled: bool


@dataclass(frozen=True)
class Chart:
    """Where things are in a drawing of WIDTH x HEIGHT; ticks are years and their height."""

    points: tuple[Point, ...]
    ticks: tuple[tuple[float, float], ...]

    @property
    def path(self) -> str:
        return " ".join(f"{point.x:.1f},{point.y:.1f}" for point in self.points)


def models_page(store: Store) -> str:
    """The page's HTML; links are relative to the place where Airflow serves it."""
    rows = log_rows(store)
    return render(
        "models.html.j2",
        rows=rows[::-1],
        champion=rows[-1] if rows else None,
        chart=chart(rows),
        size=(WIDTH, HEIGHT, LEFT, RIGHT, BOTTOM),
    )


def log_rows(store: Store) -> list[Row]:
    """The promotion log, oldest entry first."""
    promotions = history(store)
    manifests = {version: _manifest(store, version) for version in {entry.version for entry in promotions}}
    return [
        Row(entry, manifests[entry.version].get("test_mae"), manifests[entry.version].get("run"))
        for entry in promotions
    ]


def chart(rows: Sequence[Row]) -> Chart | None:
    """The test MAE of each entry from left to right; None where there are fewer than two to draw."""
    known = [row for row in rows if row.mae is not None]
    if len(known) < 2:
        return None
    low, high = min(row.mae for row in known), max(row.mae for row in known)
    spare = max(0.15 * (high - low), 0.1)
    low, high = low - spare, high + spare

    def height(years: float) -> float:
        return TOP + (high - years) / (high - low) * (HEIGHT - TOP - BOTTOM)

    step = (WIDTH - LEFT - RIGHT) / len(known)
    every = -(-len(known) // MOST_LABELS)
    points = tuple(
        Point(row, LEFT + (at + 0.5) * step, height(row.mae), at % every == 0) for at, row in enumerate(known)
    )
    apart = next(years for years in STEPS if (high - low) / years < MOST_LINES or years == STEPS[-1])
    lines = (at * apart for at in range(math.ceil(low / apart), math.floor(high / apart) + 1))
    return Chart(points, tuple((years, height(years)) for years in lines))


def _manifest(store: Store, version: str) -> dict:
    try:
        return manifest(store, version)
    except NotFoundError:
        return {}
