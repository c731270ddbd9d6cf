"""A run that was killed at any point continues as if it had not been."""

import contextlib
import itertools
import random
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from age_tasks.cli.app import main
from age_tasks.config import ComputeSettings, ModelSettings
from age_tasks.data.image_folder import ImageFolder
from age_tasks.demo.synthetic_faces import Sample, draw_sample
from age_tasks.errors import NotFoundError
from age_tasks.pipeline import STAGES
from age_tasks.registry.promotions import champion, fetch_version, history
from age_tasks.runs.index import run_facts
from age_tasks.runs.keys import record_file
from age_tasks.runs.listing import newest_run
from age_tasks.store.base import Store, file_sha256
from age_tasks.training.feature_cache import FeatureCache
from age_tasks.training.features import Cut, cached_features
from age_tasks.training.network import build_model, cut_point, freeze, pooled
from tests.faults.killed_processes import (
    SMALL,
    Attempt,
    SmallRun,
    finished,
    killed_before_write,
    publish_one,
    record_one,
)
from tests.faults.tally import Tally
from tests.support.builders import promoted
from tests.support.records import put_record
from tests.support.settings import point_at
from tests.support.tables import images_of

pytestmark = [pytest.mark.faults, pytest.mark.timeout(7200)]

SEED = 20261125
KILLS = {"snapshot": 8, "validate": 8, "split": 8, "baseline": 8, "finetune": 8, "evaluate": 6, "gate": 8, "publish": 8}
TRAININGS = ("baseline", "finetune")
EPOCH = re.compile("epoch .* of at most")


