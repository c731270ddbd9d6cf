"""What to label next, in the store."""

from pathlib import Path

from age_tasks.registry.label_ranking import NEXT, newest_ranking, put_ranking
from age_tasks.store.files import FileStore
from tests.support.rankings import RANKING


def test_a_ranking_replaces_the_one_before(tmp_path: Path):
    store = FileStore(tmp_path)
    assert newest_ranking(store) is None
    put_ranking(store, RANKING, b"[]", b"file_name")
    newer = RANKING.model_copy(update={"version": "v4"})
    put_ranking(store, newer, b"[1]", b"file_name,real_age")
    assert newest_ranking(store) == newer
    assert store.list(NEXT) == [f"{NEXT}next.csv", f"{NEXT}ranking.json", f"{NEXT}tasks.json"]
    assert store.get(f"{NEXT}tasks.json") == b"[1]"
