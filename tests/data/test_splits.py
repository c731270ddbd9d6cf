import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from age_tasks.config import SplitSettings
from age_tasks.data.near_duplicates import NEAR_BITS, connected_groups
from age_tasks.data.splits import (
    LEFT_OUT,
    SPLITS,
    across_pairs,
    age_strata,
    assign,
    extend_assignments,
    no_assignments,
    split_labels,
    summarise,
    with_near_groups,
)
from age_tasks.errors import LabelsError
from tests.support.settings import SHARED
from tests.support.tables import faces

PUBLISHED = SHARED / "appa_real_labels.csv"


def labels(ages: list[float]) -> pd.DataFrame:
    names = [f"{i}.jpg" for i in range(len(ages))]
    return pd.DataFrame({"file_name": names, "real_age": np.array(ages, float), "sha256": names})


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 1000).map(lambda tenths: tenths / 10), min_size=80, max_size=200),
    st.sampled_from(["quantile", "equal_width"]),
)
def test_every_image_is_in_exactly_one_split(ages: list[float], bins: str):
    splits = split_labels(labels(ages), SplitSettings(bins=bins))
    assigned = pd.concat(splits.values())["file_name"]
    assert sorted(assigned) == sorted(labels(ages)["file_name"])
    assert abs(len(splits["test"]) - 0.15 * len(ages)) <= 1
    assert abs(len(splits["val"]) - 0.15 * len(ages)) <= 1.5


def test_the_same_content_is_never_in_two_splits():
    table = labels([20, 30, 40, 50] * 50)
    table["sha256"] = [f"content {i % 150}" for i in range(200)]
    table["real_age"] = [20.0 + i % 150 % 50 for i in range(200)]
    splits = split_labels(table, SplitSettings())
    contents = [set(splits[name]["sha256"]) for name in SPLITS]
    assert sum(map(len, contents)) == len(set.union(*contents)) == 150


def test_the_seed_determines_the_splits_and_their_ages_are_alike():
    table = labels(list(np.random.default_rng(1).gamma(3, 10, 600).round()))
    one, same, other = (split_labels(table, SplitSettings(seed=seed)) for seed in (42, 42, 7))
    assert one["test"].equals(same["test"])
    assert not one["test"].equals(other["test"])
    summary = summarise(one, SplitSettings())
    assert abs(summary["train"]["mean_age"] - summary["test"]["mean_age"]) < 2


def test_too_few_images_are_refused_with_the_number_needed():
    with pytest.raises(LabelsError, match="at least 67 are needed"):
        split_labels(labels(list(range(40))), SplitSettings())


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 150),
    st.sampled_from(["quantile", "equal_width"]),
    st.tuples(st.integers(5, 45), st.integers(5, 45)),
    st.integers(1, 12),
)
def test_the_number_of_bins_that_a_refusal_names_works(count: int, bins: str, percents: tuple[int, int], n_bins: int):
    options = SplitSettings(bins=bins, test_fraction=percents[0] / 100, val_fraction=percents[1] / 100, n_bins=n_bins)
    table = labels([1 + number * 37 % 90 for number in range(count)])
    try:
        split_labels(table, options)
    except LabelsError as error:
        named = re.search(r"split.n_bins=(\d+)", str(error))
        if named:
            split_labels(table, options.model_copy(update={"n_bins": int(named[1])}))
        else:
            with pytest.raises(LabelsError):
                split_labels(table, options.model_copy(update={"n_bins": 1}))


changes = st.tuples(
    st.lists(st.integers(0, 3999), max_size=60),  # arrive
    st.lists(st.integers(0, 3999), max_size=20),  # leave
    st.lists(st.integers(0, 99), max_size=10),  # get another age
)


