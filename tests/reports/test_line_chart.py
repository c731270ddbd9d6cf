"""Charts of lines: what is lower is drawn lower, and grid lines are few and round."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from age_tasks.reports.line_chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, line_chart

VALUES = st.lists(st.none() | st.floats(0, 120), min_size=1, max_size=300)


def points(line) -> list[tuple[float, float]]:
    return [tuple(map(float, pair.split(","))) for pair in line.points.split()]


@given(st.dictionaries(st.sampled_from("ABCD"), VALUES, min_size=1), st.integers(0, 500))
def test_every_value_is_inside_the_axes(series: dict[str, list[float | None]], most: int):
    chart = line_chart(series, most)
    known = {name: [value for value in values if value is not None] for name, values in series.items()}
    if not any(known.values()):
        assert chart is None
        return
    assert [line.name for line in chart.lines] == [name for name, values in known.items() if values]
    for line in chart.lines:
        drawn = points(line)
        assert len(drawn) == len(known[line.name])
        assert line.last == known[line.name][-1]
        assert all(LEFT - 0.1 <= x <= WIDTH - RIGHT + 0.1 and TOP - 0.1 <= y <= HEIGHT - BOTTOM + 0.1 for x, y in drawn)
    assert 2 <= len(chart.y_ticks) <= 9
    assert 2 <= len(chart.x_ticks) <= 13


def test_a_lower_value_is_drawn_lower_and_a_later_one_further_right():
    (line,) = line_chart({"A": [9.0, None, 7.0]}).lines
    (first, second) = points(line)
    assert first[0] < second[0]
    assert first[1] < second[1]  # SVG counts from the top
    assert (line.last_x, line.last_y) == pytest.approx(second, abs=0.1)


@pytest.mark.parametrize("values", [[7.9, 5.0], [6.51, 6.5], [6.5], [5.0, 90.0], [0.0, 0.001]])
def test_grid_lines_are_at_round_numbers_around_the_values(values: list[float]):
    ticks = [value for value, _ in line_chart({"A": values}).y_ticks]
    steps = {round(second - first, 9) for first, second in pairwise(ticks)}
    assert len(steps) == 1
    assert f"{steps.pop():.0e}"[0] in "125"
    assert ticks[0] <= min(values) <= max(values) <= ticks[-1] + 1e-9


def test_the_axis_reaches_as_far_as_asked():
    assert line_chart({"A": [9.0]}, most=10).x_ticks[-1][0] == 10
    assert line_chart({"A": [9.0]}).lines[0].last_x == LEFT


def test_infinite_values_are_left_out():
    assert line_chart({"A": [float("inf"), float("nan")]}) is None