@pytest.fixture(scope="module")
def undisturbed(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    """A run that nothing happened to."""
    place = SmallRun(tmp_path_factory.mktemp("undisturbed"), sample.labels)
    said = place.attempt().output
    assert len(place.records()) == 8, said
    assert history(place.store), said
    return place


def rows(store: Store, name: str, key: str = "killed") -> pd.DataFrame:
    return pd.read_csv(Path(store.where(f"runs/{key}/{name}")), keep_default_na=False)


def objects(store: Store) -> list[str]:
    """The store's keys without random and time parts, and without the index, to which each attempt adds."""
    varying = r"-[0-9a-f]{8}(?=/)|(?<=promotions/).*|(?<=decisions/).*|[0-9]{8}T[0-9]{6}[.][0-9]+Z"
    keys = store.list()
    return sorted(re.sub(varying, "", key) for key in keys if not key.startswith("index/"))


def test_a_run_killed_at_any_moment_can_be_continued(
    undisturbed: SmallRun, sample: Sample, tmp_path: Path, tally: Tally
):
    rng, place = random.Random(SEED), SmallRun(tmp_path, sample.labels)
    seconds = {stage: record.seconds for stage, record in undisturbed.records().items()}
    killed, done, trained = Counter(), {}, Counter()
    with tally.attempt("kills", killed.total):
        for stage, count in KILLS.items():
            while killed[stage] < count:
                attempt = place.attempt(stage, rng.uniform(0, seconds[stage] + 0.5))
                killed[attempt.stage()] += attempt.killed
                trained += epochs(attempt)
                before, done = done, place.records()
                for name in before:  # the snapshot looks at the world each time
                    assert name == "snapshot" or done[name] == before[name], f"{name} was finished and is done again"
                if stage in done and killed[stage] < count:  # too late: once more
                    seconds[stage] *= 0.8
                    for name in STAGES[STAGES.index(stage) :]:
                        done.pop(name, None)
                        trained[name] = 0
                        forget(
                            place.store,
                            f"runs/killed/{name}/",
                            f"results/{name}/",
                            "registry/",
                            "reports/",
                        )
        attempt = place.attempt()
        trained += epochs(attempt)
        print(killed, trained)
        assert len(place.records()) == 8, attempt.output
        for name in TRAININGS:
            assert trained[name] <= SMALL[f"{name}.epochs"] + killed[name]
            assert len(rows(place.store, f"{name}/history.csv")) == len(rows(undisturbed.store, f"{name}/history.csv"))
        for name in ("train", "val", "test"):
            assigned, expected = (rows(each.store, f"split/{name}.csv") for each in (place, undisturbed))
            pd.testing.assert_frame_equal(assigned, expected)
        tested, expected = (rows(each.store, "evaluate/predictions.csv") for each in (place, undisturbed))
        facts = ["file_name", "sha256", "real_age"]
        pd.testing.assert_frame_equal(tested[facts], expected[facts])
        assert (tested["finetune"] - expected["finetune"]).abs().max() < 0.5
        assert objects(place.store) == objects(undisturbed.store)
        assert [entry.run for entry in history(place.store)] == ["killed"]
    tally.note("kills", at_any_moment=dict(killed))
    assert killed.total() >= 60


def epochs(attempt: Attempt) -> Counter[str]:
    """How many epochs of each training came to their end."""
    _, *said = re.split(r" (\w+) of run", attempt.output)
    return Counter(stage for stage, text in zip(said[::2], said[1::2], strict=True) for _ in EPOCH.findall(text))


@pytest.fixture
def commanded(store: Store, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty store of each kind, where commands find it."""
    point_at(monkeypatch, tmp_path, sample.labels)
    monkeypatch.setenv("AGE_STORE", store.url)
    return store


@pytest.fixture
def begun(undisturbed: SmallRun, commanded: Store) -> Store:
    """The same with the undisturbed run in it."""
    for key in undisturbed.store.list():
        commanded.put(key, Path(undisturbed.store.where(key)))
    return commanded


def forget(store: Store, *folders: str) -> None:
    for folder in folders:
        for key in store.list(folder):
            store.delete(key)


@pytest.mark.parametrize("part", ["runs/killed/gate/", "index/"])
def test_a_stage_killed_before_any_write_is_executed_again(begun: Store, tally: Tally, part: str):
    expected = finished(begun, "killed")["gate"].outputs
    for number in itertools.count(1):
        forget(begun, "runs/killed/gate/", "results/gate/")
        if not killed_before_write(number, part, main, ["gate", "--run", "killed"]):
            break
        with tally.attempt("kills"):
            assert (newest_run(begun, ["gate"]) == "killed") == ("gate" in finished(begun, "killed"))
            assert main(["gate", "--run", "killed"]) == 0
            assert finished(begun, "killed")["gate"].outputs == expected
            assert newest_run(begun, ["gate"]) == "killed"
    assert number > 5


def test_a_record_whose_writer_is_killed_before_any_write_is_found_if_it_is_there(
    store: Store, tmp_path: Path, tally: Tally
):
    put_record(store, "split", "monday")
    for number in itertools.count(1):
        if not killed_before_write(number, tmp_path.name, record_one, store.url, "tuesday"):
            break
        with tally.attempt("kills"):
            written = store.exists(record_file("tuesday", "split"))
            assert newest_run(store, ["split"]) == ("tuesday" if written else "monday")
            if number % 3 == 0:
                record_one(store.url, "tuesday")
                assert newest_run(store, ["split"]) == "tuesday"
                store.delete(record_file("tuesday", "split"))
                assert newest_run(store, ["split"]) == "monday"
    assert number > 4
    assert newest_run(store, ["split"]) == "tuesday"
    assert set(run_facts(store)) == {"monday", "tuesday"}


def test_a_publication_killed_before_any_write_promotes_once(begun: Store, tally: Tally):
    points = [("registry/versions/", 1), ("registry/versions/", 4), ("manifest.json", 1), ("registry/promotions/", 1)]
    points += [("reports/killed.html", 1), ("runs/killed/publish/stage.json", 2)]
    for where, number in points:
        forget(begun, "runs/killed/publish/", "results/publish/", "registry/", "reports/")
        assert killed_before_write(number, where, main, ["publish", "--run", "killed"]), where
        with tally.attempt("kills"):
            finished(begun, "killed")
            assert main(["publish", "--run", "killed"]) == 0
            (entry,) = history(begun)
            assert finished(begun, "killed")["publish"].summary["promoted"]
            assert {key.split("/")[2] for key in begun.list("registry/versions/")} == {entry.version}


def test_a_version_whose_publisher_was_killed_is_complete_or_absent(store: Store, tmp_path: Path, tally: Tally):
    for number in itertools.count(1):
        version = f"run{number}"
        if not killed_before_write(number, f"registry/versions/{version}/", publish_one, store.url, version, tmp_path):
            break
        with tally.attempt("kills"):
            with contextlib.suppress(NotFoundError):
                fetch_version(store, version, tmp_path / "left")
            promoted(store, tmp_path, version)
            assert champion(store).version == version
            fetch_version(store, version, tmp_path / "fetched")
            assert (tmp_path / "fetched" / "model.keras").read_bytes() == version.encode()
    assert number > 4


def test_the_promotion_log_is_complete_after_its_writer_was_killed(commanded: Store, tmp_path: Path, tally: Tally):
    promoted(commanded, tmp_path, "monday", "tuesday")
    for number in itertools.count(1):
        before = history(commanded)
        rollback = ["rollback", "--reason", "worse on children", "--to", "v1" if before[-1].name == "v2" else "v2"]
        if not killed_before_write(number, "registry/promotions/", main, rollback):
            break
        with tally.attempt("kills"):
            after = history(commanded)
            assert (after[: len(before)], len(after) - len(before)) in ((before, 0), (before, 1))
            assert len(after) > len(before) or main(rollback) == 0
            assert history(commanded)[-1].name == rollback[-1]
    assert number > 2


def compute_features(sample: Sample, cache: Path) -> None:
    model = build_model(ModelSettings(backbone="efficientnet_lite0", image_size=32), seed=1)
    freeze(model, 30)
    cuts = [Cut(tensor, images_of(sample)) for tensor in (cut_point(model), pooled(model))]
    cached_features(model, cuts, ImageFolder(str(sample.images), cache), cache, ComputeSettings())


def features(cache: Path, keys: list[str]) -> dict[str, np.ndarray]:
    """The rows of those keys that are there, by the folder of their cut."""
    caches = {folder.name: FeatureCache(folder) for folder in sorted(cache.glob("features/*"))}
    return {
        name: found.rows(there) for name, found in caches.items() if (there := [key for key in keys if key in found])
    }


def test_cached_features_whose_writer_was_killed_are_complete_or_absent(tmp_path: Path, tally: Tally):
    sample = draw_sample(tmp_path / "faces", 40, seed=1)
    keys = [file_sha256(path) for path in sorted(sample.images.iterdir())]
    compute_features(sample, tmp_path / "whole")
    whole = features(tmp_path / "whole", keys)
    for number in itertools.count(1):
        cache = tmp_path / str(number)
        if not killed_before_write(number, f"/{number}/features/", compute_features, sample, cache):
            break
        with tally.attempt("kills"):
            assert all(np.array_equal(left, whole[name]) for name, left in features(cache, keys).items())
            compute_features(sample, cache)
            assert all(np.array_equal(again, whole[name]) for name, again in features(cache, keys).items())
    assert (len(whole), number > 8) == (2, True)
