from pathlib import Path

import pytest

from age_tasks.registry.promotions import Promotion, rollback
from age_tasks.reports.models_page import HEIGHT, TOP, WIDTH, Row, chart, log_rows
from age_tasks.store.files import FileStore
from tests.support.builders import promoted


def rows(*maes: float | None) -> list[Row]:
    entry = Promotion("key", "version", 1, "2026-11-22T10:15:00+00:00", "ann", "better", "run", None, False)
    return [Row(entry, mae, "run") for mae in maes]


def test_a_lower_mae_is_drawn_lower_and_a_later_one_further_right():
    points = chart(rows(7.9, 6.5, 7.0)).points
    assert [point.x for point in points] == sorted(point.x for point in points)
    assert points[0].y < points[2].y < points[1].y
    assert all(0 < point.x < WIDTH and TOP < point.y < HEIGHT for point in points)


@pytest.mark.parametrize("maes", [(7.9, 5.0), (6.51, 6.5), (6.5, 6.5), (5.0, 90.0), (0.0, 0.1)])
def test_the_grid_lines_are_few_and_at_round_numbers(maes: tuple[float, float]):
    ticks = chart(rows(*maes)).ticks
    assert 2 <= len(ticks) <= 6
    assert all(years * 20 == pytest.approx(round(years * 20)) for years, _ in ticks)


def test_fewer_than_two_points_give_no_chart_and_removed_versions_are_left_out():
    assert chart(rows()) is None
    assert chart(rows(6.5)) is None
    assert len(chart(rows(6.5, None, 6.0)).points) == 2


def test_the_labels_of_a_hundred_versions_do_not_overlap():
    labelled = [point.x for point in chart(rows(*[6.5] * 100)).points if point.labelled]
    assert 10 < len(labelled) <= 24


def test_a_rollback_keeps_the_link_to_the_run_that_made_the_version(tmp_path: Path):
    store = FileStore(tmp_path / "store")
    promoted(store, tmp_path, "monday", "tuesday")
    rollback(store, "worse on children")
    last = log_rows(store)[-1]
    assert (last.entry.name, last.rolled_back, last.run) == ("v1", True, "monday")
