"""The other implementations that `benchmarks.bench` compares with, on 24 drawn faces of 64 pixels."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from age_tasks.config import load_recipe, parse_overrides
from age_tasks.demo.synthetic_faces import draw_sample

pytestmark = pytest.mark.slow

SMALL = [
    *("model.backbone=efficientnet_lite0", "model.image_size=64", "baseline.batch_size=8", "finetune.batch_size=8"),
    *("baseline.epochs=3", "finetune.epochs=2"),
]


@pytest.mark.parametrize("peer", ["plain_keras", "bottleneck_keras", "plain_torch"])
def test_a_peer_trains_twice_and_says_how_far_it_was_when(peer: str, tmp_path: Path):
    if peer == "plain_torch" and not importlib.util.find_spec("torch"):
        pytest.skip("PyTorch is not installed: pip install -e .[peers]")
    result = trained_by(peer, tmp_path)
    assert len(result["epochs"]) == 5
    seconds = [epoch["seconds"] for epoch in result["epochs"]]
    assert seconds == sorted(seconds)
    assert result["epochs"][2]["val_mae"] < result["epochs"][0]["val_mae"]  # the head learns that people are no 0 years
    assert 0 < result["test_mae"] < 100


def trained_by(peer: str, folder: Path) -> dict[str, Any]:
    sample = draw_sample(folder / "faces", 24, seed=1)
    table = pd.read_csv(sample.labels)
    for split, rows in {"train": table[:16], "val": table[16:20], "test": table[20:]}.items():
        rows.to_csv(folder / f"{split}.csv", index=False)
    config = load_recipe("reference").with_overrides(parse_overrides(SMALL))
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    arguments = ["--splits", ".", "--images", str(sample.images), "--config", "config.json", "--out", "result.json"]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-m", f"benchmarks.peers.{peer}", *arguments], cwd=folder, env=env, check=True)
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result
