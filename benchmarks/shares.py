"""How much sooner several workers are done than one: `python -m benchmarks.shares`.

A pause for each image stands in place of the network, or of reading a file, as if each worker had a processor or GPU of
its own. All else is what the commands `probe` and `features` do: shares, decoding, one cache that all write to. So the
figures are what sharing the work costs, and not how quick a machine is.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from PIL import Image

from age_tasks.config import ComputeSettings
from age_tasks.data import probes
from age_tasks.data.image_folder import ImageFolder
from age_tasks.data.shares import Share
from age_tasks.store.base import file_sha256
from age_tasks.training.features import Cut, cached_features

SIZE = 32  # pixels; decoding is not what is measured
Work = Callable[[Share, Path, pd.DataFrame, Path, float], None]


class Pause(keras.layers.Layer):
    """Passes its input on after some time for each image."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def call(self, batch: tf.Tensor) -> tf.Tensor:
        """The batch itself."""

        def wait(pixels: np.ndarray) -> np.ndarray:
            time.sleep(self.seconds * len(pixels))
            return pixels

        return tf.ensure_shape(tf.numpy_function(wait, [batch], tf.float32), batch.shape)


def compute(share: Share, cache: Path, table: pd.DataFrame, images: Path, pause: float) -> None:
    pixels = keras.Input((SIZE, SIZE, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(Pause(pause)(pixels))
    model = keras.Model(pixels, pooled)
    folder = ImageFolder(str(images), cache)
    cached_features(model, [Cut(model.outputs[0], table)], folder, cache, ComputeSettings(), share)


def probe(share: Share, cache: Path, table: pd.DataFrame, images: Path, pause: float) -> None:
    read = probes.probe_file

    def read_slowly(path: Path) -> probes.Probe:
        time.sleep(pause)
        return read(path)

    vars(probes).update(probe_file=read_slowly, READERS=1)
    own = [name for name, sha256 in zip(table["file_name"], table["sha256"], strict=True) if share.holds(sha256)]
    probes.probe_images(ImageFolder(str(images), cache), own, cache)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--pause", type=float, default=0.03, help="seconds for each image")
    options = parser.parse_args()
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as place:
        images = Path(place, "images")
        table = _draw(images, options.images)
        for work in (compute, probe):
            one, many = (
                _seconds(work, workers, Path(place), table, images, options.pause) for workers in (1, options.workers)
            )
            found |= {f"{work.__name__}, one worker": one, f"{work.__name__}, {options.workers} workers": many}
            found[f"{work.__name__}, times sooner"] = round(one / many, 2)
    print(json.dumps(vars(options) | found, indent=2))


def _draw(images: Path, count: int) -> pd.DataFrame:
    """Write that many different images; returns columns file_name, sha256, augmentation."""
    images.mkdir()
    generator, names = np.random.default_rng(1), [f"{number}.png" for number in range(count)]
    for name in names:
        Image.fromarray(generator.integers(0, 255, (SIZE, SIZE, 3), "uint8")).save(images / name)
    sha256s = [file_sha256(images / name) for name in names]
    return pd.DataFrame({"file_name": names, "sha256": sha256s, "augmentation": 0})


def _seconds(work: Work, workers: int, place: Path, table: pd.DataFrame, images: Path, pause: float) -> float:
    """From the moment when all workers are ready until the last one has ended."""
    spawn = multiprocessing.get_context("spawn")
    ready, cache = spawn.Barrier(workers + 1), place / f"{work.__name__}-{workers}"
    shares = [Share(number, workers) for number in range(1, workers + 1)]
    given = (cache, table, images, pause)
    processes = [spawn.Process(target=_worker, args=(ready, work, share, *given)) for share in shares]
    for process in processes:
        process.start()
    ready.wait()
    started = time.perf_counter()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise RuntimeError(f"{work.__name__} failed")
    return round(time.perf_counter() - started, 1)


def _worker(
    ready: Barrier, work: Work, share: Share, cache: Path, table: pd.DataFrame, images: Path, pause: float
) -> None:
    work(Share(), cache / f"warm-{share.number}", table.head(8), images, 0.0)
    ready.wait()
    work(share, cache, table, images, pause)


if __name__ == "__main__":
    main()
