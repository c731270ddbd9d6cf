"""Concurrent runs, publishers and rollbacks, and labels and images that are replaced during a run."""

import json
import random
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from age_tasks.cli.app import main
from age_tasks.demo.synthetic_faces import Sample, draw_sample
from age_tasks.environment import Locations
from age_tasks.errors import AgeTasksError, MissingInputError
from age_tasks.registry.promotions import champion, fetch_version, history, rollback
from age_tasks.runs.run import open_run
from age_tasks.stages.publish import promote_candidate
from age_tasks.store import open_store
from age_tasks.store.base import Store
from age_tasks.training.feature_cache import FeatureCache
from tests.faults.killed_processes import SMALL, SmallRun
from tests.faults.tally import Tally
from tests.support.builders import FACTS, candidate, promote_at_once, promoted
from tests.support.settings import QUICK, overrides, point_at

pytestmark = [pytest.mark.faults, pytest.mark.timeout(7200)]

SEED = 20261125


@pytest.mark.parametrize("seed", [42, 7], ids=["the same", "another training"])
def test_two_runs_at_once_share_a_store_and_a_cache(seed: int, sample: Sample, tmp_path: Path, tally: Tally):
    with tally.attempt("two_runs_at_once", 2):
        one = SmallRun(tmp_path, sample.labels, "one")
        two = SmallRun(tmp_path, sample.labels, "two", AGE_SET=json.dumps(SMALL | {"baseline.seed": seed}))
        logs = [tmp_path / f"{place.key}.log" for place in (one, two)]
        codes = [process.wait() for process in [place.start(log) for place, log in zip((one, two), logs, strict=True)]]
        for place, log, code in zip((one, two), logs, codes, strict=True):
            if (
                code == MissingInputError.exit_code
            ):  # the other was promoted in the meantime; compared with that, it continues
                assert "not what this model was compared with" in log.read_text()
                place.attempt()
            else:
                assert code == 0, log.read_text()
        records = [place.records() for place in (one, two)]
        assert [len(each) for each in records] == [8, 8]
        for name in ("split", "validate"):
            assert records[0][name].outputs == records[1][name].outputs
        same = records[0]["finetune"].outputs["model.keras"] == records[1]["finetune"].outputs["model.keras"]
        assert same == (seed == 42)
        passed = [each["gate"].summary["passed"] for each in records]
        assert all(each["gate"].summary["verdict"] for each in records)
        assert len(history(one.store)) == (1 if same else sum(passed))
        fetch_version(one.store, champion(one.store).version, tmp_path / "champion")
        assert whole(tmp_path / "cache" / "features")


def whole(features: Path) -> bool:
    """Whether each row is finite, and the same wherever it was computed."""
    for folder in features.iterdir():
        first: dict[str, np.ndarray] = {}
        for index in folder.glob("*.json"):
            for key in json.loads(index.read_text()):
                row = FeatureCache(folder).rows([key])
                if not np.isfinite(row).all() or not np.array_equal(row, first.setdefault(key, row)):
                    return False
    return True


@pytest.mark.parametrize("number", range(5))
def test_ten_publishers_that_race_all_stay_in_the_log(store: Store, tmp_path: Path, number: int, tally: Tally):
    with tally.attempt("racing_publishers", 10):
        versions = promote_at_once(store, tmp_path, 10)
        assert sorted(entry.version for entry in history(store)) == versions
        assert champion(open_store(store.url)) == history(store)[-1]
        assert all(fetch_version(store, version, tmp_path / version).run == version for version in versions)


