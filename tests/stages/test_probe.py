"""Images read by several workers before `snapshot`."""

import itertools
import json
from functools import partial
from pathlib import Path

import pytest

from age_tasks.cli import shares
from age_tasks.cli.app import main
from age_tasks.data import probes
from age_tasks.data.probes import stored_probes
from age_tasks.progress import Progress
from age_tasks.runs.live_status import LiveStatus, shared_status_of_share, statuses_of_shares
from age_tasks.stages import probe
from age_tasks.store.files import FileStore
from tests.support.shares import Killed, do_at_once, do_share
from tests.support.waiting import wait_until

SHARES = ("1/3", "2/3", "3/3")


def snapshot(capsys: pytest.CaptureFixture[str]) -> dict[str, int]:
    """The summary of a snapshot."""
    capsys.readouterr()
    assert main(["snapshot", "--run", "monday"]) == 0
    summary: dict[str, int] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return summary


def alone(root: Path, monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, str, str]]:
    """What a snapshot without workers leaves in a cache of its own."""
    with monkeypatch.context() as patch:
        patch.setenv("AGE_CACHE", str(root / "alone"))
        assert main(["snapshot", "--run", "alone"]) == 0
    return set(stored_probes(root / "alone"))


@pytest.mark.parametrize("order", [*itertools.permutations(SHARES)][::2])
def test_a_snapshot_reads_nothing_after_its_workers(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, order: tuple[str, ...]
):
    done = [do_share(capsys, monkeypatch, share, "probe") for share in order]
    known = set(stored_probes(place / "cache"))
    summary = snapshot(capsys)
    assert [each["share"] for each in done] == list(order)
    assert sum(each["images"] for each in done) == summary["images"]
    assert sum(each["images_read"] for each in done) == len(known)
    assert summary["images_read"] == 0
    assert known == alone(place, monkeypatch)


def test_workers_at_once_write_to_one_index(place: Path, capsys: pytest.CaptureFixture[str], monkeypatch):
    do_at_once(SHARES, "probe")
    assert snapshot(capsys)["images_read"] == 0
    assert set(stored_probes(place / "cache")) == alone(place, monkeypatch)


def test_a_share_that_was_killed_goes_on_where_it_was(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(probes, "_COMMIT_EVERY", 10)
    monkeypatch.setattr(probes, "READERS", 1)
    whole, seen = probes.probe_file, itertools.count()

    def killed(path: Path) -> probes.Probe:
        if next(seen) == 25:
            raise Killed
        return whole(path)

    with monkeypatch.context() as patch:
        patch.setattr(probes, "probe_file", killed)
        with pytest.raises(Killed):
            do_share(capsys, monkeypatch, "2/3", "probe")
    kept = len(stored_probes(place / "cache"))
    assert kept == 20
    again = do_share(capsys, monkeypatch, "2/3", "probe")
    assert again["images_read"] == len(stored_probes(place / "cache")) - kept
    assert do_share(capsys, monkeypatch, "2/3", "probe")["images_read"] == 0


def test_a_share_says_on_the_run_s_pages_and_in_its_log_how_far_it_is(
    place: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.setenv("AGE_RUN", "monday")
    monkeypatch.setattr(probes, "READERS", 1)
    monkeypatch.setattr(shares, "shared_status_of_share", partial(shared_status_of_share, every_seconds=0.01))
    monkeypatch.setattr(probe, "Progress", partial(Progress, every_seconds=0))
    store, whole, seen = FileStore(place / "store"), probes.probe_file, itertools.count()
    said: dict[tuple[int, int], LiveStatus] = {}

    def watched(path: Path) -> probes.Probe:
        if next(seen) == 20:
            wait_until(lambda: said.update(statuses_of_shares(store, "monday", "probe")) or said)
        return whole(path)

    monkeypatch.setattr(probes, "probe_file", watched)
    with caplog.at_level("INFO"):
        done = do_share(capsys, monkeypatch, "2/3", "probe")
    (status,) = said.values()
    assert [*said] == [(2, 3)]
    assert status.what == "images read, share 2/3"
    assert 0 < status.done < status.total == done["images_read"]
    assert f"images read, share 2/3: {status.done} of {status.total}" in caplog.text
    assert store.list() == []


def test_again_reads_the_files_of_the_share_anew(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    first = do_share(capsys, monkeypatch, "1/3", "probe")
    assert do_share(capsys, monkeypatch, "1/3", "probe", "--again")["images_read"] == first["images_read"] > 0


def test_labels_that_cannot_be_read_fail_with_the_words_of_snapshot(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AGE_LABELS", str(place / "none.csv"))
    assert main(["probe"]) == main(["snapshot"])
    assert "probe: no labels file at" in capsys.readouterr().err


def test_workers_on_several_machines_exchange_what_they_have_read(place: Path, capsys, monkeypatch):
    monkeypatch.setenv("AGE_CACHE_REMOTE", str(place / "remote"))
    for share in SHARES:
        monkeypatch.setenv("AGE_CACHE", str(place / f"machine-{share[0]}"))
        do_share(capsys, monkeypatch, share, "probe")
    monkeypatch.setenv("AGE_CACHE", str(place / "another"))
    summary = snapshot(capsys)
    assert summary["images_read"] == len([each for each in stored_probes(place / "another") if each[2]])
    assert set(stored_probes(place / "another")) == alone(place, monkeypatch)
