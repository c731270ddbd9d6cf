import os
import time
from pathlib import Path

import pytest

from age_tasks.cli.app import main
from age_tasks.data.exchanged_probes import VERSION
from age_tasks.errors import SettingsError
from age_tasks.maintenance.prune import STALE_SECONDS, UNUSED_SECONDS, delete, prunable, stale_temporaries
from age_tasks.registry.labels_acceptance import LabelsAcceptance, acceptance_of, put_acceptance
from age_tasks.registry.promotions import VERSIONS, champion, fetch_version, history, promote, publish_version
from age_tasks.runs.index import announce_record, announce_start, run_facts
from age_tasks.runs.listing import newest_run
from age_tasks.runs.records import RunSettings
from age_tasks.store.base import Store
from age_tasks.store.documents import FileDigest
from age_tasks.store.files import FileStore
from tests.support.records import put_record, stage_record


@pytest.fixture
def runs(tmp_path: Path) -> Store:
    """Six weekly runs: the second promoted its model, the third assigned the splits, the fifth reuses the fourth."""
    store = FileStore(tmp_path / "store")
    for week in range(1, 7):
        started(store, f"week{week}", f"2026-01-{7 * week:02d}")
    version(store, tmp_path, "week1-0a")
    version(store, tmp_path, "week2-0b")
    version(store, tmp_path, "week6-0c")
    promote(store, "week2-0b", "gate passed", run="week2")
    record(store, "week3", "split")
    record(store, "week4", "baseline")
    record(store, "week5", "baseline", reused_from="week4")
    store.put("results/baseline/f1.json", b'{"run": "week4"}')
    store.put("results/baseline/f0.json", b'{"run": "week1"}')
    return store


def started(store: Store, run: str, at: str) -> None:
    settings = RunSettings(config={}, labels="labels.csv", images="images", created=at)
    announce_start(store, run, settings)
    store.put(f"runs/{run}/run.json", settings.to_bytes())
    store.put(f"runs/{run}/finetune/model.keras", b"weights")
    store.put(f"reports/{run}.html", b"report")


def record(store: Store, run: str, stage: str, **more: str) -> None:
    put_record(store, stage, run, finished=f"2026-01-0{run[-1]}T00:00:00.000+00:00", **more)


def version(store: Store, folder: Path, name: str) -> None:
    (folder / "model.keras").write_bytes(b"weights")
    publish_version(store, name, {"model.keras": folder / "model.keras"}, {"run": name.partition("-")[0]})


def test_runs_that_nothing_depends_on_are_prunable(runs: Store):
    found = prunable(runs, keep=2)
    assert set(found) == {"run week1", "version week1-0a"}
    assert {entry.key for entry in found["run week1"]} == {
        "runs/week1/run.json",
        "runs/week1/finetune/model.keras",
        "reports/week1.html",
        "results/baseline/f0.json",
    }


def test_delete_removes_exactly_what_was_listed(runs: Store, tmp_path: Path):
    before = without_index(runs)
    found = prunable(runs, keep=1)
    assert set(found) == {"run week1", "run week4", "run week5", "version week1-0a"}
    delete(runs, found)
    assert before - without_index(runs) == {entry.key for entries in found.values() for entry in entries}
    assert prunable(runs, keep=1) == {}
    assert fetch_version(runs, champion(runs).version, tmp_path / "champion").run == "week2"


def without_index(store: Store) -> set[str]:
    return {key for key in store.list() if not key.startswith("index/")}


def test_what_was_removed_is_gone_from_the_index(runs: Store):
    assert set(run_facts(runs)) == {f"week{week}" for week in range(1, 7)}
    record(runs, "week1", "finetune")
    announce_record(runs, stage_record("publish", "week7"))  # its writer was killed here
    delete(runs, prunable(runs, keep=2))
    assert set(run_facts(runs)) == {f"week{week}" for week in range(2, 7)}
    assert len(runs.list("index/changes/")) == 0
    assert newest_run(runs, ["finetune"]) is None
    assert [entry.version for entry in history(runs)] == ["week2-0b"]


