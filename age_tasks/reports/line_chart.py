"""Lines over numbers from 1 on, such as a learning curve: positions for an SVG that follows the theme of its page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 720, 260  # in SVG units
LEFT, RIGHT, TOP, BOTTOM = 48, 16, 12, 40  # margins
MAX_TICKS = 6
MAX_SERIES = 8  # for which the style has a look


@dataclass(frozen=True)
class Line:
    """One series: its name, the points as SVG wants them, and its last point with its value."""

    name: str
    points: str
    last_x: float
    last_y: float
    last: float


@dataclass(frozen=True)
class LineChart:
    """Positions in an SVG of `width` x `height`; ticks are a number and its position."""

    lines: tuple[Line, ...]
    x_ticks: tuple[tuple[int, float], ...]
    y_ticks: tuple[tuple[float, float], ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = RIGHT
    bottom: int = BOTTOM


def line_chart(series: Mapping[str, Sequence[float | None]], most: int = 0) -> LineChart | None:
    """The chart of series that start at 1; None if there is no value in them.

    Args:
        series: by name; None where a value is missing.
        most: the horizontal axis reaches at least so far.
    """
    known = {
        name: [(at, value) for at, value in enumerate(values, 1) if value is not None and math.isfinite(value)]
        for name, values in list(series.items())[:MAX_SERIES]
    }
    values = [value for points in known.values() for _, value in points]
    if not values:
        return None
    end = max(most, 2, *(at for points in known.values() for at, _ in points))
    step = _step(min(values), max(values))
    low, high = math.floor(min(values) / step) * step, math.ceil(max(values) / step) * step
    high += step * (high == low)

    def x(at: float) -> float:
        return LEFT + (at - 1) / (end - 1) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM)

    lines = tuple(
        Line(
            name,
            " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in points),
            x(points[-1][0]),
            y(points[-1][1]),
            points[-1][1],
        )
        for name, points in known.items()
        if points
    )
    every = max(1, math.ceil(end / MAX_TICKS / 5) * 5) if end > 2 * MAX_TICKS else 1
    x_ticks = tuple((at, x(at)) for at in range(1, end + 1) if at == 1 or at % every == 0)
    y_ticks = tuple((low + number * step, y(low + number * step)) for number in range(round((high - low) / step) + 1))
    return LineChart(lines, x_ticks, y_ticks)


def _step(low: float, high: float) -> float:
    """The distance of grid lines: 1, 2 or 5 times a power of ten."""
    least = max((high - low) / MAX_TICKS, 1e-3)
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least)
