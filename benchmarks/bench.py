"""This project compared with the usual implementation of the same recipe: seconds, memory, error, cost of a re-run.

    python -m benchmarks.bench --labels faces/labels.csv --count 1000 --backbone efficientnet_lite0

Writes `benchmarks/results.json`, `results.md` and `results.png`. Quote the ratios: both sides ran in turn on one
machine. With several seeds they are medians, so that one stall of the machine has no effect.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean, median
from typing import Any

import pandas as pd

from age_tasks.config import load_recipe, parse_overrides
from age_tasks.demo.synthetic_faces import draw_sample
from age_tasks.environment import Locations
from age_tasks.runs.listing import newest_run
from age_tasks.runs.provenance import machine
from age_tasks.runs.records import StageRecord
from age_tasks.runs.run import Workspace, open_run
from age_tasks.store import open_store
from benchmarks.report import write_report

HERE = Path(__file__).parent
NEW_SHARE = 0.05
RANDOM = "random: valid for timing, not for accuracy"
RATED = 128  # images that a rate is measured on
BACKBONES = ("efficientnet_lite0", "resnet50")
USUAL = "plain_keras"
PEERS = {"efficientnet_lite0": ("bottleneck_keras", "plain_torch"), "resnet50": ("bottleneck_keras",)}

Measured = dict[str, Any]  # of one run: seconds, test_mae, peak_memory_gb, stages, epochs


def main() -> None:
    options = _options()
    work = options.work.absolute()
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    labels, images = _faces(options, work)
    measured = {"machine": f"{machine()}, no GPU used", "command": _command(options)}
    for backbone in options.backbone or BACKBONES:
        settings = [f"model.backbone={backbone}", *options.set]
        weights = _weights(work, images, settings)
        bench = Bench(backbone, work / backbone, images, [*settings, f"model.weights={weights}"])
        _keep(backbone, measured | {"weights": _kind(weights)} | bench.measure(labels, options))
    print((HERE / "results.md").read_text())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=Path, help="a labels.csv beside images/ (default: synthetic faces)")
    parser.add_argument("--count", type=int, default=1000, help="images to use (default: %(default)s)")
    parser.add_argument("--backbone", action="append", help=f"may be repeated (default: {', '.join(BACKBONES)})")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds for both sides (default: 1)")
    parser.add_argument(
        "--shares", type=float, nargs="*", default=[], help="also with these fractions of --count, such as 0.25 0.5"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="SETTING=VALUE", help="replace a setting of the recipe reference"
    )
    parser.add_argument(
        "--peers", action="store_true", help="also against PyTorch and bottleneck features; needs the extra `peers`"
    )
    parser.add_argument("--work", type=Path, default=HERE / "work", help="scratch folder (default: %(default)s)")
    return parser.parse_args()


class Bench:
    """All measurements of one backbone, in one folder."""

    def __init__(self, backbone: str, work: Path, images: Path, overrides: list[str]) -> None:
        self._backbone, self._work, self._images, self._overrides = backbone, work, images, overrides

    def measure(self, labels: pd.DataFrame, options: argparse.Namespace) -> dict[str, Any]:
        table = labels.head(options.count)
        growth = {count: self._growth(f"of {count}", labels.head(count)) for count in _counts(options)}
        plain, ours, incremental = growth[options.count]
        unchanged = self._ours(self._grown(options.count), table, 42)
        warm = self._ours(f"warm of {options.count}", table, 42, ["finetune.start_from=champion", "finetune.epochs=3"])
        quick = self._ours("quick", table, 42, recipe="quick")
        self._ours("quick of a week before", _week_before(table), 42, recipe="quick")
        weekly = self._ours("quick of a week before", table, 42, ["finetune.start_from=champion"], recipe="quick")
        pairs = [(plain, ours), *(self._side_by_side(f"seed {seed}", table, seed) for seed in _more_seeds(options))]
        plain_mae, our_mae = ([round(each["test_mae"], 3) for each in side] for side in zip(*pairs, strict=True))
        seconds = {name: [pair[side]["seconds"] for pair in pairs] for side, name in enumerate(("plain", "ours"))}
        plain_seconds = median(seconds["plain"])
        peers = {peer: self._peer(peer, f"of {options.count}", 42) for peer in _peers(options, self._backbone)}
        return {
            "images": options.count,
            "first_run_ratio": round(median(plain["seconds"] / ours["seconds"] for plain, ours in pairs), 2),
            "incremental_ratio": round(plain_seconds / incremental["seconds"], 2),
            "warm_start_ratio": round(plain_seconds / warm["seconds"], 2),
            "seconds_by_seed": seconds,
            "unchanged_seconds": unchanged["seconds"],
            "mae_plain": round(mean(plain_mae), 3),
            "mae_ours": round(mean(our_mae), 3),
            "mae_by_seed": {"plain": plain_mae, "ours": our_mae},
            "mae_incremental": round(incremental["test_mae"], 3),
            "mae_warm_start": round(warm["test_mae"], 3),
            "time_to_equal_mae_ratio": _time_to_equal(plain, quick),
            "weekly_time_to_equal_mae_ratio": _time_to_equal(plain, weekly),
            "mae_weekly": round(weekly["test_mae"], 3),
            "peak_memory_gb": ours["peak_memory_gb"],
            "peak_memory_gb_plain": plain["peak_memory_gb"],
            "stages": ours["stages"],
            "growth": {
                count: {
                    **{
                        name: side["seconds"]
                        for name, side in zip(("plain", "ours", "incremental"), sides, strict=True)
                    },
                    "peak_memory_gb": sides[1]["peak_memory_gb"],
                }
                for count, sides in growth.items()
            },
            "epochs_plain": plain["epochs"],
            "epochs_ours": ours["epochs"],
            "epochs_quick": quick["epochs"],
            "quick": "recipe quick",
            "peers": {
                peer: measured
                | {
                    "first_run_ratio": round(measured["seconds"] / ours["seconds"], 2),
                    "incremental_ratio": round(measured["seconds"] / incremental["seconds"], 2),
                    "warm_start_ratio": round(measured["seconds"] / warm["seconds"], 2),
                    "time_to_equal_mae_ratio": _time_to_equal(measured, quick),
                    "weekly_time_to_equal_mae_ratio": _time_to_equal(measured, weekly),
                }
                for peer, measured in peers.items()
            },
            "rates": self._rates(table),
        }

    def _growth(self, name: str, table: pd.DataFrame) -> tuple[Measured, Measured, Measured]:
        """The usual implementation; ours with an empty cache; ours after a run on all but the newest 5 % of labels."""
        plain, ours = self._side_by_side(name, table, 42)
        grown = self._grown(len(table))
        self._ours(grown, _week_before(table), 42)
        shutil.copytree(self._work / grown, self._work / f"warm of {len(table)}")
        return plain, ours, self._ours(grown, table, 42)

    @staticmethod
    def _grown(count: int) -> str:
        return f"grown to {count}"

    def _side_by_side(self, name: str, table: pd.DataFrame, seed: int) -> tuple[Measured, Measured]:
        ours = self._ours(name, table, seed)
        return self._peer(USUAL, name, seed), ours

    def _ours(
        self, name: str, table: pd.DataFrame, seed: int, more: list[str] | None = None, recipe: str = "reference"
    ) -> dict[str, Any]:
        """A complete run on `table`, with the store and cache `name`, which an earlier run may have filled."""
        place = self._work / name
        place.mkdir(parents=True, exist_ok=True)
        table.to_csv(place / "labels.csv", index=False)
        env = os.environ | {
            "AGE_LABELS": str(place / "labels.csv"),
            "AGE_IMAGES": str(self._images),
            "AGE_STORE": str(place / "store"),
            "AGE_CACHE": str(place / "cache"),
        }
        settings = [*self._overrides, *_seeded(seed), "gate.max_test_mae=100", *(more or [])]
        command = [sys.executable, "-m", "age_tasks", "run", "--recipe", recipe]
        _say(f"ours: {name}, {len(table)} images")
        start = time.perf_counter()
        subprocess.run([*command, *(word for each in settings for word in ("--set", each))], env=env, check=True)
        return {"seconds": round(time.perf_counter() - start, 1)} | _of_newest_run(Locations.from_env(env))

    def _rates(self, table: pd.DataFrame) -> dict[str, Any]:
        config = load_recipe("reference").with_overrides(parse_overrides(self._overrides))
        place = self._work / "rates"
        place.mkdir(parents=True)
        (place / "config.json").write_text(json.dumps(config.to_dict()))
        table.head(RATED).to_csv(place / "labels.csv", index=False)
        command = [sys.executable, "-m", "benchmarks.rates", str(place), str(self._images)]
        _say(f"rates of {config.model.backbone}")
        done = subprocess.run(
            command, env=os.environ | {"PYTHONPATH": str(HERE.parent)}, check=True, stdout=subprocess.PIPE
        )
        rates: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return rates

    def _peer(self, peer: str, name: str, seed: int) -> Measured:
        """The training of a peer on the splits of our run `name`."""
        place = self._work / name
        config = load_recipe("reference").with_overrides(parse_overrides([*self._overrides, *_seeded(seed)]))
        (place / "config.json").write_text(json.dumps(config.to_dict()))
        store = Locations.from_env({"AGE_STORE": str(place / "store")}).store
        splits = place / "store" / "runs" / (newest_run(open_store(store), ["split"]) or "") / "split"
        _say(f"{peer}: {name}")
        arguments = ["--splits", splits, "--images", self._images, "--config", "config.json", "--out", f"{peer}.json"]
        command = [sys.executable, "-m", f"benchmarks.peers.{peer}", *map(str, arguments)]
        start, env = time.perf_counter(), os.environ | {"PYTHONPATH": str(HERE.parent)}
        subprocess.run(command, cwd=place, env=env, check=True, stdout=subprocess.DEVNULL)
        measured: Measured = json.loads((place / f"{peer}.json").read_text())
        return measured | {"seconds": round(time.perf_counter() - start, 1)}


def _week_before(table: pd.DataFrame) -> pd.DataFrame:
    """The labels without the newest ones, which are 5 % as many."""
    return table.head(round(len(table) / (1 + NEW_SHARE)))


def _weights(work: Path, images: Path, settings: list[str]) -> str:
    """The weights that the settings name, or a file of random ones if the ImageNet weights can't be downloaded."""
    model = load_recipe("reference").with_overrides(parse_overrides(settings)).model
    load = (
        "import sys; from age_tasks.training.network import build_model; from age_tasks.config import ModelSettings; "
    )
    load += "build_model(ModelSettings.model_validate_json(sys.argv[1]), 0)"
    done = subprocess.run([sys.executable, "-c", load, model.model_dump_json()], capture_output=True, cwd=HERE.parent)
    if done.returncode == 0:
        return model.weights
    _say(f"the weights of {model.backbone} can't be downloaded: random ones are valid for timing, not for accuracy")
    file = work / f"{model.backbone}.weights.h5"
    arguments = [model.backbone, str(model.image_size), str(images), str(file)]
    subprocess.run([sys.executable, "-m", "benchmarks.random_weights", *arguments], cwd=HERE.parent, check=True)
    return str(file)


