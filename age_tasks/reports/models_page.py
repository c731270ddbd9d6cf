"""The page of all versions: the champion, the test MAE over promotions, and the promotion log."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from age_tasks.errors import DamagedError, NotFoundError
from age_tasks.registry.promotions import Manifest, Promotion, history, manifest
from age_tasks.reports.html import render
from age_tasks.store.base import Store

WIDTH, HEIGHT = 920, 260  # of the chart, in SVG units
LEFT, RIGHT, TOP, BOTTOM = 56, 24, 24, 36  # its margins
STEPS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)  # years between grid lines
MAX_LINES = 6
MAX_LABELS = 24  # below the chart; more would overlap


@dataclass(frozen=True)
class Row:
    """An entry of the promotion log, with facts of its version's manifest; None if that was removed or is damaged."""

    entry: Promotion
    mae: float | None
    run: str | None  # the run that trained the version

    @property
    def rolled_back(self) -> bool:
        """Whether a person promoted the version, not a run."""
        return self.entry.run is None


@dataclass(frozen=True)
class Point:
    """A promotion in the chart: its position in SVG units, and whether its name is written below."""

    row: Row
    mae: float
    x: float
    y: float
    labelled: bool


@dataclass(frozen=True)
class Chart:
    """Positions in an SVG of WIDTH x HEIGHT; ticks are years and their y."""

    points: tuple[Point, ...]
    ticks: tuple[tuple[float, float], ...]

    @property
    def path(self) -> str:
        """The points of the line, as SVG writes them."""
        return " ".join(f"{point.x:.1f},{point.y:.1f}" for point in self.points)


def models_page(store: Store) -> str:
    """The page's HTML; links are relative to its address in Airflow."""
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
        Row(entry, known.test_mae if (known := manifests[entry.version]) else None, known.run if known else None)
        for entry in promotions
    ]


def chart(rows: Sequence[Row]) -> Chart | None:
    """The test MAE of each entry, from left to right; None if there are fewer than two."""
    known = [(row, row.mae) for row in rows if row.mae is not None]
    if len(known) < 2:
        return None
    low, high = min(mae for _, mae in known), max(mae for _, mae in known)
    spare = max(0.15 * (high - low), 0.1)
    low, high = low - spare, high + spare

    def height(years: float) -> float:
        return TOP + (high - years) / (high - low) * (HEIGHT - TOP - BOTTOM)

    step = (WIDTH - LEFT - RIGHT) / len(known)
    every = math.ceil(len(known) / MAX_LABELS)
    points = tuple(
        Point(row, mae, LEFT + (at + 0.5) * step, height(mae), at % every == 0) for at, (row, mae) in enumerate(known)
    )
    apart = next(years for years in STEPS if (high - low) / years < MAX_LINES or years == STEPS[-1])
    ticks = (at * apart for at in range(math.ceil(low / apart), math.floor(high / apart) + 1))
    return Chart(points, tuple((years, height(years)) for years in ticks))


def _manifest(store: Store, version: str) -> Manifest | None:
    try:
        return manifest(store, version)
    except (NotFoundError, DamagedError):
        return None