@settings(max_examples=30, deadline=None)
@given(st.lists(changes, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_assigned_images_stay_in_their_split_through_every_history(history: list, random):
    here, ages, previous, before = set(range(120)), {}, no_assignments(), {}
    for arrive, leave, corrected in [([], [], []), *history]:
        here = (here | set(arrive)) - set(leave)
        ages |= {number: float(random.randint(1, 99)) for number in corrected}
        table = faces(random.sample(sorted(here), len(here)), ages)
        split = assign(table, previous, SplitSettings())
        previous = extend_assignments(table, split, previous)
        now = dict(zip(table["sha256"], split, strict=True))
        assert set(now.values()) <= {*SPLITS, LEFT_OUT}
        assert all(now[image] == before[image] for image in now.keys() & before.keys())
        assert across_pairs(table, split) == 0
        before |= {image: name for image, name in now.items() if name != LEFT_OUT}


near_changes = st.tuples(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 60)), max_size=40),  # arrive: person, first changed bit
    st.lists(st.integers(0, 400), max_size=60),  # leave
)


@settings(max_examples=25, deadline=None)
@given(st.lists(near_changes, min_size=1, max_size=5), st.booleans())
def test_every_history_is_split_by_the_groups_that_a_comparison_of_every_pair_connects(history: list, found_before):
    here, previous = [(person, 0) for person in range(100)], no_assignments()
    for arrive, leave in [([], []), *history]:
        here = [image for at, image in enumerate(here) if at not in leave] + arrive
        table = changed_faces(here)
        split = assign(with_near_groups(table) if found_before else table, previous, SplitSettings())
        before = dict(zip(previous["sha256"], previous["split"], strict=True))
        images = pd.concat([table, previous])[["sha256", "dhash"]].drop_duplicates("sha256")
        group_of = dict(zip(images["sha256"], groups_of_every_pair(images["dhash"].tolist()), strict=True))
        kept: dict[int, set[str]] = {}
        for image, name in before.items():
            kept.setdefault(group_of[image], set()).add(name)
        chosen: dict[int, set[str]] = {}
        for image, name in zip(table["sha256"], split, strict=True):
            of_group = kept.get(group_of[image], set())
            if image in before:
                assert name == before[image]
            elif of_group:
                assert name == (LEFT_OUT if len(of_group) > 1 else min(of_group))
            else:
                chosen.setdefault(group_of[image], set()).add(name)
        assert all(len(names) == 1 and names <= set(SPLITS) for names in chosen.values())
        assert across_pairs(table, split) == 0
        previous = extend_assignments(table, split, previous)


def changed_faces(images: list[tuple[int, int]]) -> pd.DataFrame:
    """Images of a person, each with 11 changed bits from a first one on: near where these overlap, or connected."""
    rows = []
    for person, start in dict.fromkeys(images):
        bits = np.random.default_rng(person).integers(0, 2, 256).astype(np.uint8)
        bits[start : start + 11] ^= 1
        name = f"{person}-{start}.jpg"
        rows.append((name, 1.0 + person * 37 % 90, name, np.packbits(bits).tobytes().hex()))
    return pd.DataFrame(rows, columns=["file_name", "real_age", "sha256", "dhash"])


def groups_of_every_pair(hashes: list[str]) -> np.ndarray:
    bits = np.unpackbits(np.frombuffer(bytes.fromhex("".join(hashes)), np.uint8).reshape(len(hashes), -1), axis=1)
    return connected_groups(len(hashes), *np.nonzero((bits[:, None] != bits[None]).sum(axis=2) <= NEAR_BITS))


