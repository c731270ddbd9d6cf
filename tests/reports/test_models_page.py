from itertools import pairwise
from pathlib import Path

import pytest

from age_tasks.maintenance.reindex import reindex
from age_tasks.registry.decisions import Decision, InUse, put_decision
from age_tasks.registry.promotions import history, promote, publish_version, rebuild_index, rollback
from age_tasks.registry.version_facts import MaeInterval
from age_tasks.reports.models_page import (
    HEIGHT,
    MOST_DRAWN,
    TOP,
    WIDTH,
    Version,
    chart,
    log_rows,
    models_page,
    versions,
)
from age_tasks.store.base import Store
from age_tasks.store.files import FileStore
from tests.support.builders import promoted
from tests.support.metrics import CHAMPION, METRICS, metrics_of
from tests.support.old_store import put_runs
from tests.support.page import Page


def measured(*maes: float) -> list[Version]:
    return [Version(f"v{number}", mae) for number, mae in enumerate(maes, start=1)]


def put_version(store: Store, folder: Path, version: str, champion: dict | None) -> None:
    """Publish and promote a version with its metrics."""
    (folder / "metrics.json").write_bytes(metrics_of(champion=champion).to_bytes())
    publish_version(store, version, {"metrics.json": folder / "metrics.json"}, {"run": version, "test_mae": 7.065})
    promote(store, version, "gate passed", run=version)


def test_a_lower_mae_is_drawn_lower_and_a_later_one_further_right():
    points = chart(measured(7.9, 6.5, 7.0)).points
    assert [point.x for point in points] == sorted(point.x for point in points)
    assert points[0].y < points[2].y < points[1].y
    assert all(0 < point.x < WIDTH and TOP < point.y < HEIGHT for point in points)


@pytest.mark.parametrize("maes", [(7.9, 5.0), (6.51, 6.5), (6.5, 6.5), (5.0, 90.0), (0.0, 0.1)])
def test_the_grid_lines_are_few_and_at_round_numbers(maes: tuple[float, float]):
    ticks = chart(measured(*maes)).ticks
    assert 2 <= len(ticks) <= 6
    assert all(years * 20 == pytest.approx(round(years * 20)) for years, _ in ticks)


def test_fewer_than_two_versions_give_no_chart():
    assert chart([]) is None
    assert chart(measured(6.5)) is None


@pytest.mark.parametrize("count", [2, 24, 25, 48, 100])
def test_the_labels_of_many_versions_do_not_overlap(count: int):
    points = [point for point in chart(measured(*[6.5] * count)).points if point.labelled]
    assert points[-1].version.name == f"v{count}"
    assert min(count, 10) <= len(points) <= 24
    apart = [second.middle - first.middle for first, second in pairwise(points)]
    assert min(apart) > 32  # the width of "v100"


def test_a_version_is_drawn_beside_the_champion_on_the_same_images(tmp_path: Path):
    store = FileStore(tmp_path / "store")
    put_version(store, tmp_path, "monday", None)
    put_version(store, tmp_path, "tuesday", CHAMPION | {"name": "v1", "candidate_mae": 8.8, "champion_mae": 8.89})
    first, second = versions(store, history(store))
    own = METRICS["finetune"]["mae"]
    assert (first.mae, first.low, first.high, first.before_mae) == (own["value"], own["low"], own["high"], None)
    assert (second.before, second.mae, second.before_mae) == ("v1", 8.8, 8.89)
    assert (second.low, second.high) == pytest.approx((8.89 - 0.61, 8.89 - 0.09))
    point = chart([first, second]).points[1]
    assert point.before_y < point.y  # a lower MAE is drawn lower: better, although its own number is above that of v1
    assert point.before_x < point.x


def test_each_version_stands_once_in_the_chart_however_often_it_was_promoted(tmp_path: Path):
    store = FileStore(tmp_path / "store")
    promoted(store, tmp_path, "monday", "tuesday", "wednesday")
    for to in ("1", "3", "1", "2", "1"):
        rollback(store, "to and fro", to)
    store.delete("registry/versions/tuesday/manifest.json")
    rebuild_index(store)
    assert [version.name for version in versions(store, history(store))] == ["v1", "v3"]


