"""Weak segments of the test images: planted ones are found and named, and chance is none."""

import re

import numpy as np
import pandas as pd
import pytest

from age_tasks.evaluation.weak_segments import ENOUGH_IMAGES, ENOUGH_PEOPLE, weak_segments

SAMPLES, SETS = 200, 100  # resamples; simulated sets of test images


def drawn(rng: np.random.Generator, images: int) -> pd.DataFrame:
    """Test images whose errors have nothing to do with age, sex or image quality."""
    age = rng.integers(1, 91, images).astype(float)
    return pd.DataFrame(
        {
            "real_age": age,
            "finetune": age + rng.normal(0, 6, images),
            "slice:sex": rng.choice(["female", "male"], images),
            "slice:site": rng.choice(["a", "b", "c", ""], images),
            "slice:image brightness": rng.uniform(0.1, 0.9, images).round(2).astype(str),
            "slice:image size": "200",
            "slice:image colour": rng.choice(["colour", "greyscale"], images, p=[0.95, 0.05]),
        }
    )


def brightness(table: pd.DataFrame) -> pd.Series:
    return table["slice:image brightness"].astype(float)


def worse_by(table: pd.DataFrame, years: float, where: pd.Series) -> pd.DataFrame:
    """The table with larger errors of some images."""
    error = table["finetune"] - table["real_age"]
    return table.assign(finetune=table["finetune"] + np.sign(error) * np.where(where, years, 0.0))


def old_and_dark(table: pd.DataFrame) -> pd.Series:
    return (table["real_age"] >= 60) & (brightness(table) <= 0.3)


def test_a_planted_segment_is_found_and_named_with_about_its_edges():
    table = drawn(np.random.default_rng(1), 1500)
    planted = old_and_dark(table)
    (found,), of_image = weak_segments(worse_by(table, 4.0, planted), SAMPLES, seed=42)
    named = re.fullmatch(r"age (\d+) and more, image brightness up to (0\.\d+)", found.segment)
    assert named, found.segment
    assert float(named[1]) == pytest.approx(60, abs=4)
    assert float(named[2]) == pytest.approx(0.3, abs=0.05)
    assert found.mae - found.mae_elsewhere == pytest.approx(found.difference.value, abs=1e-3)
    assert 2 < found.difference.low < 4 < found.difference.high
    inside = (table["real_age"] >= float(named[1])) & (brightness(table) <= float(named[2]))
    assert of_image.tolist() == inside.astype(int).tolist()
    assert found.images == pytest.approx(inside.sum() / 2, abs=15)


