"""The stage `snapshot`."""

from age_tasks.runs.run import Workspace
from tests.support.stages import table


def test_a_snapshot_holds_the_labels_file_and_a_row_for_each_of_its_lines(prepared: Workspace, sample):
    assert prepared.input("snapshot", "labels.csv").read_bytes() == sample.labels.read_bytes()
    assert len(table(prepared, "snapshot", "snapshot.csv")) == sample.rows
