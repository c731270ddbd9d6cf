"""Test MAE and time of recipes: each in a process of its own, from an empty store and cache, one run a seed.

    python -m benchmarks.accuracy --labels faces/labels.csv --recipe reference --recipe strong --seeds 42 43 44

Adds its rows to `benchmarks/accuracy.json`; a row of the same recipe, settings, data, seed and processor is replaced.
The seed is that of the trainings; the splits stay the same. Whoever chooses between settings chooses by `val_mae`.

A run of several seeds (`finetune.seeds`) adds a row for each of them too, with the setting `finetune.seeds=1`; its
seconds are those of the run without the epochs of the other seeds.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from age_tasks.runs.provenance import machine

HERE = Path(__file__).parent
SEVERAL, ONE = ("finetune.seeds=", "finetune.combine="), "finetune.seeds=1"
NAMES = ("recipe", "settings", "data", "seed", "processor")  # what tells a row from the others
Row = dict[str, Any]  # NAMES, `test_mae` and `val_mae` in years, `seconds` of the whole run


def main(words: Sequence[str] | None = None) -> None:
    options = _options(words)
    data = options.data or options.labels.absolute().parent.name
    for recipe in options.recipe:
        for seed in options.seeds:
            named = {"recipe": recipe, "settings": options.set, "data": data, "processor": machine()}
            for found in measured(recipe, options.labels.absolute(), seed, options.set):
                row = named | found
                print(json.dumps(row), flush=True)
                known = json.loads(options.out.read_text())["rows"] if options.out.exists() else []
                options.out.write_text(json.dumps({"rows": with_row(known, row)}, indent=2) + "\n")


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.accuracy", description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=Path, required=True, help="a labels.csv beside images/")
    parser.add_argument("--data", help="name of the data (default: that of the labels' folder)")
    parser.add_argument("--recipe", action="append", required=True, help="may be repeated")
    parser.add_argument("--seeds", type=int, nargs="*", default=[42, 43, 44], help="one run each")
    parser.add_argument("--set", action="append", default=[], metavar="SETTING=VALUE", help="replace a setting")
    parser.add_argument("--out", type=Path, default=HERE / "accuracy.json", help="(default: %(default)s)")
    return parser.parse_args(words)


def measured(recipe: str, labels: Path, seed: int, settings: Sequence[str]) -> list[Row]:
    """The fine-tuned model's `test_mae` and `val_mae` in years, and `seconds` of a first run, all stages.

    Of a run of several seeds first those of each seed, with the setting `ONE` in place of `SEVERAL`.
    """
    seeded = [f"baseline.seed={seed}", f"finetune.seed={seed}", "gate.max_test_mae=100"]
    with TemporaryDirectory() as work:
        env = os.environ | {
            "AGE_LABELS": str(labels),
            "AGE_IMAGES": str(labels.parent / "images"),
            "AGE_STORE": f"{work}/store",
            "AGE_CACHE": f"{work}/cache",
        }
        command = [sys.executable, "-m", "age_tasks", "run", "--run", "run", "--recipe", recipe]
        given = [word for each in [*settings, *seeded] for word in ("--set", each)]
        start = time.perf_counter()
        subprocess.run([*command, *given], env=env, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
        folder = Path(work, "store/runs/run/finetune")
        metrics = json.loads((folder / "finetune_test_metrics.json").read_text())
        epochs = pd.read_csv(folder / "seed_histories.csv") if "each_seed" in metrics else None
    whole = {"seed": seed, **_errors(metrics), "seconds": round(seconds, 1)}
    if epochs is None:
        return [whole]
    single = {"settings": [*(each for each in settings if not each.startswith(SEVERAL)), ONE]}
    of_others = epochs["seconds"].sum() - epochs.groupby("seed")["seconds"].sum()
    each_seed = [
        single | {"seed": each["seed"], **_errors(each), "seconds": round(seconds - of_others[each["seed"]], 1)}
        for each in metrics["each_seed"]
    ]
    return [*each_seed, whole]


def _errors(metrics: Mapping[str, Any]) -> Row:
    return {name: metrics[name] for name in ("test_mae", "val_mae")}


def with_row(known: Sequence[Row], row: Row) -> list[Row]:
    """The rows with one more, which replaces the one of the same `NAMES`."""
    others = [each for each in known if any(each[name] != row[name] for name in NAMES)]
    return sorted([*others, row], key=lambda each: [str(each[name]) for name in NAMES])


if __name__ == "__main__":
    main()
