"""How the cost of the stages grows with the number of images: seconds and memory at 1,000 to 1,000,000.

    make bench-growth                   # or: python -m benchmarks.growth --work /tmp/growth --counts 1000 10000

The images are hard links to a few drawn faces, and are probed already: each has a sha256 and a hash of its own in the
index of probes, drawn at random, a hundredth of them near duplicates. In place of the trainings, predicted ages are
drawn at random. There is no champion. So the cost is that of tables, not of pixels or of the network, which grow with
the number of images by themselves (`docs/benchmarks.md`).

Writes `benchmarks/growth.json` (rows of stage, images, seconds, peak_gb), `growth.md`, and `docs/growth.png`.
"""

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from shutil import copy, rmtree
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd

from age_tasks.config import Config
from age_tasks.data.image_folder import ImageFolder
from age_tasks.data.probes import INDEX, probe_images
from age_tasks.demo.synthetic_faces import draw_sample
from age_tasks.environment import Locations
from age_tasks.pipeline import PIPELINE
from age_tasks.runs.run import Workspace, open_run
from age_tasks.runs.runner import execute_stage
from age_tasks.stages._inputs import read_splits

mpl.use("agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
STAGES = ("snapshot", "validate", "split", "evaluate", "gate")
RUN = "growth"
NOISE_SECONDS = 0.3  # a stage that grows by less has no exponent
FACES = 50  # that are drawn; a file has at most 65,000 links on ext4
IN_A_FOLDER = 10_000
NEAR = 0.01  # of the images are near duplicates of the image before


def main() -> None:
    options = _options()
    rows: list[dict[str, Any]] = []
    for count in options.counts:
        work = options.work / str(count)
        rmtree(work, ignore_errors=True)
        env = _images(work, count)
        for stage in STAGES:
            if stage == "evaluate":  # in a process of its own: a child's peak is at least what its parent holds
                with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                    pool.submit(_predict, env).result()
            rows.append({"stage": stage, "images": count, **_measured(stage, env)})
            print(rows[-1], flush=True)
        if not options.keep:
            rmtree(work)
    found = {"processor": _processor(), "rows": rows, "exponents": _exponents(pd.DataFrame(rows))}
    (HERE / "growth.json").write_text(json.dumps(found, indent=2) + "\n")
    (HERE / "growth.md").write_text(_page(pd.DataFrame(rows), found["exponents"]))
    _plot(pd.DataFrame(rows))
    print((HERE / "growth.md").read_text())


def _images(work: Path, count: int) -> dict[str, str]:
    """Labels, images and the index of their probes; returns the variables that name them."""
    faces = sorted(path for path in draw_sample(work / "drawn", FACES, 1).images.iterdir())
    names = [f"{number // IN_A_FOLDER:04d}/{number:07d}.jpg" for number in range(count)]
    for folder in sorted({name[:4] for name in names}):
        (work / "images" / folder).mkdir(parents=True)
    sources = [Path(copy(face, work / "images" / face.name)) for face in faces]
    for number, name in enumerate(names):
        os.link(sources[number % FACES], work / "images" / name)
    rng = np.random.default_rng(0)
    ages = rng.gamma(4, 8, count).clip(0, 100).round(1)
    pd.DataFrame({"file_name": names, "real_age": ages}).to_csv(work / "labels.csv", index=False)
    _probed(work, names, rng)
    places = {"AGE_LABELS": "labels.csv", "AGE_IMAGES": "images", "AGE_STORE": "store", "AGE_CACHE": "cache"}
    return {name: str(work / place) for name, place in places.items()}


def _probed(work: Path, names: list[str], rng: np.random.Generator) -> None:
    """Fill the index of probes, as if every image had been read: with the probes of the first, and other contents."""
    folder, cache = ImageFolder(str(work / "images"), work / "cache"), work / "cache"
    probe_images(folder, names[:1], cache)
    contents = rng.integers(0, 256, (len(names), 32), dtype=np.uint8)
    hashes = rng.integers(0, 256, (len(names), 32), dtype=np.uint8)
    near = np.flatnonzero(rng.random(len(names)) < NEAR)
    near = near[near > 0]
    hashes[near] = hashes[near - 1]
    hashes[near, rng.integers(0, 32, len(near))] ^= 5
    with closing(sqlite3.connect(cache / INDEX)) as index, index:
        cursor = index.execute("SELECT * FROM probes")
        columns = [column[0] for column in cursor.description]
        first = dict(zip(columns, cursor.fetchone(), strict=True))
        rows = (
            tuple(
                (first | {"name": name, "state": folder.stamp(name), "sha256": sha256, "dhash": dhash})[column]
                for column in columns
            )
            for name, sha256, dhash in zip(names, map(_hex, contents), map(_hex, hashes), strict=True)
        )
        index.executemany(f"REPLACE INTO probes VALUES ({', '.join('?' * len(columns))})", rows)


def _predict(env: dict[str, str]) -> None:
    """In place of the trainings: outputs of `baseline` and `finetune` with predicted ages that are drawn at random."""
    variables = {name: Path(value) if name == "AGE_CACHE" else value for name, value in env.items()}
    locations = Locations(**{name.removeprefix("AGE_").lower(): value for name, value in variables.items()})
    with open_run(RUN, locations) as run:
        for number, stage in enumerate(("baseline", "finetune")):
            drawn = partial(_drawn, seed=number)
            execute_stage(stage, PIPELINE[stage].needs, lambda drawn=drawn: drawn, run, run.config())
            rmtree(run.output_dir)
            run.output_dir.mkdir()


def _drawn(run: Workspace, config: Config, seed: int) -> dict[str, Any]:
    splits, rng = read_splits(run), np.random.default_rng(seed)
    for name in ("val", "test"):
        ages = splits[name]["real_age"] + rng.normal(0, 7, len(splits[name]))
        splits[name][["file_name", "sha256"]].assign(age=ages.clip(0).round(3)).to_csv(
            run.output_dir / f"{name}_predictions.csv", index=False
        )
    everyone = pd.concat(splits.values())[["file_name", "sha256", "real_age"]]
    other = (everyone["real_age"] + rng.normal(0, 7, len(everyone))).round(2)
    everyone.assign(other_age=other).to_csv(run.output_dir / "out_of_fold.csv", index=False)
    (run.output_dir / "model.keras").write_bytes(rng.bytes(32))
    plt.figure().savefig(run.output_dir / "learning_curve.png")
    return {"test_mae": 5.6}


def _hex(values: np.ndarray) -> str:
    return values.tobytes().hex()


def _measured(stage: str, env: dict[str, str]) -> dict[str, float]:
    """Seconds and peak memory of a stage in a process of its own."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("AGE_")}
    command = [
        sys.executable,
        "-m",
        "age_tasks",
        stage,
        "--run",
        RUN,
        *(("--recipe", "strong") if stage == "snapshot" else ()),
    ]
    began = time.monotonic()
    with subprocess.Popen(command, env=others | env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr
        log = process.stderr.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{stage} failed:\n{log[-2000:]}")
    return {"seconds": round(time.monotonic() - began, 1), "peak_gb": round(usage.ru_maxrss * 1024 / 1e9, 2)}


def _exponents(rows: pd.DataFrame) -> dict[str, float | None]:
    """Of each stage the exponent b of seconds = a + c * images ** b, fitted to the three largest sets.

    The constant a is the start of the process: the least seconds of any set.
    """
    found: dict[str, float | None] = {}
    for stage, group in rows.groupby("stage", sort=False):
        grown = group.sort_values("images").tail(3)
        above = grown["seconds"] - group["seconds"].min()
        fits = len(grown) == 3 and (above > NOISE_SECONDS).all()
        slope = np.polyfit(np.log(grown["images"]), np.log(above), 1)[0] if fits else None
        found[str(stage)] = round(float(slope), 2) if slope is not None else None
    return found


def _page(rows: pd.DataFrame, exponents: dict[str, float | None]) -> str:
    counts = sorted(rows["images"].unique())
    header = ["stage", *(f"{count:,}" for count in counts), "exponent"]
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for stage, group in rows.groupby("stage", sort=False):
        cells = {row.images: f"{row.seconds:g} s, {row.peak_gb:g} GB" for row in group.itertuples()}
        fields = [str(stage), *(cells[count] for count in counts), str(exponents[str(stage)])]
        lines.append(f"| {' | '.join(fields)} |")
    return "\n".join(lines) + "\n"


def _plot(rows: pd.DataFrame) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axis, column, title in zip(axes, ("seconds", "peak_gb"), ("Seconds", "Peak memory (GB)"), strict=True):
        for stage, group in rows.groupby("stage", sort=False):
            axis.loglog(group["images"], group[column], marker="o", label=stage)
        axis.set(xlabel="images", title=title)
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.savefig(HERE.parent / "docs" / "growth.png", dpi=110)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("demo/growth"), help="a folder for labels, images and stores")
    parser.add_argument("--counts", type=int, nargs="+", default=[1_000, 10_000, 100_000, 300_000, 1_000_000])
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    return parser.parse_args()


if __name__ == "__main__":
    main()
