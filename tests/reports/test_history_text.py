from pathlib import Path

import pytest

from age_tasks.registry.promotions import history, promote, rollback
from age_tasks.reports.history_text import describe_champion, history_table
from age_tasks.store.files import FileStore
from tests.support.builders import promoted, publish


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


def test_the_champion_is_described_with_mae_person_and_reason(store: FileStore, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("AGE_WHO", "Ann (Airflow)")
    promoted(store, tmp_path, "monday", "tuesday")
    rollback(store, "tuesday's is worse on children")
    text = describe_champion(store)
    assert text.startswith("v1 is in use, test MAE 6.50 years")
    assert "by     Ann (Airflow)" in text
    assert "tuesday's is worse on children" in text


def test_the_history_lists_the_newest_entry_first(store: FileStore, tmp_path: Path):
    promoted(store, tmp_path, "monday", "tuesday")
    rollback(store, "tuesday's is worse on children")
    newest, *_, oldest = history_table(store).splitlines()[1:]
    assert "rolled back: tuesday's is worse on children" in newest
    assert oldest.startswith("v1")


def test_the_history_marks_entries_that_were_raced(store: FileStore, tmp_path: Path):
    promoted(store, tmp_path, "monday")
    publish(store, "tuesday", tmp_path)
    seen = history(store)
    promote(store, "monday", "again")
    promote(store, "tuesday", "gate passed", run="tuesday", seen=seen)
    assert "at the same time" in history_table(store).splitlines()[1]


def test_before_the_first_promotion_both_texts_say_so(store: FileStore):
    assert describe_champion(store) == history_table(store) == "No model has been promoted yet."
