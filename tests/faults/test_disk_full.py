"""A full disk in each stage: for the store, the cache, or what a stage writes before it is done."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from age_tasks.cli.app import main
from age_tasks.demo.synthetic_faces import Sample
from age_tasks.errors import DiskFullError
from age_tasks.pipeline import STAGES
from age_tasks.runs.run import Workspace
from age_tasks.stages import publish
from age_tasks.store.base import file_sha256
from age_tasks.store.files import FileStore
from tests.faults.tally import Tally
from tests.support.builders import NOT_EXPORTED
from tests.support.settings import QUICK, overrides, point_at
from tests.support.small_disk import NotPossibleHere, filled, small_disk

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]
MEGABYTES = 200
PLACES = {"AGE_STORE": "store", "AGE_CACHE": "cache", "TMPDIR": "scratch"}
CACHING = ("snapshot", "baseline", "finetune")
CASES = [
    (stage, place, left)
    for stage in STAGES
    for place in PLACES
    for left in (0, 40_000)
    if place != "AGE_CACHE" or stage in CACHING
]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    try:
        with small_disk(tmp_path / "disk", MEGABYTES) as disk:
            yield disk
    except NotPossibleHere as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(("stage", "place", "left"), CASES)
def test_a_full_disk_is_named_and_the_stage_succeeds_once_there_is_space(
    stage: str,
    place: str,
    left: int,
    finished: Workspace,
    sample: Sample,
    disk: Path,
    tmp_path: Path,
    monkeypatch,
    capsys,
    tally: Tally,
):
    with tally.attempt("full_disks"):
        folders = {name: tmp_path / folder for name, folder in PLACES.items()} | {place: disk / PLACES[place]}
        earlier = STAGES[: STAGES.index(stage)]
        copied = copy_of(finished, folders["AGE_STORE"], earlier)
        point_at(monkeypatch, tmp_path, sample.labels)
        monkeypatch.setenv("AGE_STORE", str(folders["AGE_STORE"]))
        monkeypatch.setenv("AGE_CACHE", str(folders["AGE_CACHE"]))
        folders["TMPDIR"].mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(folders["TMPDIR"]))
        monkeypatch.setattr(publish, "_export", lambda *_: NOT_EXPORTED)
        before = contents(copied)
        given = [stage, "--run", "finished", *(["--recipe", "demo", *overrides(QUICK)] if not earlier else [])]
        with filled(disk, left):
            code = main(given)
        said = capsys.readouterr().err
        assert "Traceback" not in said
        assert code == (DiskFullError.exit_code if code or not left else 0)
        if code:
            assert f"no space left on the disk of {disk}" in said
            assert f"({place})" in said
        assert {key: digest for key, digest in contents(copied).items() if key in before} == before
        assert main(given) == 0
        assert not list(tmp_path.rglob(".tmp-*"))


def copy_of(run: Workspace, folder: Path, stages: tuple[str, ...]) -> FileStore:
    """A store with what these stages of a finished run have left."""
    copied = FileStore(folder)
    for key in run.store.list("runs/"):
        if key.split("/")[2] in {*stages, "run.json"}:
            copied.put(key, run.store.get(key))
    return copied


def contents(store: FileStore) -> dict[str, str]:
    """The sha256 of all that stages have written."""
    return {key: file_sha256(Path(store.where(key))) for key in store.list("runs/") if not key.endswith("run.json")}
