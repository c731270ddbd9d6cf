import json
from pathlib import Path

import pytest

from age_tasks.cli.app import main
from age_tasks.reports.label_audit import audit_file
from tests.support.settings import SHARED

PUBLISHED = SHARED / "appa_real_labels.csv"


def test_the_audit_counts_missing_ages_and_duplicates(tmp_path: Path):
    (tmp_path / "labels.csv").write_text("file_name,real_age\na.jpg,10\na.jpg,30\nb.jpg,old\nc.jpg,20\n")
    assert main(["labels", "audit", "--labels", str(tmp_path / "labels.csv"), "--out", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert (found["count"], found["without_age"], found["duplicate_names"]) == (4, 1, 1)
    assert (found["min"], found["mean"], found["max"]) == (10, 20, 30)
    assert found["histogram"] == {"0-10": 1, "10-20": 1, "20-30": 1}
    assert (tmp_path / "out" / "ages.png").stat().st_size > 5000


@pytest.mark.skipif(not PUBLISHED.exists(), reason=f"the published labels are not at {PUBLISHED}")
def test_the_published_statistics_are_reproduced(tmp_path: Path):
    found = audit_file(str(PUBLISHED), tmp_path)
    assert (found["count"], found["min"], found["max"]) == (7591, 1, 100)
    assert (found["mean"], found["std"], found["quartiles"]) == (31.2012, 17.1451, [20, 29, 41])
    assert found["duplicate_names"] == 0
