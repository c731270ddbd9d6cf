"""The page of all versions: the champion, the test MAE of each version, the promotion log, and every run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from age_tasks.errors import DamagedError, NotFoundError
from age_tasks.evaluation.results import ChampionComparison, Metrics
from age_tasks.registry.promotions import VERSIONS, Manifest, Promotion, history, manifest
from age_tasks.reports.html import render
from age_tasks.reports.run_list import all_runs
from age_tasks.store.base import Store

WIDTH, HEIGHT = 920, 280  # of the chart, in SVG units
LEFT, RIGHT, TOP, BOTTOM = 56, 24, 24, 36  # its margins
PAIR = 0.18  # of the width that a version has: from its middle to each of the two points of a comparison
STEPS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)  # years between grid lines
MAX_LINES = 6
MAX_LABELS = 24  # below the chart; more would overlap


@dataclass(frozen=True)
class Row:
    """An entry of the promotion log, with facts of its version's manifest; None if that was removed or is damaged."""

    entry: Promotion
    mae: float | None
    run: str | None  # the run that trained the version


@dataclass(frozen=True)
class Version:
    """A version and how it was measured when it was promoted first; years, each None if it is not known.

    `low` and `high` are the 95 % interval of `mae`, or of the difference to the champion of that time where `before`
    holds one: the champion was measured again, on the same test images.
    """

    name: str
    mae: float
    low: float | None = None
    high: float | None = None
    before: str | None = None
    before_mae: float | None = None


@dataclass(frozen=True)
class Point:
    """A version in the chart: positions in SVG units; `before_*` of the champion that it was compared with."""

    version: Version
    x: float
    y: float
    low: float | None
    high: float | None
    middle: float
    before_x: float
    before_y: float | None
    labelled: bool


@dataclass(frozen=True)
class Chart:
    """Positions in an SVG of WIDTH x HEIGHT; ticks are years and their y."""

    points: tuple[Point, ...]
    ticks: tuple[tuple[float, float], ...]


def models_page(store: Store, search: str = "") -> str:
    """The page's HTML; links are relative to its address in Airflow.

    Args:
        search: only runs whose row in the list says so are listed.
    """
    rows, runs = log_rows(store), all_runs(store)
    return render(
        "models.html.j2",
        rows=rows[::-1],
        champion=rows[-1] if rows else None,
        chart=chart(versions(store)),
        size=(WIDTH, HEIGHT, LEFT, RIGHT, BOTTOM),
        runs=runs,
        found=[run for run in runs if run.says(search.strip())],
        search=search,
    )


def log_rows(store: Store) -> list[Row]:
    """The promotion log, oldest entry first."""
    promotions = history(store)
    manifests = {version: _manifest(store, version) for version in {entry.version for entry in promotions}}
    return [
        Row(entry, known.test_mae if (known := manifests[entry.version]) else None, known.run if known else None)
        for entry in promotions
    ]


def versions(store: Store) -> list[Version]:
    """Each promoted version once, in the order of first promotions, without those that were removed or are damaged."""
    first: dict[str, Promotion] = {}
    for entry in history(store):
        first.setdefault(entry.version, entry)
    return [version for entry in first.values() if (version := _version(store, entry))]


def _version(store: Store, entry: Promotion) -> Version | None:
    known = _manifest(store, entry.version)
    if known is None or known.test_mae is None:
        return None
    metrics = _metrics(store, entry.version)
    if metrics is None:
        return Version(entry.name, known.test_mae)
    if metrics.champion is None:
        own = metrics.finetune.mae
        return Version(entry.name, own.value, own.low, own.high)
    return _compared(entry.name, metrics.champion)


def _compared(name: str, champion: ChampionComparison) -> Version:
    before = champion.champion_mae
    return Version(name, champion.candidate_mae, before + champion.low, before + champion.high, champion.name, before)


def chart(found: Sequence[Version]) -> Chart | None:
    """The test MAE of each version, from left to right; None if there are fewer than two."""
    if len(found) < 2:
        return None
    years = [each for version in found for each in _years(version)]
    low, high = min(years), max(years)
    spare = max(0.08 * (high - low), 0.1)
    low, high = low - spare, high + spare

    def height(years: float) -> float:
        return TOP + (high - years) / (high - low) * (HEIGHT - TOP - BOTTOM)

    step = (WIDTH - LEFT - RIGHT) / len(found)
    every = math.ceil(len(found) / MAX_LABELS)
    points = []
    for at, version in enumerate(found):
        middle = LEFT + (at + 0.5) * step
        paired = version.before_mae is not None
        points.append(
            Point(
                version=version,
                x=middle + PAIR * step * paired,
                y=height(version.mae),
                low=None if version.low is None else height(version.low),
                high=None if version.high is None else height(version.high),
                middle=middle,
                before_x=middle - PAIR * step,
                before_y=None if version.before_mae is None else height(version.before_mae),
                labelled=(len(found) - 1 - at) % every == 0,
            )
        )
    apart = next(years for years in STEPS if (high - low) / years < MAX_LINES or years == STEPS[-1])
    ticks = (at * apart for at in range(math.ceil(low / apart), math.floor(high / apart) + 1))
    return Chart(tuple(points), tuple((years, height(years)) for years in ticks))


def _years(version: Version) -> list[float]:
    return [each for each in (version.mae, version.low, version.high, version.before_mae) if each is not None]


def _manifest(store: Store, version: str) -> Manifest | None:
    try:
        return manifest(store, version)
    except (NotFoundError, DamagedError):
        return None


def _metrics(store: Store, version: str) -> Metrics | None:
    key = f"{VERSIONS}{version}/metrics.json"
    try:
        return Metrics.parse(store.get(key), store.where(key))
    except (NotFoundError, DamagedError):
        return None
