from age_tasks.registry.label_confirmations import (
    CONFIRMED,
    LabelConfirmation,
    confirmation,
    confirmed_labels,
    label_key,
    put_confirmation,
)
from age_tasks.store.base import Store

SHA256 = "ab" * 32


def said(real_age: float = 30.0, right: bool = True, who: str = "ann") -> LabelConfirmation:
    return LabelConfirmation(
        sha256=SHA256, file_name="a.jpg", real_age=real_age, right=right, run="monday", at="2026-11-26", who=who
    )


def test_a_label_is_confirmed_until_it_changes(store: Store):
    put_confirmation(store, said())
    found = confirmed_labels(store)
    assert set(found) == {label_key(SHA256, 30)}
    assert confirmation(store, found[label_key(SHA256, 30)]).who == "ann"
    assert label_key(SHA256, 31) not in found
    assert label_key("cd" * 32, 30) not in found


def test_the_newest_entry_counts_and_all_stay(store: Store):
    for each in (said(), said(right=False, who="bob"), said(41.5), said(who="eve"), said(41.5, right=False)):
        put_confirmation(store, each)
    found = confirmed_labels(store)
    assert set(found) == {label_key(SHA256, 30.0)}
    assert confirmation(store, found[label_key(SHA256, 30.0)]).who == "eve"
    assert len(store.list(CONFIRMED)) == 5


def test_an_unknown_name_is_no_confirmation(store: Store):
    store.put(f"{CONFIRMED}notes.json", b"{}")
    assert confirmed_labels(store) == {}
