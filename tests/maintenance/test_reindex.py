"""The index of a store: rebuilt by a command, and the same requests after a month and after years."""

from pathlib import Path

import pytest

from age_tasks.cli.app import main
from age_tasks.maintenance.reindex import reindex
from age_tasks.pipeline import STAGES
from age_tasks.registry.promotions import history
from age_tasks.reports.compare_page import compare_page
from age_tasks.runs.run import StoredRun
from age_tasks.store.files import FileStore
from tests.support.counted import CountingStore
from tests.support.looks import LOOKS
from tests.support.old_store import put_runs, put_trained

MOST = 12  # requests


def requests(folder: Path, runs: int) -> dict[str, int]:
    """Of each look at a store with so many runs, a tenth of which promoted their model."""
    put_runs(folder, runs, promoted_every=10)
    reindex(FileStore(folder))
    counted = {}
    for name, look in LOOKS.items():
        store = CountingStore(FileStore(folder))
        look(store, folder)
        counted[name] = len(store.asked)
    return counted


def test_no_look_at_the_store_takes_more_requests_after_years(tmp_path: Path):
    young, old = requests(tmp_path / "young", 20), requests(tmp_path / "old", 200)
    assert young == old
    assert max(old.values()) <= MOST


def test_the_page_compare_asks_for_two_runs_at_the_same_time_and_for_neither_more_often_after_years(tmp_path: Path):
    asked = []
    for runs in (20, 200):
        folder = tmp_path / str(runs)
        put_runs(folder, runs)
        stores = {key: CountingStore(FileStore(folder)) for key in ("run00008", "run00009")}
        for seed, key in enumerate(stores):
            put_trained(folder, key, seed)
        compare_page([StoredRun(key, store) for key, store in stores.items()])
        asked.append([sorted(store.asked) for store in stores.values()])
    assert asked[0] == asked[1]
    # run.json, a record of each stage, the metrics, the ages of the test images, two training curves
    assert [len(each) for each in asked[0]] == [1 + len(STAGES) + 4] * 2


def test_the_command_says_what_it_indexed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    put_runs(tmp_path, 4, promoted_every=2)
    monkeypatch.setenv("AGE_STORE", str(tmp_path))
    assert main(["reindex"]) == 0
    assert capsys.readouterr().out == "indexed: 4 runs, 4 decisions, 2 promotions\n"
    store = CountingStore(FileStore(tmp_path))
    assert [entry.name for entry in history(store)] == ["v1", "v2"]
    assert len(store.asked) == 3
