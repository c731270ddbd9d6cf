"""How the cost of the stages grows with the number of images: seconds and memory at 1,000 to 1,000,000.

    make bench-growth                   # or: python -m benchmarks.growth --work /tmp/growth --counts 1000 10000

The images are hard links to a few drawn faces, and are probed already: each has a sha256 and a hash of its own in the
index of probes, drawn at random, a hundredth of them near duplicates. In place of the trainings, predicted ages are
drawn at random. So the cost is that of tables, not of pixels or of the network, which grow with the number of images by
themselves (`docs/benchmarks.md`).

The largest set has a second run, "with a champion": with people, slices, and two raters of every tenth image; the
champion's ages are drawn too. `predict` reads 150,000 images of 32 pixels, for a network of one layer.

Writes `benchmarks/growth.json` (rows of stage, images, seconds, peak_gb), `growth.md`, and `docs/growth.png`. What
`--parts` leaves out stays as it was.
"""

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
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
from PIL import Image

from age_tasks.config import AugmentationSettings, Config
from age_tasks.data.image_folder import ImageFolder
from age_tasks.data.probes import INDEX, probe_images
from age_tasks.demo.synthetic_faces import draw_sample
from age_tasks.environment import Locations
from age_tasks.pipeline import PIPELINE
from age_tasks.registry.promotions import promote, publish_version
from age_tasks.runs.provenance import machine
from age_tasks.runs.run import Workspace, open_run
from age_tasks.runs.runner import execute_stage
from age_tasks.stages._ancestors import with_ancestors
from age_tasks.stages._inputs import read_splits
from age_tasks.store import open_store