def test_a_rollback_during_a_publication_is_kept(store: Store, tmp_path: Path, tally: Tally):
    rng, refused, rounds = random.Random(SEED), 0, 12
    promoted(store, tmp_path, "monday", "tuesday")
    for number in range(rounds):
        with tally.attempt("rollbacks_during_publication"):
            before, waits = history(store), (rng.uniform(0, 0.05), rng.uniform(0, 0.05))
            with open_run(f"run{number}", Locations(store=store.url, cache=tmp_path / "cache")) as run:
                files = candidate(run, b"model %d" % number, before[-1].version)
                said = at_once(
                    lambda run=run, files=files: promote_candidate(run, files, FACTS),
                    lambda to="2" if number % 2 == 0 else "1": rollback(open_store(store.url), "worse on children", to),
                    waits=waits,
                )
            after = history(store)
            assert [entry.key for entry in after[: len(before)]] == [entry.key for entry in before]
            new = after[len(before) :]
            assert not isinstance(said[1], Exception) or "is the champion already" in str(said[1])
            if isinstance(said[0], MissingInputError):
                refused += 1
                assert [entry.run for entry in new] == [None]
            else:
                assert said[0]["promoted"]
                assert f"run{number}" in [entry.run for entry in new]
            if [entry.run for entry in new] == [None, f"run{number}"]:
                assert new[-1].raced  # the log says that it did not see the rollback
    tally.note("rollbacks_during_publication", refused=refused)


def at_once(*actions: Callable, waits: tuple[float, ...]) -> list[object]:
    """What each action returned, or the error it ended with; each begins after its wait, in a thread of its own."""
    results: list[object] = [None] * len(actions)

    def act(at: int) -> None:
        threading.Event().wait(waits[at])
        try:
            results[at] = actions[at]()
        except AgeTasksError as error:
            results[at] = error

    threads = [threading.Thread(target=act, args=(at,)) for at in range(len(actions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize("in_place", [False, True], ids=["renamed", "written over"])
def test_labels_replaced_during_a_snapshot_are_read_entirely_before_or_after(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_place: bool, tally: Tally
):
    rng, rounds = random.Random(SEED), 30
    old = sample.labels.read_bytes()
    header, *lines = old.splitlines(keepends=True)
    new = header + b"".join(reversed(lines[: len(lines) // 2]))
    labels, taken = tmp_path / "labels.csv", []
    point_at(monkeypatch, tmp_path, labels)
    monkeypatch.setenv("AGE_IMAGES", str(sample.images))

    def write(labels: Path, content: bytes) -> None:
        beside = labels if in_place else labels.with_suffix(".new")
        beside.write_bytes(content)
        beside.replace(labels)

    for number in range(rounds):
        with tally.attempt("labels_replaced"):
            write(labels, old)
            writer = threading.Thread(target=lambda: (time.sleep(rng.uniform(0, 0.3)), write(labels, new)))
            writer.start()
            assert main(["snapshot", "--run", f"run{number}", "--recipe", "demo"]) == 0
            writer.join()
            with open_run(f"run{number}", Locations.from_env()) as run:
                frozen = run.input("snapshot", "labels.csv").read_bytes()
                table = pd.read_csv(run.input("snapshot", "snapshot.csv"), dtype="str", keep_default_na=False)
            assert frozen in (old, new)
            names = [line.split(b",")[0].decode() for line in frozen.splitlines()[1:]]
            assert table["file_name"].tolist() == names
            taken.append(frozen == new)
    tally.note("labels_replaced", new_taken=sum(taken))


def test_images_replaced_after_the_snapshot_are_named_and_a_new_snapshot_accepts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tally: Tally
):
    with tally.attempt("images_replaced", 3):
        sample = draw_sample(tmp_path / "faces", 110, seed=3)
        point_at(monkeypatch, tmp_path, sample.labels)
        monkeypatch.setenv("AGE_RUN", "run")
        settings = overrides(QUICK | {"model.image_size": 32, "baseline.epochs": 1})

        def until(last: str) -> int:
            stages = ("snapshot", "validate", "split", "baseline")
            for stage in stages[: stages.index(last) + 1]:
                if code := main([stage, *(["--recipe", "demo", *settings] if stage == "snapshot" else [])]):
                    return code
            return 0

        assert until("split") == 0
        replaced = random.Random(SEED).sample(sorted(path.name for path in sample.images.iterdir()), 3)
        for name in replaced:
            other = draw_sample(tmp_path / f"another {name}", 1, seed=int(name.partition(".")[0]) + 1000)
            shutil.copy(next(other.images.iterdir()), sample.images / name)
        assert main(["baseline"]) == 65
        said = capsys.readouterr().err
        assert any(
            f"{name} and 2 more were replaced in {sample.images} after the snapshot" in said for name in replaced
        )
        assert until("baseline") == 0
        assert whole(tmp_path / "cache" / "features")
