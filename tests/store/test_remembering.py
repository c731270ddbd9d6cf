"""A store for the time of one page."""

from pathlib import Path

import pytest

from age_tasks.errors import NotFoundError
from age_tasks.store.base import Store
from age_tasks.store.files import FileStore
from age_tasks.store.remembering import RememberingStore
from tests.support.counted import CountingStore


def test_each_object_is_asked_for_once_also_one_that_is_not_there(tmp_path: Path):
    FileStore(tmp_path).put("a", b"1")
    counting = CountingStore(FileStore(tmp_path))
    store = RememberingStore(counting)
    for _ in range(3):
        assert (store.get("a"), store.exists("a"), store.exists("b")) == (b"1", True, False)
        with pytest.raises(NotFoundError):
            store.get("b")
    assert counting.asked == ["GET a", "GET b"]


def test_it_is_otherwise_the_store_itself(store: Store, tmp_path: Path):
    remembering = RememberingStore(store)
    assert not remembering.exists("a/b")
    remembering.put("a/b", b"1")
    assert (remembering.get("a/b"), remembering.entry("a/b")) == (b"1", store.entry("a/b"))
    assert (remembering.list("a/"), list(remembering.entries(limit=1))) == (["a/b"], list(store.entries()))
    assert (remembering.url, remembering.where("a/b")) == (store.url, store.where("a/b"))
    remembering.fetch("a/b", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"1"
    remembering.delete("a/b")
    assert not remembering.exists("a/b")
