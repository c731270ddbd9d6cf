"""What labelling in the order of `label-next` gains over labelling at random: test MAE after each batch of labels.

    python -m benchmarks.label_next --labels faces/labels.csv --work /tmp/label-next

Simulates a team: of the labelled images, some are labelled at first and the others pretend to be unlabelled. Each round
adds a batch, by the ranking of the model trained so far or at random, and trains again. The test images are always the
same. Both orders start from the same model. Writes `benchmarks/label_next.json` and `label_next.md`.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import mean

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
TESTED = 0.15  # of all images
VALIDATED = 0.15  # of the labelled ones
SETTINGS = ("model.backbone=efficientnet_lite0", "data.split_column=split", "gate.max_test_mae=100")
ORDERS = {"next": "by `label-next`", "random": "at random"}


def main() -> None:
    options = _options()
    images = options.labels.absolute().parent / "images"
    options.work.mkdir(parents=True, exist_ok=True)
    if not (options.work / "images").exists():
        (options.work / "images").symlink_to(images)
    table = pd.read_csv(options.labels)[["file_name", "real_age"]]
    table["file_name"] = "images/" + table["file_name"]
    rows = [row for seed in options.seeds for row in _curve(table, seed, options)]
    found = {"labels": len(table), "recipe": options.recipe, "settings": SETTINGS, "rows": rows}
    (HERE / "label_next.json").write_text(json.dumps(found, indent=2) + "\n")
    (HERE / "label_next.md").write_text(_page(rows))
    print(_page(rows))


def _curve(table: pd.DataFrame, seed: int, options: argparse.Namespace) -> list[dict[str, object]]:
    """The test MAE of one seed after each round, for both orders."""
    shuffled = table.sample(frac=1, random_state=seed).reset_index(drop=True)
    tested = table.sample(frac=TESTED, random_state=0)["file_name"]  # the same for all seeds
    test = shuffled[shuffled["file_name"].isin(tested)].assign(split="test")
    others = _with_splits(shuffled[~shuffled["file_name"].isin(tested)], seed)
    rows = []
    for order in ORDERS:
        labelled = others.head(options.start)
        for at in range(options.rounds + 1):
            name = f"{seed}-{order}-{at}" if at else f"{seed}-start"
            mae = _train(name, pd.concat([labelled, test]), seed, options)
            rows.append({"seed": seed, "order": order, "labels": len(labelled), "test_mae": mae})
            print(rows[-1], flush=True)
            if at < options.rounds:
                pool = others[~others["file_name"].isin(labelled["file_name"])]
                chosen = _ranking(name, pool, options) if order == "next" else pool["file_name"].tolist()
                labelled = pd.concat([labelled, pool[pool["file_name"].isin(chosen[: options.batch])]])
    return rows


def _with_splits(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Each image with the split it goes to once it is labelled, whichever order labels it."""
    drawn = np.random.default_rng(seed).random(len(table))
    return table.assign(split=np.where(drawn < VALIDATED, "val", "train"))


def _train(name: str, labels: pd.DataFrame, seed: int, options: argparse.Namespace) -> float:
    """Train on these labels in a store of their own, so that the model is the champion; its test MAE in years."""
    file = options.work / "labels" / f"{name}.csv"
    file.parent.mkdir(exist_ok=True)
    labels.to_csv(file, index=False)
    metrics = options.work / "stores" / name / "runs" / "run" / "evaluate" / "metrics.json"
    if not metrics.exists():
        changed = [*SETTINGS, f"baseline.seed={seed}", f"finetune.seed={seed}"]
        given = [word for each in changed for word in ("--set", each)]
        _command(name, options, file, "run", "--run", "run", "--recipe", options.recipe, *given)
    return float(json.loads(metrics.read_text())["finetune"]["mae"]["value"])


def _ranking(name: str, pool: pd.DataFrame, options: argparse.Namespace) -> list[str]:
    """The file names of the pool in the order of `label-next`."""
    unlabelled = options.work / "unlabelled.csv"
    pool[["file_name"]].to_csv(unlabelled, index=False)
    ranking = options.work / "stores" / name / "labels" / "next" / "ranking.json"
    _command(name, options, options.work / "labels" / f"{name}.csv", "label-next", AGE_UNLABELLED=str(unlabelled))
    return [row["file_name"] for row in json.loads(ranking.read_text())["ranked"]]


def _command(name: str, options: argparse.Namespace, labels: Path, *words: str, **variables: str) -> None:
    env = (
        os.environ
        | variables
        | {
            "AGE_LABELS": str(labels),
            "AGE_IMAGES": str(options.work),
            "AGE_STORE": str(options.work / "stores" / name),
            "AGE_CACHE": str(options.work / "cache"),
        }
    )
    log = options.work / "log.txt"
    with log.open("a") as output:
        subprocess.run(
            [sys.executable, "-m", "age_tasks", *words], env=env, check=True, stdout=output, stderr=subprocess.STDOUT
        )


def _page(rows: list[dict[str, object]]) -> str:
    """A table of the mean test MAE over seeds, with the value of each seed."""
    table = pd.DataFrame(rows)
    lines = ["| labels | " + " | ".join(ORDERS.values()) + " | difference |", "|---|---|---|---|"]
    for count, group in table.groupby("labels"):
        by_seed = group.pivot(index="seed", columns="order", values="test_mae")
        cells = [
            f"{mean(by_seed[order]):.2f} ({', '.join(f'{mae:.2f}' for mae in by_seed[order])})" for order in ORDERS
        ]
        lines.append(f"| {count:,} | {' | '.join(cells)} | {mean(by_seed['next'] - by_seed['random']):+.2f} |")
    return "\n".join(lines) + "\n"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path, required=True, help="labels.csv, with images/ beside it")
    parser.add_argument("--work", type=Path, required=True, help="a folder for the runs; what is there is used again")
    parser.add_argument("--recipe", default="reference")
    parser.add_argument("--start", type=int, default=1500, help="labels at first")
    parser.add_argument("--batch", type=int, default=500, help="labels that each round adds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    return parser.parse_args()


if __name__ == "__main__":
    main()
