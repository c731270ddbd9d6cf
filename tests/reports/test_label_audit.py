import json
from pathlib import Path

import pytest

from age_tasks.errors import LabelsError
from age_tasks.reports.label_audit import audit_file


def test_an_audit_of_a_file_is_written_with_a_histogram(tmp_path: Path):
    (tmp_path / "labels.csv").write_text("file_name,real_age\na.jpg,10\na.jpg,30\nb.jpg,old\nc.jpg,20\n")
    found = audit_file(str(tmp_path / "labels.csv"), tmp_path / "out")
    assert json.loads((tmp_path / "out" / "audit.json").read_text()) == found
    assert (found["count"], found["without_age"], found["duplicate_names"]) == (4, 1, 1)
    assert (tmp_path / "out" / "ages.png").stat().st_size > 5000


def test_labels_without_any_age_have_no_histogram(tmp_path: Path):
    (tmp_path / "labels.csv").write_text("file_name,real_age\na.jpg,old\n")
    assert audit_file(str(tmp_path / "labels.csv"), tmp_path / "out")["mean"] is None
    assert not (tmp_path / "out" / "ages.png").exists()


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(LabelsError, match=r"labels\.csv"):
        audit_file(str(tmp_path / "labels.csv"), tmp_path / "out")
