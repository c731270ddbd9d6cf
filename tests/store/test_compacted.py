"""A folder of documents and its packs: always what the folder holds, in a constant number of requests."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from age_tasks.errors import DamagedError
from age_tasks.store import compacted
from age_tasks.store.base import Store
from age_tasks.store.compacted import LISTED_AGAIN, CompactedFolder, DocumentPack
from age_tasks.store.documents import Document
from age_tasks.store.files import FileStore
from tests.support.counted import CountingStore


class Word(Document):
    said: str
    length: int | None = None


def words(store: Store) -> CompactedFolder[Word]:
    return CompactedFolder(store, "words/", "index/words/", Word, DocumentPack[Word])


def put(store: Store, key: str, said: str = "") -> None:
    store.put(f"words/{key}", Word(said=said or key).to_bytes())


def said(store: Store) -> list[str]:
    return [word.said for word in words(store).read().documents.values()]


def compact(store: Store) -> None:
    folder = words(store)
    folder.compact(folder.read())


def test_all_documents_are_read_with_or_without_a_pack(store: Store):
    for key in "abc":
        put(store, key)
    assert said(store) == ["a", "b", "c"]
    compact(store)
    put(store, "bb")
    put(store, "d")
    assert said(store) == ["a", "b", "bb", "c", "d"]


def test_a_document_that_was_removed_is_gone(store: Store):
    for key in "abc":
        put(store, key)
    compact(store)
    store.delete("words/b")
    assert said(store) == ["a", "c"]


def test_a_pack_of_a_racing_writer_hides_nothing(store: Store):
    put(store, "a")
    one, other = words(store), words(store)
    seen_by_one = one.read()
    put(store, "b")
    seen_by_other = other.read()
    other.compact(seen_by_other)
    one.compact(seen_by_one)
    assert said(store) == ["a", "b"]


def test_a_pack_can_say_more_than_the_documents(store: Store):
    put(store, "a", "hello")
    folder = words(store)
    folder.compact(folder.read(), lambda word: word.model_copy(update={"length": len(word.said)}))
    assert words(store).read().documents["words/a"].length == 5


def test_a_damaged_document_is_named_unless_a_pack_has_it(store: Store):
    put(store, "a")
    compact(store)
    store.put("words/a", b"{")
    assert said(store) == ["a"]
    store.put("words/b", b"{")
    with pytest.raises(DamagedError, match="words/b is not a valid Word"):
        said(store)


def test_three_requests_read_any_number_of_documents(tmp_path: Path):
    store = FileStore(tmp_path)
    (tmp_path / "words").mkdir()
    for number in range(LISTED_AGAIN + 1100):
        (tmp_path / "words" / f"{number:06d}").write_bytes(Word(said="x").to_bytes())
    compact(store)
    counting = CountingStore(store)
    assert len(words(counting).read().documents) == LISTED_AGAIN + 1100
    assert [asked.partition("/")[0] for asked in counting.asked] == ["LIST index", "GET index", "LIST words"]


def test_rebuilding_reads_what_is_there_now(store: Store):
    for key in "ab":
        put(store, key)
    compact(store)
    put(store, "a", "changed by hand")
    assert said(store) == ["a", "b"]
    assert words(store).rebuild() == 2
    assert said(store) == ["changed by hand", "b"]
    assert len(store.list("index/words/")) == 1


steps = st.lists(st.one_of(st.integers(0, 3), st.sampled_from(["compact", "lose a pack"])), max_size=20)


@given(steps)
@settings(deadline=None, max_examples=40)
def test_whatever_happens_to_the_packs_every_document_is_read(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int | str]
):
    """A number is of documents with later names: so many writers were quicker than this one."""
    store, names = FileStore(tmp_path_factory.mktemp("store")), [0, 1 << 40]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compacted, "LISTED_AGAIN", 4)
        for step in steps:
            if isinstance(step, int):
                later = min(step, len(names) - 2)
                place = len(names) - 1 - later
                names.insert(place, (names[place - 1] + names[place]) // 2)
                put(store, f"{names[place]:015d}")
            elif step == "compact":
                compact(store)
            elif packs := store.list("index/words/"):
                store.delete(packs[0])
            assert said(store) == [f"{name:015d}" for name in names[1:-1]]
