"""The same labels and settings give the rows and splits that they gave when these digests were recorded.

A digest may change only in a release that means to assign images differently: it would move images between a team's
training and test sets.
"""

import hashlib
from pathlib import Path

import pandas as pd
import pytest

from age_tasks.cli.app import main
from age_tasks.config import SplitSettings
from age_tasks.data.splits import assign, extend_assignments, no_assignments
from age_tasks.environment import Locations
from age_tasks.runs.run import open_run
from tests.support.settings import overrides
from tests.support.tables import faces

# Of these columns only: the bytes of drawn images, and so their sha256, depend on the build of the JPEG encoder.
COLUMNS = ["line", "file_name", "real_age", "age_text"]
DRAWN_SAMPLE = {
    ("validate", "accepted.csv"): "7a214c78688bf1750a2f1254ca62bd5a3f493860532f8334a144e068cfc9da0b",
    ("validate", "quarantine.csv"): "7f154c4ff965c999c040bae0a1d3ef1819dc2e7a6a0e7b4bea7c9662817b3646",
    ("split", "train.csv"): "ff5ea5df36f6bc55ff2ad46d6c2f2bfef0b20615b508216f0b33d46b82a14e94",
    ("split", "val.csv"): "c78e83656d66d2b09e7bc267d1d750fec1cf7995ec5e73ba9c117e9e30d005eb",
    ("split", "test.csv"): "018af9c0656937218e2acc4fd077b5f138d49ed96775e1003000cc9d3c8d7dca",
    ("split", "left_out.csv"): "f5254f16112a8138c930068301b2348c1a834162850ae5598bdc0c41a301a54c",
}
GROWN_LABELS = {
    "quantile": (
        "9c4702c43f9ff1b20df59eb80ca109eeebf3bb371d24cb8e9515567944296364",
        "9f697c539c2fac5b028ea9325658703b0c6e18a3f561028d30966f4d4fa9316b",
        "a8b77bba01d062337de9e93f5460c0b1a4735a26ceb2cb31a52e9339de4db509",
    ),
    "equal_width": (
        "d049972e84e46bf01395260e407cabd8283e77a1deb8e5fc2d1e0c4872ac63d5",
        "c79a8224cfff56483294184416d54dd863b1ace0b54f70bc56874a7855530b67",
        "1686e441ab7354fdb8a0329378e9ade93a7bf4f07d19e7a932865f91cfaa4558",
    ),
}


def test_the_drawn_sample_keeps_its_rows_and_splits(place: Path):
    settings = overrides({"validate.max_quarantine_fraction": 0.2})
    assert main(["snapshot", "--run", "golden", "--recipe", "demo", *settings]) == 0
    assert main(["validate", "--run", "golden"]) == 0
    assert main(["split", "--run", "golden"]) == 0
    with open_run("golden", Locations.from_env()) as run:
        found = {output: digest_of_rows(run.input(*output)) for output in DRAWN_SAMPLE}
    assert found == DRAWN_SAMPLE


@pytest.mark.parametrize("bins", GROWN_LABELS)
def test_labels_that_grew_keep_their_assignments(bins: str):
    settings = SplitSettings(bins=bins)
    labels = faces([*range(400), *range(1000, 1040), *range(2500, 2560)], {}).head(430)
    first = assign(labels, no_assignments(), settings)
    assignments = extend_assignments(labels, first, no_assignments())
    grown = faces([*range(30, 400), *range(1000, 1040), *range(2500, 2560), *range(3600, 3700)], {5: 70.0, 80: 2.0})
    second = assign(grown, assignments, settings)
    extended = extend_assignments(grown, second, assignments)
    found = (",".join(first), ",".join(second), extended.to_csv(index=False))
    assert tuple(digest(text) for text in found) == GROWN_LABELS[bins]


def digest_of_rows(path: Path) -> str:
    table = pd.read_csv(path, dtype="str", keep_default_na=False)
    return digest(table[[column for column in COLUMNS if column in table]].to_csv(index=False, lineterminator="\n"))


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
