import json
from pathlib import Path

import pytest

from age_tasks.errors import NotFoundError, SettingsError, StoreError
from age_tasks.registry.promotions import (
    INDEX,
    MANIFEST,
    PROMOTIONS,
    VERSIONS,
    champion,
    fetch_version,
    history,
    manifest_file,
    model_to_beat,
    promote,
    publish_version,
    published_before,
    rebuild_index,
    rollback,
)
from age_tasks.store import open_store
from age_tasks.store.base import Store, file_sha256
from age_tasks.store.files import FileStore
from tests.support.builders import promote_at_once, promoted, publish
from tests.support.counted import CountingStore


def test_the_last_promotion_names_the_champion(store: Store, tmp_path: Path):
    assert champion(store) is None
    promoted(store, tmp_path, "monday", "tuesday")
    assert (champion(store).version, champion(store).name) == ("tuesday", "v2")
    promote(store, "monday", "tuesday's is worse on children")
    assert (champion(store).version, champion(store).name) == ("monday", "v1")
    entries = [json.loads(store.get(key)) for key in store.list(PROMOTIONS)]
    assert [entry["version"] for entry in entries] == ["monday", "tuesday", "monday"]
    assert [entry["replaces"] for entry in entries] == [None, *store.list(PROMOTIONS)[:2]]
    assert not any(entry.raced for entry in history(store))


def test_an_unpublished_version_is_not_promoted(store: Store):
    with pytest.raises(NotFoundError, match="no version ghost"):
        promote(store, "ghost", "gate passed")
    assert champion(store) is None


def test_a_version_without_its_manifest_does_not_exist(store: Store):
    store.put(f"{VERSIONS}half/model.keras", b"the publisher was killed here")
    with pytest.raises(NotFoundError, match="no version half"):
        promote(store, "half", "gate passed")


def test_a_fetched_version_equals_the_published_one(store: Store, tmp_path: Path):
    publish(store, "monday", tmp_path)
    manifest = fetch_version(store, "monday", tmp_path / "fetched")
    assert (tmp_path / "fetched" / "model.keras").read_bytes() == b"monday"
    assert manifest.run == "monday"


def test_a_published_version_never_changes(store: Store, tmp_path: Path):
    publish(store, "monday", tmp_path)
    before = store.get(f"{VERSIONS}monday/{MANIFEST}")
    (tmp_path / "other").write_bytes(b"other")
    publish_version(store, "monday", {"model.keras": tmp_path / "other"}, {})
    assert store.get(f"{VERSIONS}monday/{MANIFEST}") == before
    assert store.get(f"{VERSIONS}monday/model.keras") == b"monday"


def test_a_changed_file_of_a_version_is_refused(store: Store, tmp_path: Path):
    publish(store, "monday", tmp_path)
    store.put(f"{VERSIONS}monday/model.keras", b"something else")
    with pytest.raises(StoreError, match=r"model\.keras is not what its manifest says"):
        fetch_version(store, "monday", tmp_path / "fetched")


def test_a_rollback_goes_one_version_back_or_to_the_version_given(store: Store, tmp_path: Path):
    promoted(store, tmp_path, "one", "two", "three")
    assert rollback(store, "three fails on children").name == "v2"
    assert rollback(store, "two as well").name == "v1"
    assert rollback(store, "it was the pictures", to="v3").name == "v3"
    assert rollback(store, "no", to="2").version == "two"
    assert [entry.name for entry in history(store)] == ["v1", "v2", "v3", "v2", "v1", "v3", "v2"]


def test_an_impossible_rollback_is_refused_with_the_reason(store: Store, tmp_path: Path):
    with pytest.raises(SettingsError, match="no model has been promoted"):
        rollback(store, "why")
    promoted(store, tmp_path, "one")
    with pytest.raises(SettingsError, match="v1, is the first version"):
        rollback(store, "why")
    with pytest.raises(SettingsError, match="v1 is the champion already"):
        rollback(store, "why", to="1")
    with pytest.raises(SettingsError, match="no version 'v7' has been promoted; choose one of v1"):
        rollback(store, "why", to="v7")
    assert len(history(store)) == 1


def test_a_rollback_that_is_repeated_after_a_failure_goes_back_once(store: Store, tmp_path: Path):
    promoted(store, tmp_path, "one", "two", "three")
    first = rollback(store, "three fails on children", once="manual__1")
    assert rollback(store, "three fails on children", once="manual__1") == first
    assert [entry.name for entry in history(store)] == ["v1", "v2", "v3", "v2"]
    assert rollback(store, "two as well", once="manual__2").name == "v1"