def test_an_incomplete_version_of_a_kept_run_is_kept(runs: Store):
    runs.put(f"{VERSIONS}week6-0d/model.keras", b"on its way")
    runs.put(f"{VERSIONS}week1-0e/model.keras", b"its publisher was killed long ago")
    found = prunable(runs, keep=1)
    assert "version week6-0d" not in found
    assert "version week1-0e" in found


def test_keeping_no_run_is_refused(runs: Store):
    with pytest.raises(SettingsError, match="--keep 0"):
        prunable(runs, keep=0)


def test_temporary_files_are_removed_a_day_after_their_last_write(runs: Store, tmp_path: Path, monkeypatch, capsys):
    left, at_work = (tmp_path / folder / ".tmp-k1lled" for folder in ("store/runs/week1", "cache/features"))
    for path in (left, at_work):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half of i")
    os.utime(left, (0, time.time() - STALE_SECONDS - 60))
    assert stale_temporaries([tmp_path / "store", tmp_path / "cache"]) == {left: 9}
    for name in ("store", "cache"):
        monkeypatch.setenv(f"AGE_{name.upper()}", str(tmp_path / name))
    assert main(["prune"]) == 0
    assert f"0.0 MB  {left}, incomplete write" in capsys.readouterr().out
    assert left.exists()
    assert main(["prune", "--delete"]) == 0
    assert (left.exists(), at_work.exists()) == (False, True)


def test_local_copies_of_images_are_removed_when_unused_for_a_month(runs: Store, tmp_path: Path, monkeypatch, capsys):
    old, used = (tmp_path / "cache" / "images" / "bucket" / name for name in ("0ld", "u5ed"))
    for path in (old, used):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"an image")
    os.utime(old, (0, time.time() - UNUSED_SECONDS - 60))
    monkeypatch.setenv("AGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("AGE_STORE", str(tmp_path / "store"))
    assert main(["prune", "--delete"]) == 0
    assert "1 local copies of images, unused for 30 days" in capsys.readouterr().out
    assert (old.exists(), used.exists()) == (False, True)


def test_who_accepted_labels_is_kept_as_long_as_a_run_with_these_labels(runs: Store):
    for run, digest in (("week1", "1" * 64), ("week6", "6" * 64)):
        record(runs, run, "snapshot", outputs={"labels.csv": FileDigest(sha256=digest, bytes=1)})
        facts = {"labels_sha256": digest, "run": run, "previous_run": "week0", "distance": 0.4}
        put_acceptance(runs, LabelsAcceptance(**facts, at="2026-01-01T00:00:00+00:00", who="ann", why="adults"))
    found = prunable(runs, keep=2)
    assert set(found) == {"run week1", "version week1-0a", "acceptances of labels"}
    delete(runs, found)
    assert acceptance_of(runs, "1" * 64) is None
    assert acceptance_of(runs, "6" * 64).who == "ann"


def test_what_nothing_reads_in_the_exchange_of_caches_is_removed(
    runs: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("AGE_STORE", runs.url)
    monkeypatch.setenv("AGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("AGE_CACHE_REMOTE", str(tmp_path / "remote"))
    remote = FileStore(tmp_path / "remote")
    kept = {"features/p/whole.json", "features/p/whole.npy", f"{VERSION}x.json"}
    for key in (*kept, "features/p/part.npy", "probes/probes-1.1/x.json"):
        remote.put(key, b"[]")
    assert main(["prune", "--keep", "6"]) == 0
    assert "features/p/part.npy, no longer read" in capsys.readouterr().out
    assert len(remote.list()) == 5
    assert main(["prune", "--keep", "6", "--delete"]) == 0
    assert set(remote.list()) == kept
