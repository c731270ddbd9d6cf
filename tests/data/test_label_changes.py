import pandas as pd

from age_tasks.data.label_changes import label_changes, named_copies


def labels(**ages: str) -> pd.DataFrame:
    """A row for each name, from line 2."""
    texts = pd.Series(list(ages.values()), dtype="str")
    return pd.DataFrame(
        {
            "line": range(2, 2 + len(ages)),
            "file_name": list(ages),
            "age_text": texts,
            "real_age": pd.to_numeric(texts, errors="coerce"),
            "sha256": [f"content of {name}" for name in ages],
        }
    )


def test_what_was_added_removed_corrected_quarantined_and_resolved():
    before = labels(kept="30", gone="40", fixed="12,5", wrong="50", restyled="38")
    now = labels(kept="30", fixed="12.5", wrong="51", restyled="38.0", new="20", broken="x")
    quarantine = now[now["file_name"] == "broken"].assign(reason="no number")
    quarantine_before = before[before["file_name"] == "fixed"]
    found = label_changes(now, quarantine, before, quarantine_before, "monday")
    assert (found.previous_run, found.added, found.removed) == ("monday", 2, 1)
    assert found.corrected.to_numpy().tolist() == [[3, "fixed", "12,5", "12.5"], [4, "wrong", "50", "51"]]
    assert found.quarantined[["file_name", "reason"]].to_numpy().tolist() == [["broken", "no number"]]
    assert found.resolved.to_numpy().tolist() == [[3, "fixed", "12.5"]]


def test_the_same_labels_have_no_changes():
    now = labels(a="30", b="x", c="y")
    now.loc[2, "file_name"] = None
    quarantine = now[now["file_name"] != "a"].assign(reason="no number")
    found = label_changes(now, quarantine, now, quarantine, "monday")
    assert (found.added, found.removed) == (0, 0)
    assert found.corrected.empty
    assert found.quarantined.empty
    assert found.resolved.empty


def test_replaced_images_and_changed_columns_are_named():
    before, now = labels(a="30", b="31", c="32"), labels(a="30", b="31", c="33")
    now.loc[0, "sha256"] = "another"
    now.loc[1, "sha256"] = ""  # could not be read: its own fault says so
    headers = (("file_name", "real_age", "camera"), ("file_name", "real_age", "who"))
    found = label_changes(now, now.head(0), before, before.head(0), "monday", headers)
    assert found.replaced.to_numpy().tolist() == [[2, "a", "30"]]
    assert found.columns == ("+who", "-camera")
    assert found.counts == {"added": 0, "removed": 0, "relabelled": 1, "replaced": 1}


def test_other_values_in_further_columns_are_counted():
    before = labels(a="30", b="31").assign(person=["ann", "bob"], **{"slice:sex": ["f", "m"], "slice:site": ["x", "y"]})
    now = labels(a="30", b="31", c="32").assign(person=["ann", "eve", "eve"], **{"slice:sex": ["f", "f", "m"]})
    found = label_changes(now, now.head(0), before, before.head(0), "monday")
    assert found.values == {"person": 1, "sex": 1}


def test_copies_under_another_name_are_named():
    accepted = labels(a="30", b="30", c="40", d="30").assign(sha256=["x", "x", "y", "x"])
    copies = named_copies(accepted)
    assert copies[["file_name", "line", "first_file_name", "first_line"]].to_numpy().tolist() == [
        ["b", 3, "a", 2],
        ["d", 5, "a", 2],
    ]
