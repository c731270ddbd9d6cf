"""The gain of each idea in the recipe `strong`: added one after the other, validation MAE over seeds.

    python -m benchmarks.ablation --labels faces/labels.csv --count 2000

Writes `benchmarks/ablation.json` and `ablation.md`. The test images are not used.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import mean
from typing import Any

import pandas as pd

from age_tasks.environment import Locations
from age_tasks.evaluation.metrics import mae
from age_tasks.runs.run import open_run

HERE = Path(__file__).parent
STAGES = ("snapshot", "validate", "split", "baseline", "finetune")
# Half of strong's layers and less than half its learning rate, and a shorter EMA, since few images make few steps.
IDEAS = {
    "the recipe `reference`": ["model.backbone=efficientnet_lite0"],
    "a head trained to convergence": [
        *("baseline.epochs=30", "baseline.schedule=cosine", "baseline.early_stopping_patience=10"),
    ],
    "an age distribution of 101 classes, its expected value": ["model.head=expected_value", "model.dense_units=0"],
    "test-time augmentation (mirror)": ["augmentation.test_time_augmentation=true"],
    "all layers after the last 14 × 14 feature map trained, cosine schedule": [
        *("finetune.last_layers=46", "finetune.learning_rate=3e-4", "finetune.schedule=cosine"),
        *("finetune.epochs=8", "finetune.early_stopping_patience=8", "model.dropout=0.3"),
    ],
    "averaged weights (EMA)": ["finetune.ema_momentum=0.98"],
    "eight cached augmentations": ["augmentation.train_augmentations=8"],
}


def main() -> None:
    options = _options()
    options.work.mkdir(parents=True, exist_ok=True)
    env = os.environ | {
        "AGE_LABELS": str(options.work / "labels.csv"),
        "AGE_IMAGES": str(options.labels.absolute().parent / "images"),
        "AGE_STORE": str(options.work / "store"),
        "AGE_CACHE": str(options.work / "cache"),
    }
    pd.read_csv(options.labels).sample(options.count, random_state=1).to_csv(env["AGE_LABELS"], index=False)
    rows, settings = [], []
    for number, (idea, more) in enumerate(IDEAS.items()):
        settings += more
        errors = [_validation_mae(f"idea-{number}-{seed}", settings, seed, env) for seed in options.seeds]
        rows.append({"idea": idea, "settings": more, "validation_mae": errors})
        found = {"faces": options.count, "seeds": options.seeds, "ideas": rows}
        (HERE / "ablation.json").write_text(json.dumps(found, indent=2) + "\n")
        (HERE / "ablation.md").write_text(_page(found))
    print((HERE / "ablation.md").read_text())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.ablation", description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=Path, required=True, help="a labels.csv beside images/")
    parser.add_argument("--count", type=int, default=2000, help="images to use (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="*", default=[42, 43, 44], help="one training each")
    parser.add_argument("--work", type=Path, default=HERE / "work" / "ablation", help="scratch folder")
    return parser.parse_args()


def _validation_mae(key: str, settings: list[str], seed: int, env: dict[str, str]) -> float:
    """The fine-tuned model's MAE in years on the validation images; the run ends after fine-tuning."""
    given = [*settings, f"baseline.seed={seed}", f"finetune.seed={seed}", "gate.max_test_mae=100"]
    for stage in STAGES:
        words = [word for each in given for word in ("--set", each)] if stage == STAGES[0] else []
        command = [sys.executable, "-m", "age_tasks", stage, *words]
        subprocess.run(command, env=env | {"AGE_RUN": key}, check=True, stdout=subprocess.DEVNULL)
    with open_run(key, Locations.from_env(env)) as run:
        real = pd.read_csv(run.input("split", "val.csv"))
        ages = pd.read_csv(run.input("finetune", "val_predictions.csv")).merge(real, on="sha256", suffixes=("", "_"))
    return round(mae(ages["real_age"].to_numpy(), ages["age"].to_numpy()), 3)


def _page(found: dict[str, Any]) -> str:
    lines = ["# The gain of each idea in the recipe `strong`", ""]
    lines += [
        f"{found['faces']} images, seeds {', '.join(map(str, found['seeds']))}; each row adds to those above.",
        "",
    ]
    lines += ["| idea | validation MAE (years), mean | lowest to highest | gain |", "|---|---|---|---|"]
    before = None
    for row in found["ideas"]:
        errors = row["validation_mae"]
        gain = "" if before is None else f"{round(before - mean(errors), 2) or 0.0:+.2f}"  # no -0.00
        lines.append(f"| {row['idea']} | {mean(errors):.2f} | {min(errors):.2f} to {max(errors):.2f} | {gain} |")
        before = mean(errors)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
