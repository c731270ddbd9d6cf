import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from age_tasks.config import SplitSettings
from age_tasks.errors import LabelsError
from age_tasks.splits import SPLITS, split_labels, summarise
from tests.conftest import SHARED

PUBLISHED = SHARED / "appa_real_labels.csv"


def labels(ages: list[float]) -> pd.DataFrame:
    names = [f"{i}.jpg" for i in range(len(ages))]
    return pd.DataFrame({"file_name": names, "real_age": np.array(ages, float), "sha256": names})


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 1000).map(lambda tenths: tenths / 10), min_size=80, max_size=200),
    st.sampled_from(["quantile", "equal_width"]),
)
def test_every_image_stands_in_exactly_one_split(ages: list[float], bins: str):
    splits = split_labels(labels(ages), SplitSettings(bins=bins))
    dealt = pd.concat(splits.values())["file_name"]
    assert sorted(dealt) == sorted(labels(ages)["file_name"])
    assert abs(len(splits["test"]) - 0.15 * len(ages)) <= 1
    assert abs(len(splits["val"]) - 0.15 * len(ages)) <= 1.5


def test_the_same_content_never_stands_in_two_splits():
    table = labels([20, 30, 40, 50] * 50)
    table["sha256"] = [f"content {i % 150}" for i in range(200)]
    table["real_age"] = [20.0 + i % 150 % 50 for i in range(200)]
    splits = split_labels(table, SplitSettings())
    contents = [set(splits[name]["sha256"]) for name in SPLITS]
    assert sum(map(len, contents)) == len(set.union(*contents)) == 150


def test_the_seed_decides_and_ages_are_alike():
    table = labels(list(np.random.default_rng(1).gamma(3, 10, 600).round()))
    one, same, other = (split_labels(table, SplitSettings(seed=seed)) for seed in (42, 42, 7))
    assert one["test"].equals(same["test"])
    assert not one["test"].equals(other["test"])
    summary = summarise(one, SplitSettings())
    assert abs(summary["train"]["mean_age"] - summary["test"]["mean_age"]) < 2


def test_too_few_images_say_how_many_are_needed():
    with pytest.raises(LabelsError, match="at least 67 are needed"):
        split_labels(labels(list(range(40))), SplitSettings())


@pytest.mark.skipif(not PUBLISHED.exists(), reason=f"the published labels are not at {PUBLISHED}")
def test_equal_width_bins_reproduce_the_published_splits():
    splits = split_labels(pd.read_csv(PUBLISHED), SplitSettings(bins="equal_width"))
    ages = splits["test"]["real_age"]
    assert [len(splits[name]) for name in SPLITS] == [5313, 1139, 1139]
    counts = pd.cut(ages, [0, 10, 20, 30, 40, 50, 60, 70, 100]).value_counts(sort=False)
    assert counts.tolist() == [106, 202, 332, 212, 140, 80, 38, 29]
    assert (ages.min(), ages.max(), ages.median()) == (1, 97, 28)
