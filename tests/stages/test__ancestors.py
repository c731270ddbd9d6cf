"""What a version has learned, also through the versions that it started from."""

from pathlib import Path

import pandas as pd

from age_tasks.registry.promotions import publish_version
from age_tasks.stages._ancestors import learned, own_images, trained_on_of, with_ancestors
from age_tasks.store.files import FileStore


def images(**split_by_name: str) -> pd.DataFrame:
    """Rows of `trained_on.csv`."""
    rows = [(name, 30.0, split) for name, split in split_by_name.items()]
    return pd.DataFrame(rows, columns=["sha256", "real_age", "split"])


def rows(table: pd.DataFrame) -> dict[str, str]:
    return dict(zip(table["sha256"], table["split"], strict=True))


def test_what_left_the_splits_stays_learned_through_any_number_of_warm_starts():
    splits = {"train": images(a="train"), "val": images(b="train"), "test": images(c="train")}
    before = images(a="train", b="val", c="test", gone="train", long_gone="ancestor", only_tested="test")
    second = with_ancestors(splits, before)
    assert rows(second) == {"a": "train", "b": "val", "c": "test", "gone": "ancestor", "long_gone": "ancestor"}
    assert second["real_age"].dtype == "float64"
    third = with_ancestors({"train": images(d="train")}, second)
    assert rows(third) == {"d": "train", "a": "ancestor", "gone": "ancestor", "long_gone": "ancestor"}
    assert rows(learned(third)) == rows(third)
    assert rows(own_images(third)) == {"d": "train"}


def test_without_a_warm_start_there_are_only_the_own_splits():
    splits = {"train": images(a="train"), "test": images(b="train")}
    assert rows(with_ancestors(splits)) == {"a": "train", "b": "test"}
    assert with_ancestors(splits, images(b="test"))["real_age"].dtype == "float64"


def test_the_images_of_a_version_are_read_also_where_it_lists_none_or_no_ancestors(tmp_path: Path):
    store, file = FileStore(tmp_path / "store"), tmp_path / "trained_on.csv"
    images(a="train", b="val", c="test").to_csv(file, index=False)
    publish_version(store, "old", {"trained_on.csv": file}, {})
    publish_version(store, "bare", {}, {})
    assert rows(learned(trained_on_of(store, "old"))) == {"a": "train"}
    assert learned(trained_on_of(store, "bare")).empty
