"""The page of all versions: the champion, the test MAE of each version, the promotion log, and every run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import urlencode

from age_tasks.registry.promotions import Promotion, history, version_facts
from age_tasks.registry.version_facts import AgainstChampion, VersionFacts
from age_tasks.reports.html import render
from age_tasks.reports.run_list import ListedRun, all_runs
from age_tasks.store.base import Store

WIDTH, HEIGHT = 920, 280  # of the chart, in SVG units
LEFT, RIGHT, TOP, BOTTOM = 56, 24, 24, 36  # its margins
PAIR = 0.18  # of the width that a version has: from its middle to each of the two points of a comparison
STEPS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)  # years between grid lines
MAX_LINES = 6
MAX_LABELS = 24  # below the chart; more would overlap
MOST_DRAWN = 100  # versions in the chart
RUNS_SHOWN, ENTRIES_SHOWN = 50, 20  # at a time

T = TypeVar("T")


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


@dataclass(frozen=True)
class Part(Generic[T]):
    """A part of a long list: its entries, its number from 1, and how many parts there are."""

    entries: Sequence[T]
    number: int
    of: int


def part(entries: Sequence[T], number: int, size: int) -> Part[T]:
    """The part with this number; the last one if there are fewer."""
    of = max(math.ceil(len(entries) / size), 1)
    number = min(max(number, 1), of)
    return Part(entries[(number - 1) * size : number * size], number, of)


def models_page(store: Store, search: str = "", page: int = 1, log: int = 1) -> str:
    """The page's HTML; links are relative to its address in Airflow.

    Args:
        search: only runs whose row in the list says so are listed.
        page: which part of the list of runs is shown, 1 has the newest.
        log: which part of the promotion log is shown, likewise.
    """
    promotions = history(store)
    runs, drawn = all_runs(store, promotions), versions(store, promotions)
    found = part([run for run in runs if run.says(search.strip())], page, RUNS_SHOWN)
    entries = part(promotions[::-1], log, ENTRIES_SHOWN)
    return render(
        "models.html.j2",
        rows=log_rows(store, entries.entries),
        log=entries,
        champion=log_rows(store, promotions[-1:])[0] if promotions else None,
        promoted=len({entry.version for entry in promotions}),
        rollbacks=sum(entry.back for entry in promotions),
        chart=chart(drawn),
        newest_only=len(drawn) == MOST_DRAWN,
        in_use=chart(errors_in_use(runs), least=1),
        last_in_use=next((run for run in runs if run.in_use), None),
        size=(WIDTH, HEIGHT, LEFT, RIGHT, BOTTOM),
        runs=runs,
        found=found,
        search=search,
        address=lambda page=found.number, log=entries.number: (
            "models?" + urlencode({"search": search, "page": page, "log": log})
        ),
    )


def log_rows(store: Store, entries: Sequence[Promotion]) -> list[Row]:
    """These entries of the promotion log with facts of their versions."""
    known = [(entry, version_facts(store, entry)) for entry in entries]
    return [Row(entry, facts.test_mae, facts.run) for entry, facts in known]


def versions(store: Store, promotions: Sequence[Promotion]) -> list[Version]:
    """The newest versions, each once, in the order of first promotions, without those that are removed or damaged."""
    first: dict[str, Promotion] = {}
    for entry in promotions:
        first.setdefault(entry.version, entry)
    newest = list(first.values())[-MOST_DRAWN:]
    return [version for entry in newest if (version := _version(entry.name, version_facts(store, entry)))]


def _version(name: str, facts: VersionFacts) -> Version | None:
    if facts.test_mae is None:
        return None
    if facts.champion:
        return _compared(name, facts.champion)
    if facts.mae:
        return Version(name, facts.mae.value, facts.mae.low, facts.mae.high)
    return Version(name, facts.test_mae)


def _compared(name: str, champion: AgainstChampion) -> Version:
    before = champion.champion_mae
    return Version(name, champion.candidate_mae, before + champion.low, before + champion.high, champion.name, before)


def errors_in_use(runs: Sequence[ListedRun]) -> list[Version]:
    """The error in use that each of the newest runs has measured of the champion of its time, the oldest run first.

    `before_mae` is the test MAE of that champion when it was published.
    """
    found = [run.in_use for run in reversed(runs) if run.in_use]
    return [
        Version(
            f"{each.name}: {each.images} new images",
            each.mae.value,
            each.mae.low,
            each.mae.high,
            each.name,
            each.test_mae.value if each.test_mae else None,
        )
        for each in found[-MOST_DRAWN:]
    ]


def chart(found: Sequence[Version], least: int = 2) -> Chart | None:
    """The MAE of each version, from left to right; None if there are fewer than `least`."""
    if len(found) < least:
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
