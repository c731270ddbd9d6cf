import json
from pathlib import Path

import pytest

from age_tasks.demo.synthetic_faces import draw_sample
from benchmarks.accuracy import main, with_row

SMALL = ["model.image_size=32", "baseline.epochs=1", "finetune.epochs=1", "finetune.last_layers=1"]
ROW = {"recipe": "quick", "settings": [], "data": "faces", "seed": 42, "processor": "p", "test_mae": 6.5, "seconds": 9}


@pytest.mark.slow
def test_a_recipe_is_run_and_its_row_joins_those_of_others(tmp_path: Path):
    labels, out = draw_sample(tmp_path / "faces", 120, seed=1).labels, tmp_path / "accuracy.json"
    out.write_text(json.dumps({"rows": [ROW]}))
    words = [word for each in [*SMALL, "validate.min_rows=50"] for word in ("--set", each)]
    main(["--labels", str(labels), "--recipe", "demo", "--seeds", "7", "--out", str(out), *words])
    measured, other = json.loads(out.read_text())["rows"]
    assert other == ROW
    assert (measured["recipe"], measured["data"], measured["seed"]) == ("demo", "faces", 7)
    assert 0 < measured["test_mae"] < 100
    assert 0 < measured["val_mae"] < 100
    assert measured["seconds"] > 0


@pytest.mark.slow
def test_a_run_of_two_seeds_gives_a_row_for_each_and_one_for_their_average(tmp_path: Path):
    labels, out = draw_sample(tmp_path / "faces", 120, seed=1).labels, tmp_path / "accuracy.json"
    several = ["finetune.seeds=2", "finetune.combine=average"]
    words = [word for each in [*SMALL, "validate.min_rows=50", *several] for word in ("--set", each)]
    main(["--labels", str(labels), "--recipe", "demo", "--seeds", "7", "--out", str(out), *words])
    rows = json.loads(out.read_text())["rows"]
    average = [row for row in rows if set(several) <= set(row["settings"])]
    single = [row for row in rows if row not in average]
    assert [row["seed"] for row in average] == [7]
    assert sorted(row["seed"] for row in single) == [7, 8]
    assert all("finetune.seeds=1" in row["settings"] for row in single)
    assert all(0 < row["seconds"] < average[0]["seconds"] for row in single)


@pytest.mark.parametrize(
    ("change", "rows"),
    [({}, 1), ({"seed": 43}, 2), ({"processor": "q"}, 2), ({"settings": ["finetune.epochs=3"]}, 2)],
)
def test_only_the_same_measurement_is_replaced(change: dict[str, object], rows: int):
    again = ROW | change | {"test_mae": 6.1}
    found = with_row([ROW], again)
    assert again in found
    assert len(found) == rows