def test_pairs_across_splits_are_counted():
    table = faces([1, 1001, 2001, 2, 1002, 3], {})
    split = pd.Series(["train", "test", LEFT_OUT, "val", "val", "test"])
    assert across_pairs(table, split) == 1


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(5, 200), min_size=1, max_size=8), st.integers(0, 5))
def test_each_age_bin_approaches_the_fractions_as_labels_arrive(arrivals: list[int], seed: int):
    previous, options, size = no_assignments(), SplitSettings(seed=seed, n_bins=5, bins="equal_width"), 200
    ages = np.random.default_rng(seed).uniform(1, 90, 200 + sum(arrivals))
    for arriving in (0, *arrivals):
        size += arriving
        names = [f"{n:064x}" for n in range(size)]
        table = pd.DataFrame({"file_name": names, "real_age": ages[:size], "sha256": names})
        split = assign(table, previous, options)
        previous = pd.DataFrame({"sha256": names, "dhash": "", "split": split})
    for _, part in split.groupby(age_strata(table["real_age"], "equal_width", 5)):
        fractions = part.value_counts(normalize=True)
        assert abs(fractions.get("test", 0) - 0.15) * len(part) <= 4
        assert abs(fractions.get("val", 0) - 0.15) * len(part) <= 4


def test_growth_by_five_per_cent_moves_no_image_and_reaches_every_split():
    table = faces(list(range(1000)), {})
    first = assign(table.head(950), no_assignments(), SplitSettings())
    previous = extend_assignments(table.head(950), first, no_assignments())
    second = assign(table, previous, SplitSettings())
    assert second.head(950).tolist() == first.tolist()
    assert set(second.tail(50)) == set(SPLITS)
    assert (
        second.tolist() == assign(table.sample(frac=1, random_state=1), previous, SplitSettings()).sort_index().tolist()
    )


def test_a_near_duplicate_joins_the_split_of_an_image_that_has_left():
    table = faces(list(range(200)), {})
    split = assign(table, no_assignments(), SplitSettings())
    previous = extend_assignments(table, split, no_assignments())
    copies = faces([1000 + number for number in range(100, 200)] + list(range(100)), {})
    assert assign(copies, previous, SplitSettings()).head(100).tolist() == split.tail(100).tolist()


def test_an_image_that_connects_two_splits_is_left_out_and_they_stay():
    table = faces([1, 2001, 1001], {})
    previous = table.head(2)[["sha256", "dhash"]].assign(split=["train", "test"])
    assert assign(table, previous, SplitSettings()).tolist() == ["train", "test", LEFT_OUT]


@pytest.mark.skipif(not PUBLISHED.exists(), reason=f"the published labels are not at {PUBLISHED}")
def test_equal_width_bins_reproduce_the_published_splits():
    splits = split_labels(pd.read_csv(PUBLISHED), SplitSettings(bins="equal_width"))
    ages = splits["test"]["real_age"]
    assert [len(splits[name]) for name in SPLITS] == [5313, 1139, 1139]
    counts = pd.cut(ages, [0, 10, 20, 30, 40, 50, 60, 70, 100]).value_counts(sort=False)
    assert counts.tolist() == [106, 202, 332, 212, 140, 80, 38, 29]
    assert (ages.min(), ages.max(), ages.median()) == (1, 97, 28)


people_changes = st.tuples(
    st.lists(st.integers(0, 3999), max_size=60),  # arrive
    st.lists(st.integers(0, 3999), max_size=20),  # leave
    st.lists(st.integers(0, 3999), max_size=10),  # turn out to be of another person
)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(people_changes, min_size=1, max_size=5),
    st.integers(1, 400),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_no_person_and_no_group_is_ever_in_two_splits(history: list, people: int, known_at_first: bool, random):
    here, who, previous, former = set(range(120)), {}, no_assignments(), {}
    for number, (arrive, leave, corrected) in enumerate([([], [], []), *history]):
        here = (here | set(arrive)) - set(leave)
        who |= {image: f"person {random.randrange(people)}" for image in (here - who.keys()) | set(corrected)}
        who |= {image: "" for image in here if image % 7 == 0}
        rows = random.sample(sorted(here), len(here))
        table = faces(rows, {})
        if known_at_first or number:
            table["person"] = [who[row] for row in rows]
        split = assign(table, previous, SplitSettings())
        previous = extend_assignments(table, split, previous)
        assert across_pairs(table, split) == 0
        used = table.assign(split=split)[split != LEFT_OUT]
        if "person" in used:
            assert used[used["person"] != ""].groupby("person")["split"].nunique().max() in (1, np.nan) or used.empty
        now = dict(zip(used["sha256"], used["split"], strict=True))
        assert all(now[image] == former[image] for image in now.keys() & former.keys())
        former |= now


