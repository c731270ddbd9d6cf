"""Seconds of an epoch of fine-tuning, and its memory, by where its inputs come from; and how memory grows.

`python -m benchmarks.streamed_features --labels CSV [--images DIR]`, with the images in DIR or in `images` beside the
labels: EfficientNet-Lite0, its last 30 layers, from the local cache, from a bucket that answers late, and from images
that are decoded in every epoch. `--grow` streams features of random numbers instead, of more and more images, to a
network of one layer. Each line is of a process of its own.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from age_tasks.config import Config, TrainingSettings
from age_tasks.data.image_folder import ImageFolder
from age_tasks.store import open_store
from age_tasks.store.base import file_sha256
from age_tasks.store.files import FileStore
from age_tasks.training.batches import Source
from age_tasks.training.feature_cache import SHARD_ROWS
from age_tasks.training.fit import features_to_train, fit
from age_tasks.training.network import build_model, freeze
from age_tasks.training.remote_shards import RemoteShards
from age_tasks.training.streamed_features import StreamedFeatures
from benchmarks.s3_images import slow_bucket

LATE = 0.02  # seconds until the bucket answers
ROW = (14, 14, 112)  # of EfficientNet-Lite0 at 224 pixels: 44 kB
GROWTH = (6_000, 24_000, 96_000)


def main() -> None:
    """Measure, and print a line of JSON for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--grow", action="store_true")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work == "grow":
        return grow(given.count)
    if given.work:
        return measure(given.work, given)
    with tempfile.TemporaryDirectory(prefix="age-streamed-") as root:
        os.environ["AGE_CACHE"] = root
        bucket = Path(root) / "bucket"
        (bucket / "cache").mkdir(parents=True)
        if given.grow:
            with slow_bucket(fill(bucket / "cache", max(GROWTH)), LATE):
                for count in GROWTH:
                    call("grow", "--count", str(count))
            return
        os.environ["AGE_CACHE_REMOTE"] = str(bucket / "cache")
        call("compute", *sys.argv[1:])
        call("cache", *sys.argv[1:])
        with slow_bucket(bucket, LATE):
            os.environ["AGE_CACHE_REMOTE"] = "s3://bucket/cache"
            call("bucket", *sys.argv[1:])
        del os.environ["AGE_CACHE_REMOTE"]
        call("decode", *sys.argv[1:])


def call(work: str, *arguments: str) -> None:
    """Execute one measurement in a process of its own."""
    subprocess.run([sys.executable, "-m", "benchmarks.streamed_features", *arguments, "--work", work], check=True)


def measure(work: str, given: argparse.Namespace) -> None:
    """A training of some epochs; `compute` only computes its features, into the local cache and the bucket's folder."""
    table = pd.read_csv(given.labels, dtype={"file_name": "str"}).sample(given.count, random_state=1)
    images = given.images or given.labels.parent / "images"
    table = table.assign(sha256=[file_sha256(images / name) for name in table["file_name"]])
    part = given.count // 10
    splits = {"train": table[2 * part :], "val": table[:part], "test": table[part : 2 * part]}
    settings = {"model.backbone": "efficientnet_lite0", "model.image_size": given.size, "finetune.epochs": given.epochs}
    local = work in {"compute", "cache"}
    config = Config().with_overrides(settings | ({} if local else {"compute.cache_budget_gb": 0}))
    model = build_model(config.model, seed=1)
    freeze(model, config.finetune.last_layers)
    root = Path(os.environ["AGE_CACHE"])
    cache, folder = root / ("local" if local else work), ImageFolder(str(images), root)
    if work == "compute":
        features_to_train(model, splits, folder, cache, config)
        return
    began, used = _megabytes(), time.process_time()
    trained = fit(model, splits, folder, config.finetune, config, cache, root / work)
    report(
        work=work,
        train_images=len(splits["train"]),
        seconds=trained.history["seconds"].tolist(),
        val_mae=trained.history["val_mae"].round(2).tolist(),
        processor_seconds=round(time.process_time() - used, 1),
        more_megabytes=_megabytes() - began,
        load=round(os.getloadavg()[0], 1),
    )


def fill(folder: Path, images: int) -> Path:
    """Features of random numbers as shards of an exchange; returns the folder above it."""
    features = StreamedFeatures(folder, RemoteShards(FileStore(folder), "prefix"), {}, ROW)
    rng = np.random.default_rng(1)
    for start in range(0, images, SHARD_ROWS):
        names = _names(min(start + SHARD_ROWS, images))[start:]
        features.append(names, rng.random((len(names), *ROW), "float32").astype("float16"))
    return folder.parent


def grow(images: int) -> None:
    """Two epochs of a network that does next to nothing, streamed."""
    remote = RemoteShards(open_store("s3://bucket/cache"), "prefix")
    features = StreamedFeatures(Path("nowhere"), remote, remote.places(besides=()), ROW)
    table = pd.DataFrame({"sha256": _names(images), "real_age": 40.0})
    source = Source(features, ImageFolder(".", Path()), 224)
    inputs = keras.Input(ROW)
    network = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.GlobalAveragePooling2D()(inputs)))
    network.compile("sgd", "mae")
    began, used = _megabytes(), time.process_time()
    for epoch in range(2):
        batches = source.batches(table, TrainingSettings().batch_size, np.asarray, seed=1)
        batches.start_at(epoch)
        network.fit(batches.dataset, verbose=0)
    report(
        images=images,
        gigabytes=round(images * 2 * np.prod(ROW) / 1e9, 2),
        processor_seconds=round(time.process_time() - used, 1),
        more_megabytes=_megabytes() - began,
    )


def report(**found: object) -> None:
    """Print a line."""
    print(json.dumps(found, default=float), flush=True)


def _names(count: int) -> list[str]:
    return [f"{number:064x}" for number in range(count)]


def _megabytes() -> int:
    """The most memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
