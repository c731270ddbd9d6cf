"""Packs: the newest that can be read counts, whatever happened to the others."""

import gzip
import logging

import pytest

from age_tasks.errors import DiskFullError, StoreError
from age_tasks.store.base import Store
from age_tasks.store.documents import Document
from age_tasks.store.packs import KEPT, Packs, only_logged

FOLDER = "index/words/"


class Words(Document):
    said: str


def packs(store: Store) -> Packs[Words]:
    return Packs(store, FOLDER, Words)


def say(store: Store, *said: str) -> None:
    for each in said:
        packs(store).put(Words(said=each), packs(store).newest())


def newest(store: Store) -> str | None:
    found = packs(store).newest().pack
    return found and found.said


def test_the_newest_pack_counts_and_few_are_kept(store: Store):
    assert newest(store) is None
    say(store, *"abcdefgh")
    assert newest(store) == "h"
    assert len(store.list(FOLDER)) == KEPT


DAMAGES = {
    "empty": b"",
    "not compressed": b"{}",
    "not JSON": gzip.compress(b"{"),
    "cut off": gzip.compress(b'{"said": "bad"}')[:-9],
    "another content": gzip.compress(b'{"said": 7}'),
    "of a newer version": gzip.compress(b'{"schema_version": 99, "said": "bad"}'),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_pack_that_can_not_be_read_is_passed_over_with_a_line_in_the_log(
    store: Store, damage: bytes, caplog: pytest.LogCaptureFixture
):
    say(store, "good", "bad")
    store.put(store.list(FOLDER)[0], damage)
    assert newest(store) == "good"
    assert "`age-tasks reindex` replaces it" in caplog.text
    say(store, "better")
    assert newest(store) == "better"


def test_a_slow_writer_hides_nothing_that_others_packed_meanwhile(store: Store):
    say(store, "before")
    read_long_ago = packs(store).newest()
    say(store, "one", "two")
    packs(store).put(Words(said="late"), read_long_ago)
    assert newest(store) == "two"


def test_a_pack_that_was_built_anew_counts_more_than_one_from_before(store: Store):
    say(store, "before")
    read_before = packs(store).newest()
    packs(store).replace(Words(said="anew"))
    packs(store).put(Words(said="from before"), read_before)
    assert newest(store) == "anew"


def test_a_reader_finds_another_pack_when_one_was_removed_meanwhile(store: Store, monkeypatch: pytest.MonkeyPatch):
    say(store, "one", "two")
    listed = store.list(FOLDER)
    store.delete(listed[0])
    monkeypatch.setattr(type(store), "list", lambda self, prefix, limit: listed)
    assert newest(store) == "one"


@pytest.mark.parametrize("error", [StoreError, DiskFullError])
def test_an_index_that_can_not_be_written_is_only_logged(error: type[Exception], caplog: pytest.LogCaptureFixture):
    with only_logged():
        raise error("no room")
    assert caplog.record_tuples[0][1:] == (logging.WARNING, "the index was not brought up to date: no room")