@pytest.mark.slow
def test_ten_promotions_at_once_all_stay_in_the_history_and_one_is_the_champion(store: Store, tmp_path: Path):
    versions = promote_at_once(store, tmp_path, 10)
    promotions = history(store)
    assert sorted(entry.version for entry in promotions) == versions
    assert sorted(entry.number for entry in promotions) == list(range(1, 11))
    assert any(entry.raced for entry in promotions)
    assert {champion(open_store(store.url)).version for _ in range(3)} == {promotions[-1].version}
    assert all(fetch_version(store, version, tmp_path / version).run == version for version in versions)


def test_a_promotion_based_on_an_outdated_log_counts_as_a_race(store: Store, tmp_path: Path):
    promoted(store, tmp_path, "monday", "tuesday")
    publish(store, "wednesday", tmp_path)
    seen = history(store)
    rollback(store, "tuesday's is worse on children")
    promote(store, "wednesday", "gate passed", run="wednesday", seen=seen)
    assert [(entry.name, entry.raced) for entry in history(store)[2:]] == [("v1", False), ("v3", True)]


def test_few_requests_find_champion_and_opponent_however_long_the_log_is(tmp_path: Path):
    store = FileStore(tmp_path / "store")
    promoted(store, tmp_path, "sunday")
    for number in range(2, 40):
        promote(store, "sunday", "to and fro")
        if number % 13 == 0:
            publish(store, f"run{number}", tmp_path)
            promote(store, f"run{number}", "gate passed")
        counting = CountingStore(store)
        assert champion(counting).why
        assert len(counting.asked) == 3
    sunday, last = (file_sha256(tmp_path / f"{name}.keras") for name in ("sunday", "run39"))
    for find, name, requests in (
        (lambda store: model_to_beat(store, sunday), "v4", 3),
        (lambda store: model_to_beat(store, last), "v1", 5),
        (lambda store: published_before(store, sunday), "v1", 5),
        (lambda store: published_before(store, "0" * 64), None, 3),
    ):
        counting = CountingStore(store)
        found = find(counting)
        assert (found and found.name, len(counting.asked)) == (name, requests)


def test_a_log_whose_index_is_lost_is_read_entry_by_entry_and_indexed_again(store: Store, tmp_path: Path):
    promoted(store, tmp_path, "monday", "tuesday")
    before = history(store)
    for key in store.list(INDEX):
        store.delete(key)
    assert history(store) == before
    assert [entry.facts for entry in history(store)] == [None, None]
    rollback(store, "worse on children")
    assert [entry.facts.test_mae for entry in history(store)] == [6.5, 6.5, 6.5]


def test_the_index_names_what_became_of_a_version_when_it_is_rebuilt(store: Store, tmp_path: Path):
    promoted(store, tmp_path, "monday", "tuesday", "wednesday")
    store.delete(manifest_file("monday"))
    store.put(manifest_file("tuesday"), b"{")
    assert rebuild_index(store) == 3
    assert [entry.facts.lost for entry in history(store)] == ["removed", "damaged", ""]


def test_a_version_whose_files_are_gone_is_no_earlier_publication(store: Store, tmp_path: Path):
    promoted(store, tmp_path, "monday")
    monday = file_sha256(tmp_path / "monday.keras")
    assert published_before(store, monday).name == "v1"
    store.delete(manifest_file("monday"))
    assert published_before(store, monday) is None


@pytest.mark.parametrize("indexed", [True, False])
def test_a_lost_version_is_no_opponent_unless_it_is_the_champion(store: Store, tmp_path: Path, indexed: bool):
    promoted(store, tmp_path, "monday", "tuesday", "wednesday")
    monday = file_sha256(tmp_path / "monday.keras")
    store.delete(manifest_file("wednesday"))
    if indexed:
        rebuild_index(store)  # otherwise the index says that it is there
    for model in (monday, "0" * 64):
        assert model_to_beat(store, model).name == "v3"
    rollback(store, "wednesday's is lost", "v1")
    assert model_to_beat(store, monday).name == "v2"
    assert model_to_beat(store, "0" * 64).name == "v1"
    store.delete(f"{VERSIONS}tuesday/model.keras")
    assert model_to_beat(store, monday) is None


def test_a_version_that_was_restored_is_not_its_own_opponent(store: Store, tmp_path: Path):
    promoted(store, tmp_path, "monday", "tuesday")
    content = store.get(manifest_file("tuesday"))
    store.delete(manifest_file("tuesday"))
    rebuild_index(store)
    store.put(manifest_file("tuesday"), content)
    assert model_to_beat(store, file_sha256(tmp_path / "tuesday.keras")).name == "v1"


def test_a_promotion_stands_although_the_index_can_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    store = FileStore(tmp_path / "store")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "index").write_bytes(b"a file in the way")
    promoted(store, tmp_path, "monday")
    assert champion(store).name == "v1"
    assert "the index was not brought up to date" in caplog.text


def test_the_log_names_who_promoted(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AGE_WHO", "Ann (Airflow)")
    promoted(store, tmp_path, "monday", "tuesday")
    rollback(store, "tuesday's is worse on children")
    assert champion(store).who == "Ann (Airflow)"
