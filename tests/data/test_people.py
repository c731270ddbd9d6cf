"""Who is in the images, and what a fixed split does with them."""

import pandas as pd

from age_tasks.data.people import fixed_split, people
from tests.support.tables import faces


def accepted(**columns: list[str]) -> pd.DataFrame:
    """Accepted rows of as many images as the columns are long."""
    count = len(next(iter(columns.values()))) if columns else 4
    table = faces(list(range(count)), {})
    return table.assign(line=range(2, count + 2), **columns)


def test_labels_without_such_columns_say_nothing_of_people():
    assert people(accepted()) is None
    assert fixed_split(accepted()) is None


def test_people_and_their_images_are_counted():
    found = people(accepted(person=["ann", "bob", "ann", "ann", ""]))
    assert (found.count, found.unknown, found.median, found.most) == (2, 1, 2.0, 3)
    assert found.conflicts.empty


def test_labels_that_name_nobody():
    found = people(accepted(person=["", ""]))
    assert (found.count, found.unknown, found.median, found.most) == (0, 2, 0.0, 0)


def test_one_image_with_two_people_is_a_conflict():
    table = accepted(person=["ann", "bob", "ann"])
    table.loc[1, "sha256"] = table.loc[0, "sha256"]
    assert people(table).conflicts.to_dict("records") == [
        {"line": 3, "file_name": "1.jpg", "person": "bob", "first_line": 2, "first_person": "ann"}
    ]


def test_rows_across_a_fixed_split_are_listed():
    table = accepted(person=["ann", "bob", "ann", ""], fixed_split=["train", "train", "test", "val"])
    found = fixed_split(table)
    assert found.rows == {"train": 2, "val": 1, "test": 1}
    assert found.left_out.to_dict("records") == [
        {"line": 2, "file_name": "0.jpg", "fixed_split": "train", "person": "ann"}
    ]