mpl.use("agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import LogLocator, NullFormatter

HERE = Path(__file__).parent
Row = dict[str, Any]
PARTS = ("stages", "champion", "predict")
STAGES = ("snapshot", "validate", "split", "evaluate", "gate")
CHAMPION_STAGES = ("snapshot", "validate", "split", "evaluate")
RUN, SECOND_RUN = "growth", "growth-with-a-champion"
WITH_EVERYTHING = {
    "data.person_column": "person",
    "data.repeated_labels": "median",
    "evaluate.slices": ["sex", "height: 140, 160, 180, 200", "image brightness"],
}
PREDICTED, SIDE = 150_000, 32  # images, and their pixels
NOISE_SECONDS = 0.3  # a stage that grows by less has no exponent
FACES = 50  # that are drawn; a file has at most 65,000 links on ext4
IN_A_FOLDER = 10_000
NEAR = 0.01  # of the images are near duplicates of the image before


def main() -> None:
    options = _options()
    rows: list[Row] = []
    largest = max(options.counts)
    for count in options.counts:
        if "stages" not in options.parts and (count != largest or "champion" not in options.parts):
            continue
        work = options.work / str(count)
        rmtree(work, ignore_errors=True)
        env = _images(work, count)
        if "stages" in options.parts or "champion" in options.parts:
            rows += _first_run(env, count)
        if "champion" in options.parts and count == largest:
            rows += _second_run(work, env, count)
        rmtree(work)
    if "predict" in options.parts:
        rows += _prediction(options.work / "predict")
        rmtree(options.work / "predict")
    _write(rows)


def _write(new: list[Row]) -> None:
    """Write all files, with the rows of earlier calls that were not measured now."""
    file = HERE / "growth.json"
    measured = {(row["stage"], row["images"]) for row in new}
    before = json.loads(file.read_text())["rows"] if file.exists() else []
    rows = [*new, *(row for row in before if (row["stage"], row["images"]) not in measured)]
    order = {name: at for at, name in enumerate((*STAGES, *map(_with_champion, CHAMPION_STAGES), "predict"))}
    rows.sort(key=lambda row: (order[row["stage"]], row["images"]))
    exponents = _exponents(pd.DataFrame(rows))
    found = {"processor": machine(), "rows": rows, "exponents": exponents}
    file.write_text(json.dumps(found, indent=2) + "\n")
    (HERE / "growth.md").write_text(_page(pd.DataFrame(rows), exponents))
    _plot(pd.DataFrame(rows))
    print((HERE / "growth.md").read_text())


def _first_run(env: dict[str, str], count: int) -> list[Row]:
    """Measure the stages of a run without a champion."""
    rows: list[Row] = []
    for stage in STAGES:
        if stage == "evaluate":  # in a process of its own: a child's peak is at least what its parent holds
            _in_a_process(_predict, env, RUN)
        command = [sys.executable, "-m", "age_tasks", stage, "--run", RUN]
        if stage == "snapshot":
            command += ["--recipe", "strong"]
        rows.append({"stage": stage, "images": count, **_measured(command, env)})
        print(rows[-1], flush=True)
    return rows


def _second_run(work: Path, env: dict[str, str], count: int) -> list[Row]:
    """Measure a run with people, slices and raters, against a champion that was trained on the first run's images."""
    env |= {"AGE_LABELS": str(_labels_with_everything(work))}
    _in_a_process(_promote, env, RUN)
    rows: list[Row] = []
    for stage in CHAMPION_STAGES:
        if stage == "evaluate":
            _in_a_process(_predict, env, SECOND_RUN)
        command = [sys.executable, "-m", "benchmarks.growth_champion", stage, "--run", SECOND_RUN]
        if stage == "snapshot":
            given = [f"{name}={json.dumps(value)}" for name, value in WITH_EVERYTHING.items()]
            command += ["--recipe", "strong", *(word for each in given for word in ("--set", each))]
        rows.append({"stage": _with_champion(stage), "images": count, **_measured(command, env)})
        print(rows[-1], flush=True)
    return rows


def _with_champion(stage: str) -> str:
    return f"{stage}, with a champion"


def _labels_with_everything(work: Path) -> Path:
    """The labels with columns of people and slices, and a second row of every tenth image, by another rater."""
    labels, rng = pd.read_csv(work / "labels.csv", dtype={"file_name": "str"}), np.random.default_rng(3)
    count = len(labels)
    labels["person"] = [f"p{number}" for number in rng.integers(0, count // 3, count)]
    labels["sex"] = rng.choice(["female", "male", ""], count)
    labels["height"] = rng.integers(100, 200, count)
    again = labels.iloc[::10]
    again = again.assign(real_age=(again["real_age"] + rng.normal(0, 3, len(again))).clip(0, 100).round(1))
    path = work / "labels-with-everything.csv"
    pd.concat([labels, again]).to_csv(path, index=False)
    return path


def _promote(env: dict[str, str], key: str) -> None:
    """Make a champion of bytes that are no network, with the run's images behind it."""
    with open_run(key, Locations.from_env(env)) as run:
        files = {name: run.scratch / name for name in ("model.keras", "trained_on.csv")}
        files["model.keras"].write_bytes(b"in place of a network")
        with_ancestors(read_splits(run)).to_csv(files["trained_on.csv"], index=False)
        facts = {"run": key, "test_mae": 5.6, "augmentation": AugmentationSettings().model_dump()}
        publish_version(run.store, "champion", files, facts)
        promote(run.store, "champion", "it is the first", key, who="benchmark")


def _prediction(work: Path) -> list[Row]:
    """Measure the command `predict` on small images, with a network of one layer: memory should not grow with them."""
    rmtree(work, ignore_errors=True)
    faces = sorted(path for path in draw_sample(work / "drawn", FACES, 1).images.iterdir())
    sources = [work / f"{at}.jpg" for at in range(FACES)]
    for face, source in zip(faces, sources, strict=True):
        with Image.open(face) as image:
            image.convert("RGB").resize((SIDE, SIDE)).save(source)
    names = [f"{number // IN_A_FOLDER:04d}/{number:07d}.jpg" for number in range(PREDICTED)]
    for folder in sorted({name[:4] for name in names}):
        (work / folder).mkdir()
    for number, name in enumerate(names):
        os.link(sources[number % FACES], work / name)
    env = {"AGE_STORE": str(work / "store"), "AGE_CACHE": str(work / "cache")}
    _in_a_process(_publish_smallest, env, str(work / "model.keras"))
    rows: list[Row] = []
    for count in (PREDICTED // 15, PREDICTED):
        pd.DataFrame({"file_name": names[:count]}).to_csv(work / "listed.csv", index=False)
        command = [
            sys.executable,
            "-m",
            "age_tasks",
            "predict",
            str(work / "listed.csv"),
            "--out",
            str(work / "out.csv"),
        ]
        rows.append({"stage": "predict", "images": count, **_measured(command, env)})
        print(rows[-1], flush=True)
    return rows


def _publish_smallest(env: dict[str, str], file: str) -> None:
    """Publish and promote a network of one layer."""
    import keras

    pixels = keras.Input((SIDE, SIDE, 3))
    keras.Model(pixels, keras.layers.Dense(1)(keras.layers.GlobalAveragePooling2D()(pixels))).save(file)
    store, group = open_store(env["AGE_STORE"]), {"low": None, "high": None, "half_width": 9.0, "images": 1000}
    facts = {"usual": {"side": 20.0, "sharpness": 0.5}, "interval": [group]}
    publish_version(store, "smallest", {"model.keras": Path(file)}, facts)
    promote(store, "smallest", "it is the first", who="benchmark")


def _in_a_process(function: Callable[[dict[str, str], str], None], env: dict[str, str], argument: str) -> None:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        pool.submit(function, env, argument).result()


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


def _predict(env: dict[str, str], key: str) -> None:
    """In place of the trainings: outputs of `baseline` and `finetune` with predicted ages that are drawn at random."""
    with open_run(key, Locations.from_env(env)) as run:
        for number, stage in enumerate(("baseline", "finetune")):
            _execute_drawn(stage, run, number)
            rmtree(run.output_dir)
            run.output_dir.mkdir()


def _execute_drawn(stage: str, run: Workspace, seed: int) -> None:
    drawn = partial(_drawn, seed=seed)
    execute_stage(stage, PIPELINE[stage].needs, lambda: drawn, run, run.config())


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


def _measured(command: list[str], env: dict[str, str]) -> dict[str, float]:
    """Seconds and peak memory of a command in a process of its own."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("AGE_")}
    began = time.monotonic()
    with subprocess.Popen(command, env=others | env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr
        log = process.stderr.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} failed:\n{log[-2000:]}")
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
        exponent = exponents[str(stage)]
        fields = [str(stage), *(cells.get(count, "") for count in counts), "" if exponent is None else str(exponent)]
        lines.append(f"| {' | '.join(fields)} |")
    return "\n".join(lines) + "\n"


def _plot(rows: pd.DataFrame) -> None:
    """Draw what was measured at several numbers of images."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axis, column, title in zip(axes, ("seconds", "peak_gb"), ("Seconds", "Peak memory (GB)"), strict=True):
        for stage, group in rows.groupby("stage", sort=False):
            if len(group) > 1:
                axis.loglog(group["images"], group[column], marker="o", label=stage)
        axis.set(xlabel="images", title=title)
        axis.xaxis.set_major_formatter("{x:,.0f}")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper")
    figure.savefig(HERE.parent / "docs" / "growth.png", dpi=110)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("demo/growth"), help="a folder for labels, images and stores")
    parser.add_argument("--counts", type=int, nargs="+", default=[1_000, 10_000, 100_000, 300_000, 1_000_000])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