def put_error_in_use(store: Store, run: str, champion: str, mae: float, worse: bool) -> None:
    """The decision of the gate about a run that has measured the champion's error in use."""
    put_decision(
        store,
        Decision(
            run=run,
            by="gate",
            passed=False,
            verdict="refused",
            at=f"2026-11-{run[-2:]}T10:00:00+00:00",
            in_use=InUse(
                name=champion,
                images=57,
                mae=MaeInterval(value=mae, low=mae - 1, high=mae + 1),
                test_mae=MaeInterval(value=6.0, low=5.6, high=6.4),
                worse=worse,
            ),
        ),
    )


def test_the_error_in_use_of_each_run_is_drawn_beside_the_test_mae(tmp_path: Path):
    store = FileStore(tmp_path / "store")
    promoted(store, tmp_path, "monday", "tuesday")
    assert "Error in use" not in Page(models_page(store)).text
    put_error_in_use(store, "run-10", "v1", 6.2, worse=False)
    put_error_in_use(store, "run-12", "v2", 8.9, worse=True)
    reindex(store)
    page = Page(models_page(store))
    drawn = page.soup.select("svg[aria-label^='MAE in years of the champion'] title")
    assert [title.text for title in drawn] == [
        "v1 on its test images: 6.00 years",
        "v1: 57 new images: 6.20 years (95 % interval 5.20 to 7.20)",
        "v2 on its test images: 6.00 years",
        "v2: 57 new images: 8.90 years (95 % interval 7.90 to 9.90)",
    ]
    assert "Run run-12: on 57 images new since v2 was trained, its MAE was 8.90 years" in page.text
    assert "It is worse in use beyond chance." in page.text


def test_a_long_history_is_shown_in_parts_the_newest_first(tmp_path: Path):
    store = FileStore(tmp_path / "store")
    put_runs(tmp_path / "store", 120, promoted_every=4)
    reindex(store)
    newest, oldest = Page(models_page(store)), Page(models_page(store, page=3, log=2))
    assert newest.soup.select_one("#run-run00119")
    assert "Part 1 of 3" in newest.text
    assert "Part 1 of 2" in newest.text
    assert "models?search=&page=2&log=1#runs" in newest.addresses
    assert "models?search=&page=1&log=2#log" in newest.addresses
    assert oldest.soup.select_one("#run-run00000")
    assert oldest.row("v1")
    assert "in use" in newest.text
    assert "30 promoted versions" in oldest.cards
    assert Page(models_page(store, page=99)).text == Page(models_page(store, page=3)).text


def test_a_search_finds_runs_of_all_parts(tmp_path: Path):
    store = FileStore(tmp_path / "store")
    put_runs(tmp_path / "store", 60)
    reindex(store)
    assert Page(models_page(store, search="run00003")).soup.select_one("#run-run00003")
    assert "Part 1 of 2" in Page(models_page(store, search="ann")).text


def test_the_chart_has_the_newest_versions(tmp_path: Path):
    store = FileStore(tmp_path / "store")
    put_runs(tmp_path / "store", MOST_DRAWN + 5, promoted_every=1)
    reindex(store)
    drawn = versions(store, history(store))
    assert (drawn[0].name, drawn[-1].name) == ("v6", f"v{MOST_DRAWN + 5}")
    assert f"Only the newest {MOST_DRAWN} versions are drawn." in Page(models_page(store)).text


def test_only_a_step_back_counts_as_a_rollback(tmp_path: Path):
    store = FileStore(tmp_path / "store")
    promoted(store, tmp_path, "monday", "tuesday")
    rollback(store, "worse on children")
    rollback(store, "it was the crop", to="2")
    assert [row.entry.back for row in log_rows(store, history(store))] == [False, False, True, False]
    page = Page(models_page(store))
    assert "1 rollback by people" in page.cards
    assert "Rolled back. worse on children" in page.text
    assert "Promoted again. it was the crop" in page.text


def test_a_rollback_keeps_the_link_to_the_run_that_made_the_version(tmp_path: Path):
    store = FileStore(tmp_path / "store")
    promoted(store, tmp_path, "monday", "tuesday")
    rollback(store, "worse on children")
    last = log_rows(store, history(store))[-1]
    assert (last.entry.name, last.entry.back, last.run) == ("v1", True, "monday")
