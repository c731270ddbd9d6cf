import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd

from age_tasks.reports.predictions import as_json, as_text, write_table
from age_tasks.store.base import Store
from age_tasks.store.files import FileStore

TABLE = pd.DataFrame(
    {
        "file": ["a.jpg", "b.jpg", "c.jpg"],
        "age": [30.46, 8.0, np.nan],
        "low": [22.4, 3.0, np.nan],
        "high": [38.6, 13.0, np.nan],
        "warning": ["", "blurred", ""],
        "problem": ["", "", "no such file"],
    }
)


def test_the_text_has_age_interval_warning_and_problem():
    assert as_text("v3", TABLE).splitlines()[:3] == [
        "a.jpg: 30.5 years, 90 % interval 22 to 39",
        "b.jpg: 8.0 years, 90 % interval 3 to 13   (blurred)",
        "c.jpg: no such file",
    ]
    assert "Model v3." in as_text("v3", TABLE).splitlines()[3]


def test_the_json_has_null_for_an_age_that_is_missing():
    found = json.loads(as_json("v3", TABLE))
    assert found["version"] == "v3"
    assert [row["age"] for row in found["images"]] == [30.46, 8.0, None]


def test_the_table_can_be_written_to_a_store(store: Store):
    write_table(pd.DataFrame({"file": ["a.jpg"], "age": [30.5]}), store, "new/ages.csv")
    assert store.get("new/ages.csv") == b'"file","age"\n"a.jpg",30.5\n'


def test_names_that_are_not_utf_8_or_no_single_line_are_shown_escaped(tmp_path: Path):
    table = TABLE.assign(file=["a\udcff.jpg", "b\n\x1b[31m.jpg", "é\u200c.jpg"])
    assert as_text("v3", table).splitlines()[0].startswith(r"a\udcff.jpg: 30.5 years")
    assert as_text("v3", table).splitlines()[1].startswith(r"b\n\x1b[31m.jpg: 8.0 years")
    assert json.loads(as_json("v3", table))["images"][0]["file"] == r"a\udcff.jpg"
    write_table(table, FileStore(tmp_path), "ages.csv")
    with (tmp_path / "ages.csv").open(newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == [r"a\udcff.jpg", "b\n\x1b[31m.jpg", "é\u200c.jpg"]
