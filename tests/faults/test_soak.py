"""A hundred retrainings in a row, on each kind of store, with growing labels: nothing else may grow."""

import io
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from age_tasks.cli.app import main
from age_tasks.config import ModelSettings
from age_tasks.pipeline import STAGES
from age_tasks.registry.promotions import fetch_version, history
from age_tasks.store.base import Store
from age_tasks.training import network as backbones
from tests.faults.tally import Tally
from tests.support.settings import QUICK, overrides, point_at

pytestmark = [pytest.mark.faults, pytest.mark.timeout(7200)]

RUNS = 100  # on each kind of store
WARM = 20  # runs, until allocators and caches of the libraries have what they want
PRUNED_EVERY, KEPT, TRIED_EVERY = 10, 5, 10
QUICKEST = QUICK | {
    "model.image_size": 32,
    "model.dense_units": 0,
    "split.n_bins": 3,
    "baseline.epochs": 1,
    "baseline.learning_rate": 1e-4,
    "finetune.epochs": 10,
    "finetune.learning_rate": 0.05,
    "finetune.last_layers": 1,
    "gate.policy": "not_worse",
    "gate.tolerance_years": 50,
    "gate.max_bin_regression_years": 50,
}
TRAINING = ("baseline", "finetune", "evaluate")
NEVER = {"gate.max_test_mae": 0.001}  # most runs are refused: a publication converts the model, which takes seconds


def two_layers(settings: ModelSettings, scaled: keras.KerasTensor) -> keras.KerasTensor:
    """A backbone of which a run takes seconds, the same each time."""
    x = scaled
    for number, width in enumerate((8, 16)):
        initial = keras.initializers.GlorotUniform(seed=number)
        layer = keras.layers.Conv2D(width, 3, 2, activation="relu", kernel_initializer=initial, name=f"layer{number}")
        x = layer(x)
    return x


class Growing:
    """A folder of noise whose brightness tells the age, and its labels: a run on, one more, and now and then one less
    or one corrected."""

    def __init__(self, root: Path, count: int):
        self.labels, self._images, self._rng = root / "labels.csv", root / "images", np.random.default_rng(1)
        self._images.mkdir(parents=True)
        self._table = pd.DataFrame([self._picture(f"{number:04d}.jpg") for number in range(count)])

    def grow(self, number: int) -> None:
        rows = pd.concat([self._table, pd.DataFrame([self._picture(f"new-{number:04d}.jpg")])], ignore_index=True)
        if number % 7 == 0:
            rows = rows.drop(index=int(self._rng.integers(len(rows))))
        if number % 5 == 0:
            rows.loc[rows.index[int(self._rng.integers(len(rows)))], "real_age"] += 1
        self._table = rows
        rows.to_csv(self.labels, index=False)
        os.utime(self.labels, (0, 0))  # it is whole: no need to wait and see

    def _picture(self, name: str) -> dict[str, object]:
        age = int(self._rng.integers(1, 90))
        pixels = self._rng.normal(40 + 2 * age, 30, (48, 48, 3)).clip(0, 255).astype("uint8")
        Image.fromarray(pixels).save(self._images / name)
        return {"file_name": name, "real_age": float(age)}


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def train(environment: dict[str, str]) -> tuple[float, int]:
    """The stages with TensorFlow, in a process of their own as ever; the memory that it took, and its open files."""
    os.environ.update(environment)
    backbones._lite0 = two_layers
    for stage in TRAINING:
        assert main([stage]) == 0
    return resident_mb(), open_files()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory and open files are read from /proc")
def test_a_hundred_retrainings_in_a_row_leak_no_memory_files_or_space(
    store: Store, tmp_path: Path, monkeypatch, capsys, tally: Tally
):
    with tally.attempt("soak_runs", RUNS):
        growing, forked = Growing(tmp_path / "noise", 120), get_context("forkserver")
        forked.set_forkserver_preload([__name__, *(f"age_tasks.stages.{stage}" for stage in TRAINING)])
        point_at(monkeypatch, tmp_path, growing.labels)
        monkeypatch.setenv("AGE_STORE", store.url)
        known, log, kept_bytes, measured, keys = {}, [], [], [], []
        for number in range(RUNS):
            growing.grow(number)
            keys.append(f"run{number:04d}")
            monkeypatch.setenv("AGE_RUN", keys[-1])
            settings = QUICKEST | ({} if number % TRIED_EVERY == 0 else NEVER)
            for stage in STAGES:
                if stage == TRAINING[0]:
                    with ProcessPoolExecutor(1, forked) as process:
                        trained = process.submit(train, dict(os.environ)).result()
                elif stage not in TRAINING:
                    given = ["--recipe", "demo", *overrides(settings)] if stage == "snapshot" else []
                    assert main([stage, *given]) == 0, capsys.readouterr().err
            capsys.readouterr()
            known = unmoved_assignments(known, store, keys[-1])
            log, before = history(store), log
            assert log[: len(before)] == before
            if number % PRUNED_EVERY == PRUNED_EVERY - 1:
                assert main(["prune", "--keep", str(KEPT), "--delete"]) == 0
                assert {key.split("/")[1] for key in store.list("runs/")} == {
                    *keys[-KEPT:],
                    *(entry.run for entry in log),
                }
                kept_bytes.append(unpromoted_bytes(store))
            measured.append((resident_mb(), open_files(), *trained))
        assert len(log) > 1
        assert [entry.number for entry in log] == list(range(1, len(log) + 1))
        assert [entry.run for entry in log] == sorted(entry.run for entry in log)
        assert all(fetch_version(store, entry.version, tmp_path / entry.version) for entry in log)
        first, last = (np.median(measured[rows], axis=0).round() for rows in (slice(WARM, WARM + 10), slice(-10, None)))
        print(f"{store.url}: resident MB and open files, here and in training, {first.tolist()} then {last.tolist()}")
        print(f"kept after pruning, MB: {[round(size / 1e6, 1) for size in kept_bytes]}; {len(log)} promoted")
        memory, files, training_memory, training_files = (last - first).tolist()
        facts = {"memory_mb_grown": memory, "training_memory_mb_grown": training_memory, "open_files_grown": files}
        tally.note("soak_runs", **facts, promoted=len(log), kept_mb=kept_bytes[-1] / 1000000.0)
        assert (files, training_files) == (0, 0)
        assert max(memory, training_memory) < 50
        assert kept_bytes[-1] < 1.5 * kept_bytes[0]


def unmoved_assignments(known: dict[str, str], store: Store, key: str) -> dict[str, str]:
    """The split of every image ever assigned; fails if one has moved."""
    assigned = pd.read_csv(io.BytesIO(store.get(f"runs/{key}/split/assignments.csv")))
    now = dict(zip(assigned["sha256"], assigned["split"], strict=True))
    assert known.items() <= now.items()
    return now


def unpromoted_bytes(store: Store) -> int:
    promoted = {entry.run for entry in history(store)}
    entries = store.entries("runs/")
    return sum(entry.size for entry in entries if entry.key.split("/")[1] not in promoted)
