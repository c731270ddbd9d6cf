"""A hundred retrainings in a row, on each kind of store, with growing labels: nothing else may grow.

With people, slices, and notices by e-mail and Apprise, which a process of Airflow sends after each run.
"""

import io
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from age_tasks.cli.app import main
from age_tasks.config import ModelSettings
from age_tasks.pipeline import STAGES
from age_tasks.registry.promotions import fetch_version, history
from age_tasks.runs import run as runs
from age_tasks.store import open_store
from age_tasks.store.base import Store
from age_tasks.training import network as backbones
from tests.faults.tally import Tally
from tests.support.airflow import AirflowProcess
from tests.support.counted import CountingStore
from tests.support.notice_servers import Received, notice_servers
from tests.support.settings import QUICK, overrides, point_at
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(7200)]

RUNS = 100  # on each kind of store
WARM = 20  # runs, until allocators and caches of the libraries have what they want
PRUNED_EVERY, KEPT, TRIED_EVERY = 10, 5, 10
REQUESTS = 4  # by which a run's may have grown: the newest pack of an index is one of several that a look finds
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
    "gate.max_slice_regression_years": 50,
    "data.person_column": "person",
    "evaluate.comparison_samples": 1000,
    "evaluate.slices": ["camera", "image brightness", "height: 40, 50, 60"],
}
NOTICES = {"AGE_NOTIFY": "email:all apprise:all", "AGE_NOTIFY_EMAIL": "ann@example.org"}
IMAGES_OF_A_PERSON = 2
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
        self._table = pd.DataFrame([self._image(f"{at:04d}.jpg", at // IMAGES_OF_A_PERSON) for at in range(count)])

    def grow(self, number: int) -> None:
        image = self._image(f"new-{number:04d}.jpg", number)  # of a person who is known or new
        rows = pd.concat([self._table, pd.DataFrame([image])], ignore_index=True)
        if number % 7 == 0:
            rows = rows.drop(index=int(self._rng.integers(len(rows))))
        if number % 5 == 0:
            rows.loc[rows.index[int(self._rng.integers(len(rows)))], "real_age"] += 1
        self._table = rows
        rows.to_csv(self.labels, index=False)
        os.utime(self.labels, (0, 0))  # it is whole: no need to wait and see

    def _image(self, name: str, person: int) -> dict[str, object]:
        age = int(self._rng.integers(1, 90))
        pixels = self._rng.normal(40 + 2 * age, 30, (48, 48, 3)).clip(0, 255).astype("uint8")
        Image.fromarray(pixels).save(self._images / name)
        facts = {"person": f"p{person}", "camera": "ab"[age % 2], "height": 35 + age % 30}
        return {"file_name": name, "real_age": float(age), **facts}


class Held(NamedTuple):
    """What a process holds: memory in MB, and files."""

    memory: float
    files: int


def held(process: int | None = None) -> Held:
    """By this process, or another."""
    of = Path("/proc") / str(process or "self")
    pages = int((of / "statm").read_text().split()[1])
    return Held(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, len(list((of / "fd").iterdir())))


def counted_requests() -> list[str]:
    """The requests to the stores of all runs that this process opens from now on; a list that grows."""
    asked: list[str] = []

    def counting(url: str) -> CountingStore:
        store = CountingStore(open_store(url))
        store.asked = asked
        return store

    runs.open_store = counting
    return asked


def train(environment: dict[str, str]) -> tuple[Held, int]:
    """The stages with TensorFlow, in a process of their own as ever; what it holds at the end, and its requests."""
    os.environ.update(environment)
    backbones._lite = two_layers
    asked = counted_requests()
    for stage in TRAINING:
        assert main([stage]) == 0
    return held(), len(asked)


def notify(airflow: AirflowProcess, received: Received, store: Store, key: str) -> None:
    """The notices that Airflow's tasks send of this run; one has arrived by each channel."""
    judged, published = (runs.StoredRun(key, store).require_record(stage).summary for stage in ("gate", "publish"))
    env = NOTICES | received.variables
    airflow.call("notices.judge", env, judged=judged)
    airflow.call("notices.publish", env, published=published, judged=judged)
    wait_until(lambda: received.mails and received.posts, seconds=300)
    told = "is the champion" if published.get("promoted") else "the gate refused the candidate"
    (mail,), (post,) = received.mails, received.posts
    assert told in mail.subject
    assert told in post["title"]
    received.clear()


@pytest.fixture
def received() -> Iterator[Received]:
    with notice_servers() as received:
        yield received


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory and open files are read from /proc")
def test_a_hundred_retrainings_in_a_row_leak_no_memory_files_or_space(
    store: Store,
    tmp_path: Path,
    monkeypatch,
    capsys,
    tally: Tally,
    airflow_process: AirflowProcess,
    received: Received,
):
    with tally.attempt("soak_runs", RUNS):
        growing, forked = Growing(tmp_path / "noise", 120), get_context("forkserver")
        forked.set_forkserver_preload([__name__, *(f"age_tasks.stages.{stage}" for stage in TRAINING)])
        point_at(monkeypatch, tmp_path, growing.labels)
        monkeypatch.setenv("AGE_STORE", store.url)
        monkeypatch.setattr(runs, "open_store", runs.open_store)  # put back at the end
        asked = counted_requests()
        known, log, kept_bytes, measured, keys = {}, [], [], [], []
        for number in range(RUNS):
            growing.grow(number)
            asked.clear()
            keys.append(f"run{number:04d}")
            monkeypatch.setenv("AGE_RUN", keys[-1])
            settings = QUICKEST | ({} if number % TRIED_EVERY == 0 else NEVER)
            for stage in STAGES:
                if stage == TRAINING[0]:
                    with ProcessPoolExecutor(1, forked) as process:
                        training, requests = process.submit(train, dict(os.environ)).result()
                elif stage not in TRAINING:
                    given = ["--recipe", "demo", *overrides(settings)] if stage == "snapshot" else []
                    assert main([stage, *given]) == 0, capsys.readouterr().err
            capsys.readouterr()
            requests += len(asked)
            notify(airflow_process, received, store, keys[-1])
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
            measured.append((*held(), *training, *held(airflow_process.pid), requests))
        assert len(log) > 1
        assert [entry.number for entry in log] == list(range(1, len(log) + 1))
        assert [entry.run for entry in log] == sorted(entry.run for entry in log)
        assert all(fetch_version(store, entry.version, tmp_path / entry.version) for entry in log)
        first, last = (np.median(measured[rows], axis=0).round() for rows in (slice(WARM, WARM + 10), slice(-10, None)))
        what = "resident MB and open files here, in training and in Airflow; requests of a run"
        print(f"{store.url}: {what}: {first.tolist()} then {last.tolist()}")
        print(f"kept after pruning, MB: {[round(size / 1e6, 1) for size in kept_bytes]}; {len(log)} promoted")
        memory, files, training_memory, training_files, telling_memory, telling_files, requests = (
            last - first
        ).tolist()
        facts = {"memory_mb_grown": memory, "training_memory_mb_grown": training_memory, "open_files_grown": files}
        facts |= {"notices_memory_mb_grown": telling_memory, "requests": last[-1], "requests_grown": requests}
        tally.note("soak_runs", **facts, promoted=len(log), kept_mb=kept_bytes[-1] / 1e6)
        assert (files, training_files, telling_files) == (0, 0, 0)
        assert max(memory, training_memory, telling_memory) < 50
        assert requests <= REQUESTS
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
