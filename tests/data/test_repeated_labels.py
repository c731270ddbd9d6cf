"""An image that several raters have labelled."""

import pandas as pd
import pytest

from age_tasks.data.repeated_labels import one_row_an_image, repeated
from age_tasks.data.validation import with_derived_columns


def rows(*labels: tuple[str, float]) -> pd.DataFrame:
    """Rows of a snapshot as (file name, age); a name is an image of its own."""
    table = pd.DataFrame(labels, columns=["file_name", "real_age"])
    text = table["real_age"].map("{:g}".format)
    return table.assign(
        line=range(2, len(table) + 2), age_text=text, state="ok", sha256=table["file_name"], width=64, height=64
    )


LABELS = (("a.jpg", 20.0), ("b.jpg", 50.0), ("a.jpg", 26.0), ("a.jpg", 50.0))


@pytest.mark.parametrize(("how", "age"), [("median", 26.0), ("mean", 32.0)])
def test_an_image_has_one_row_with_one_age_and_its_spread(how: str, age: float):
    merged = one_row_an_image(rows(*LABELS), how)
    assert merged[["line", "file_name", "real_age", "age_spread", "raters"]].to_dict("records") == [
        {"line": 2, "file_name": "a.jpg", "real_age": age, "age_spread": 12.96, "raters": 3},
        {"line": 3, "file_name": "b.jpg", "real_age": 50.0, "age_spread": 0.0, "raters": 1},
    ]


def test_the_more_raters_differ_the_less_an_image_counts():
    labels = (
        *LABELS,
        ("c.jpg", 30.0),
        ("c.jpg", 40.0),
        ("d.jpg", 30.0),
        ("d.jpg", 40.0),
        ("d.jpg", 30.0),
        ("d.jpg", 40.0),
    )
    merged = one_row_an_image(rows(*labels), "mean", weigh=True).set_index("file_name")["weight"]
    assert merged["b.jpg"] == 1
    assert merged["c.jpg"] == pytest.approx(2 / 3, abs=1e-4)
    assert merged["a.jpg"] < merged["c.jpg"] < merged["d.jpg"] < 1  # four raters are surer of the mean than two
    assert "weight" not in one_row_an_image(rows(*labels), "mean")


def test_with_quarantine_nothing_changes():
    table = rows(*LABELS)
    assert one_row_an_image(table, "quarantine") is table
    assert repeated(table, 10) is None


def test_the_most_disputed_come_first():
    merged = one_row_an_image(rows(*LABELS, ("c.jpg", 10.0), ("c.jpg", 11.0)), "median")
    found = repeated(merged, 1)
    assert (found.images, found.median_spread) == (2, pytest.approx(6.73))
    assert found.widest["file_name"].tolist() == ["a.jpg"]


def test_repetitions_are_a_fault_only_where_they_go_into_quarantine():
    table = rows(*LABELS)
    assert with_derived_columns(table)["ages_of_name"].tolist() == [3, 1, 3, 3]
    derived = with_derived_columns(table, "median")
    assert derived["ages_of_name"].tolist() == [1, 1, 1, 1]
    assert derived["listed"].tolist() == [1, 1, 1, 1]


def test_copies_whose_raters_agree_in_the_end_are_no_fault():
    table = rows(("a.jpg", 20.0), ("a.jpg", 30.0), ("b.jpg", 25.0), ("c.jpg", 40.0))
    table["sha256"] = ["one", "one", "one", "two"]
    assert with_derived_columns(table, "mean")["ages_of_content"].tolist() == [1, 1, 1, 1]
    table.loc[2, "real_age"] = 60.0
    assert with_derived_columns(table, "mean")["ages_of_content"].tolist() == [2, 2, 2, 1]


def test_an_impossible_age_counts_for_nothing():
    table = rows(("a.jpg", 20.0), ("a.jpg", 999.0))
    assert with_derived_columns(table, "mean")["ages_of_name"].iloc[0] == 1


def test_weights_are_averaged():
    table = rows(("a.jpg", 20.0), ("a.jpg", 30.0)).assign(weight=[1.0, 3.0])
    assert one_row_an_image(table, "mean")["weight"].tolist() == [2.0]


def test_only_ages_of_several_raters_are_rounded():
    table = rows(("a.jpg", 34.523), ("b.jpg", 20.0), ("b.jpg", 20.005), ("b.jpg", 20.006))
    assert one_row_an_image(table, "mean")["real_age"].tolist() == [34.523, 20.0]
    assert one_row_an_image(table, "median")["real_age"].tolist() == [34.523, 20.0]