def _kind(weights: str) -> str:
    return RANDOM if weights.endswith(".weights.h5") else weights


def _of_newest_run(locations: Locations) -> dict[str, Any]:
    key = newest_run(open_store(locations.store), ["publish"])
    with open_run(key or "", locations) as run:
        stages = ("snapshot", "validate", "split", "baseline", "finetune", "evaluate")
        records = {stage: run.require_record(stage) for stage in stages}
        return {
            "test_mae": records["evaluate"].summary["finetune_mae"],
            "peak_memory_gb": max(record.peak_memory_gb for record in records.values()),
            "stages": {stage: record.seconds for stage, record in records.items()},
            "epochs": _epochs(run, records),
        }


def _epochs(run: Workspace, records: dict[str, StageRecord]) -> list[dict[str, float]]:
    """Each epoch's validation MAE, and its end in seconds since the start of the run, reading and features included."""
    clock = sum(records[stage].seconds for stage in ("snapshot", "validate", "split"))
    epochs = []
    for stage in ("baseline", "finetune"):
        history = pd.read_csv(run.input(stage, "history.csv"))
        clock += records[stage].seconds - history["seconds"].sum()
        for seconds, val_mae in zip(history["seconds"], history["val_mae"], strict=True):
            clock += seconds
            epochs.append({"seconds": round(clock, 1), "val_mae": round(val_mae, 3)})
    return epochs