def test_the_fractions_hold_with_many_images_of_each_person():
    rng = np.random.default_rng(1)
    table = faces(list(range(1000)), {})
    table["person"] = [f"person {number}" for number in rng.integers(60, size=1000)]
    fractions = assign(table, no_assignments(), SplitSettings()).value_counts(normalize=True)
    assert fractions["train"] == pytest.approx(0.7, abs=0.03)
    assert fractions["val"] == pytest.approx(0.15, abs=0.03)
    assert fractions["test"] == pytest.approx(0.15, abs=0.03)


def test_of_a_person_in_two_splits_the_tested_images_stay():
    table = faces(list(range(300)), {})
    split = assign(table, no_assignments(), SplitSettings())
    previous = extend_assignments(table, split, no_assignments())
    trained, tested = (table.index[split == name][0] for name in ("train", "test"))
    table["person"] = ""
    table.loc[[trained, tested], "person"] = "ann"
    after = assign(table, previous, SplitSettings())
    assert (after[trained], after[tested]) == (LEFT_OUT, "test")
    assert after.drop(trained).tolist() == split.drop(trained).tolist()


def test_a_new_image_joins_the_split_of_its_person_whose_images_have_left():
    table = faces(list(range(300)), {})
    table["person"] = [f"person {number}" for number in range(300)]
    split = assign(table, no_assignments(), SplitSettings())
    previous = extend_assignments(table, split, no_assignments())
    new = faces(list(range(1000, 1300)), {})
    new["person"] = table["person"].to_numpy()
    assert assign(new, previous, SplitSettings()).tolist() == split.tolist()


def test_a_column_of_unknown_people_changes_only_how_the_first_split_is_drawn():
    table = faces(list(range(300)), {})
    previous = extend_assignments(table, assign(table, no_assignments(), SplitSettings()), no_assignments())
    grown = faces(list(range(400)), {})
    assert assign(grown.assign(person=""), previous, SplitSettings()).head(300).tolist() == (
        assign(grown, previous, SplitSettings()).head(300).tolist()
    )


def test_a_fixed_split_is_used_as_it_is():
    table = faces(list(range(300)), {})
    table["fixed_split"] = ["train", "val", "test"] * 100
    assert assign(table, no_assignments(), SplitSettings()).tolist() == table["fixed_split"].tolist()


def test_of_people_and_duplicates_across_a_fixed_split_the_tested_images_stay():
    table = faces(list(range(30)), {})
    table["fixed_split"], table["person"] = "train", ""
    table.loc[[0, 1], "person"], table.loc[1, "fixed_split"] = "ann", "test"
    table.loc[[2, 3], "person"], table.loc[3, "fixed_split"] = "bob", "val"
    table.loc[5, ["sha256", "dhash"]] = table.loc[4, ["sha256", "dhash"]]
    table.loc[5, "fixed_split"] = "val"
    split = assign(table, no_assignments(), SplitSettings())
    assert split[:6].tolist() == [LEFT_OUT, "test", LEFT_OUT, "val", LEFT_OUT, "val"]
    assert set(split[6:]) == {"train"}


def test_the_standard_deviation_of_one_age_is_none():
    summary = summarise({"train": labels([20, 30]), "val": labels([40]), "test": labels([50, 60])}, SplitSettings())
    assert summary["val"]["std_age"] is None
    assert summary["train"]["std_age"] == 7.07
    json.dumps(summary, allow_nan=False)
