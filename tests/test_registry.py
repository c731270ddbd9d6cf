import json
from pathlib import Path

import pytest

from age_tasks.errors import NotFoundError, StoreError
from age_tasks.registry import champion, fetch_version, promote, publish_version
from age_tasks.store import Store


def publish(store: Store, version: str, folder: Path) -> None:
    model = folder / "model.keras"
    model.write_bytes(version.encode())
    publish_version(store, version, {"model.keras": model}, {"run": version})


def test_the_last_promotion_names_the_champion(store: Store, tmp_path: Path):
    assert champion(store) is None
    for version in ("monday", "tuesday"):
        publish(store, version, tmp_path)
        promote(store, version)
    assert champion(store) == "tuesday"
    promote(store, "monday")  # a rollback is one more entry
    assert champion(store) == "monday"
    entries = [json.loads(store.get(key)) for key in store.list("promotions/")]
    assert [entry["version"] for entry in entries] == ["monday", "tuesday", "monday"]
    assert [entry["replaces"] for entry in entries] == [None, *store.list("promotions/")[:2]]


def test_what_was_never_published_is_not_promoted(store: Store):
    with pytest.raises(NotFoundError, match="no version ghost"):
        promote(store, "ghost")
    assert champion(store) is None


def test_a_version_comes_back_as_it_was_published(store: Store, tmp_path: Path):
    publish(store, "monday", tmp_path)
    manifest = fetch_version(store, "monday", tmp_path / "fetched")
    assert (tmp_path / "fetched" / "model.keras").read_bytes() == b"monday"
    assert manifest["run"] == "monday"


def test_a_file_that_was_changed_is_refused(store: Store, tmp_path: Path):
    publish(store, "monday", tmp_path)
    store.put("models/monday/model.keras", b"something else")
    with pytest.raises(StoreError, match="sha256 differs"):
        fetch_version(store, "monday", tmp_path / "fetched")