def _time_to_equal(plain: Measured, ours: Measured) -> float | None:
    """The speed-up until ours reaches the lowest validation MAE of the usual implementation; None if it never does."""
    lowest = min(plain["epochs"], key=lambda epoch: epoch["val_mae"])
    reached = [epoch["seconds"] for epoch in ours["epochs"] if epoch["val_mae"] <= lowest["val_mae"]]
    return round(lowest["seconds"] / min(reached), 2) if reached else None


def _peers(options: argparse.Namespace, backbone: str) -> tuple[str, ...]:
    return PEERS.get(backbone, ()) if options.peers else ()


def _counts(options: argparse.Namespace) -> list[int]:
    return [*(round(share * options.count) for share in sorted(options.shares)), options.count]


def _more_seeds(options: argparse.Namespace) -> range:
    return range(43, 42 + options.seeds)


def _seeded(seed: int) -> list[str]:
    return [f"baseline.seed={seed}", f"finetune.seed={seed}"]


def _faces(options: argparse.Namespace, work: Path) -> tuple[pd.DataFrame, Path]:
    """Labels in a fixed shuffled order, so that the first n are a sample, and the folder of their images."""
    if options.labels is None:
        sample = draw_sample(work / "faces", options.count, seed=1)
        labels, images = sample.labels, sample.images
    else:
        labels, images = options.labels, options.labels.parent / "images"
    table = pd.read_csv(labels).sample(frac=1, random_state=1)
    if len(table) < options.count:
        raise SystemExit(f"{labels} has {len(table)} rows, --count asks for {options.count}")
    return table, images.absolute()


def _command(options: argparse.Namespace) -> str:
    """The command without this machine's paths."""
    words = sys.argv[1:]
    for path in filter(None, (options.labels, options.work)):
        words = [word.replace(str(path), path.name) for word in words]
    return shlex.join(["python", "-m", "benchmarks.bench", *words])


def _keep(backbone: str, measured: dict[str, Any]) -> None:
    """Replace the stored results of one backbone."""
    file = HERE / "results.json"
    results = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(results | {backbone: measured}, indent=2) + "\n")
    write_report(json.loads(file.read_text()), HERE)


def _say(text: str) -> None:
    print(f"== {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