def test_planted_segments_are_found_in_most_sets():
    rng, found = np.random.default_rng(2), 0
    for _ in range(SETS // 2):
        table = drawn(rng, 1500)
        segments, _ = weak_segments(worse_by(table, 4.0, old_and_dark(table)), SAMPLES, int(rng.integers(2**31)))
        found += any("age" in each.segment and "brightness" in each.segment for each in segments)
    assert found >= 45


def test_chance_is_no_weak_segment():
    rng = np.random.default_rng(3)
    listed = sum(bool(weak_segments(drawn(rng, 500), SAMPLES, int(rng.integers(2**31)))[0]) for _ in range(SETS))
    assert listed <= 5


def test_a_condition_that_says_nothing_is_left_out():
    """Where errors grow with age alone, the tree splits the old by something else too."""
    rng, other = np.random.default_rng(4), 0
    for _ in range(20):
        table = drawn(rng, 1500)
        grown = table["real_age"] + (table["finetune"] - table["real_age"]) * np.where(table["real_age"] > 50, 2, 1)
        segments, _ = weak_segments(table.assign(finetune=grown), SAMPLES, int(rng.integers(2**31)))
        assert segments
        assert all(each.segment.startswith("age 5") for each in segments)
        other += sum("," in each.segment for each in segments)
    assert other <= 1


@pytest.mark.parametrize(
    ("column", "value", "name"),
    [
        ("slice:sex", "male", "sex = male"),
        ("slice:site", "", "site = (not given)"),
        ("slice:image colour", "greyscale", "image colour = greyscale"),
    ],
)
def test_a_value_of_a_slice_is_named(column: str, value: str, name: str):
    table = drawn(np.random.default_rng(5), 3000)
    (found,), _ = weak_segments(worse_by(table, 5.0, table[column] == value), SAMPLES, seed=1)
    assert found.segment in {name, name.replace("= male", "other than female")}


def test_a_range_has_two_ends():
    table = drawn(np.random.default_rng(6), 3000)
    (found,), _ = weak_segments(worse_by(table, 6.0, table["real_age"].between(30, 45)), SAMPLES, seed=1)
    assert found.segment == "age 30 to 45"


def test_a_number_that_some_images_lack_is_cut_as_its_slices():
    table = drawn(np.random.default_rng(7), 2000)
    income = pd.Series(np.arange(2000) % 400).astype(str)
    table["slice:income"] = income.where(np.arange(2000) % 10 > 0, "")
    (found,), _ = weak_segments(worse_by(table, 5.0, table["slice:income"] == ""), SAMPLES, seed=1)
    assert found.segment == "income = (not given)"


@pytest.mark.parametrize(
    ("first", "days", "blank", "name"),
    [
        (20240114, 2, False, "day 20240115 and more"),  # the same as 20240116 in the tree, which is above its bound
        (20240101, 2, False, "day 20240102 and more"),
        (20240101, 8, False, "day 20240107 and more"),
        (900000000, 2, True, "day = 900000001"),
    ],
)
def test_dates_and_long_numbers_are_named_in_full(first: int, days: int, blank: bool, name: str):
    table = drawn(np.random.default_rng(12), 2000)
    day = first + np.arange(2000) % days
    table["slice:day"] = np.where(blank & (np.arange(2000) % 7 == 0), "", day.astype(str))
    worse = pd.Series(day >= first + max(days - 2, 1))
    (found,), _ = weak_segments(worse_by(table, 9.0, worse), SAMPLES, seed=1)
    assert found.segment == name


def test_numbers_beyond_those_of_the_tree_are_cut_as_slices():
    table = drawn(np.random.default_rng(13), 500)
    table["slice:code"] = np.where(np.arange(500) % 2, "1e39", "2e39")
    assert weak_segments(table, SAMPLES, seed=1)[0] == ()


def hard_people(rng: np.random.Generator, people: int, each: int) -> pd.DataFrame:
    """Test images of people who differ in how well they are predicted, and in how dark their images are."""
    table = drawn(rng, people * each).sort_values("slice:image brightness", ignore_index=True)
    of_image = np.repeat(rng.permutation(people), each)
    table["person"] = [f"person {number}" for number in of_image]
    return table.assign(finetune=table["finetune"] + rng.normal(0, 6, people)[of_image])


def test_a_few_people_who_are_predicted_badly_are_no_segment():
    rng, listed = np.random.default_rng(8), {True: 0, False: 0}
    for _ in range(25):
        table = hard_people(rng, 80, 15)
        for known, images in ((True, table), (False, table.drop(columns="person"))):
            listed[known] += bool(weak_segments(images, SAMPLES, int(rng.integers(2**31)))[0])
    assert listed[True] <= 2
    assert listed[False] > 5


def test_segments_of_few_people_are_not_judged():
    table = drawn(np.random.default_rng(8), 800)
    dark = brightness(table) <= 0.2
    table["person"] = np.where(dark, np.arange(800) % 8, np.arange(800)).astype(str)
    assert weak_segments(worse_by(table, 9.0, dark), SAMPLES, seed=1)[0] == ()


def test_few_test_images_are_not_searched():
    table = drawn(np.random.default_rng(9), ENOUGH_IMAGES - 1)
    segments, of_image = weak_segments(table, SAMPLES, seed=1)
    assert segments is None
    assert not of_image.any()


@pytest.mark.parametrize(
    ("people", "searched"), [(1, False), (2, False), (ENOUGH_PEOPLE - 1, False), (ENOUGH_PEOPLE, True)]
)
def test_test_images_of_few_people_are_not_searched(people: int, searched: bool):
    table = drawn(np.random.default_rng(14), 400).assign(person=(np.arange(400) % people).astype(str))
    segments, of_image = weak_segments(table, SAMPLES, seed=1)
    assert segments == (() if searched else None)
    assert not of_image.any()


def test_the_same_seed_gives_the_same_segments():
    table = drawn(np.random.default_rng(10), 1500)
    table = worse_by(table, 4.0, old_and_dark(table))
    assert weak_segments(table, SAMPLES, 5)[0] == weak_segments(table, SAMPLES, 5)[0]
