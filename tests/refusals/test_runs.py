"""Runs, their files and the folders that they are in, where something is refused."""

import json
import os
import re
import shlex
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from age_tasks.config import Config
from age_tasks.data import probes
from age_tasks.data.labels_file import content_sha256
from age_tasks.demo.synthetic_faces import draw_sample
from age_tasks.environment import Locations
from age_tasks.runs.keys import record_file, result_file, run_file
from age_tasks.runs.listing import newest_run
from age_tasks.runs.records import RunSettings, StageRecord
from age_tasks.runs.run import StoredRun, open_run, start_run
from age_tasks.runs.runner import Needs, execute_stage
from age_tasks.store import open_store
from age_tasks.store.base import Store
from age_tasks.store.disk import require_room
from age_tasks.store.files import FileStore
from age_tasks.store.output_file import output_file
from tests.support.records import put_record
from tests.support.refusals import walks
from tests.support.settings import QUICK, overrides
from tests.support.tars import tar_of
from tests.support.walks import Walk, command

RUN = "runs/run.py"


@pytest.fixture
def labelled(here: Path) -> Store:
    """Labels of three images, and an empty store."""
    draw_sample(here / "faces", 3, seed=1)
    for name in ("labels.csv", "images"):
        (here / "faces" / name).rename(here / name)
    os.utime(here / "labels.csv", (0, 0))
    return open_store(Locations.from_env().store)


def told(refused: Walk) -> Callable[[], int]:
    """The command that the message names."""
    words = re.search(r"`(?:age-tasks|python -m age_tasks) ([^`]+)`", refused.message)
    assert words, refused.message
    return command(*shlex.split(words[1]))


@walks(RUN, "settings: run {} is not in {}; start it with `{}`")
def test_a_run_that_was_never_started(refused: Walk, labelled: Store):
    again = refused(command("summary", "--run", "x"), "run x", labelled.url, "snapshot --run x")
    again(told(refused))
    again()


@walks(RUN, "config: run {} was started with other settings")
def test_a_run_of_a_version_with_other_settings(refused: Walk, labelled: Store):
    settings = Config().to_dict() | {"colour": {"red": 3}}
    run = RunSettings(config=settings, labels="labels.csv", images="images", created="")
    labelled.put(run_file("x"), run.to_bytes())
    again = refused(command("snapshot", "--run", "x"), "run x", "colour", "snapshot --run x --recipe NAME")
    again(command("snapshot", "--run", "x", "--recipe", "demo"))
    again()


@walks(RUN, "require_record: run {}: {} {}; run `{}`")
def test_a_stage_that_has_not_run(refused: Walk, labelled: Store):
    with open_run("x", Locations.from_env()) as run:
        start_run(run, Config(), Locations.from_env())
    again = refused(command("validate", "--run", "x"), "run x", "snapshot has not run", "snapshot --run x")
    again(told(refused))
    assert again(lambda: StoredRun("x", labelled).require_record("snapshot")).done


@walks(RUN, "require_record: run {}: {} {}; run `{}`")
def test_a_stage_that_failed(refused: Walk, labelled: Store, here: Path):
    good = (here / "labels.csv").read_bytes()
    (here / "labels.csv").write_bytes(b"%PDF")
    assert command("snapshot", "--run", "x")() == 65
    again = refused(command("validate", "--run", "x"), "snapshot failed", "is a PDF", "snapshot --run x")
    (here / "labels.csv").write_bytes(good)
    again(told(refused))
    assert again(lambda: StoredRun("x", labelled).require_record("snapshot")).done


def lose_output(store: Store) -> None:
    store.delete("runs/x/snapshot/labels.csv")


def change_output(store: Store) -> None:
    store.put("runs/x/snapshot/labels.csv", b"changed")


def lose_entry(store: Store) -> None:
    record = json.loads(store.get(record_file("x", "snapshot")))
    record["outputs"].pop("labels.csv")
    store.put(record_file("x", "snapshot"), json.dumps(record).encode())


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        pytest.param(lose_output, "is gone", marks=walks(RUN, "which {} wrote, is gone; run {}")),
        pytest.param(change_output, "sha256 differs", marks=walks(RUN, "is not what {} wrote (sha256 differs)")),
        pytest.param(lose_entry, "snapshot wrote no labels.csv", marks=walks(RUN, "_output: run {}: {} wrote no {}")),
    ],
)
def test_an_output_that_was_lost(refused: Walk, labelled: Store, damage: Callable[[Store], None], says: str):
    assert command("snapshot", "--run", "x")() == 0
    damage(labelled)
    with open_run("x", Locations.from_env()) as run:
        again = refused(lambda: run.input("snapshot", "labels.csv"), says, "snapshot --run x --again")
        again(told(refused))
        assert again().is_file()


@walks("stages/split.py", "which says where run {} had its images, is gone or damaged")
def test_own_assignments_that_are_lost_after_a_failure(refused: Walk, place: Path):
    few = ["--recipe", "demo", *overrides(QUICK)]
    for stage in ("snapshot", "validate", "split"):
        assert command(stage, "--run", "x", *few)() == 0
    store = open_store(Locations.from_env().store)
    store.delete(record_file("x", "split"))
    kept = store.get("runs/x/split/assignments.csv")
    store.delete("runs/x/split/assignments.csv")
    again = refused(command("split", "--run", "x"), "runs/x/split/assignments.csv", "split --run x --again")
    again(told(refused))
    store.delete(record_file("x", "split"))
    store.delete("runs/x/split/assignments.csv")
    refused(command("split", "--run", "x"), "bring it back")
    store.put("runs/x/split/assignments.csv", kept)
    again()


@walks(RUN, "read: run {}: {} has no output {}")
def test_an_output_that_is_not_there_yet(refused: Walk, labelled: Store):
    run = StoredRun("x", labelled)
    again = refused(lambda: run.read("snapshot", "labels.csv"), "run x", "labels.csv", "snapshot --run x")
    again(told(refused))
    again()


@walks(RUN, "start_run: run {} would replace run {}")
def test_a_run_id_that_a_disk_takes_for_another(refused: Walk, labelled: Store):
    run = RunSettings(id="X", config={}, labels="labels.csv", images="images", created="")
    labelled.put(run_file("x"), run.to_bytes())
    again = refused(command("snapshot", "--run", "x", "--recipe", "demo"), "'x'", "'X'", "choose another run id")
    again(command("snapshot", "--run", "y", "--recipe", "demo"))


@walks("cli/stage.py", "no run in {} has finished {}; start with")
def test_no_run_has_the_inputs(refused: Walk, labelled: Store):
    again = refused(command("validate"), labelled.url, "snapshot")
    again(command("snapshot", "--run", "x"))
    assert again(lambda: newest_run(labelled, ["snapshot"])) == "x"


@walks("reports/run_summary.py", "start one with `age-tasks run`")
def test_no_run_to_sum_up(refused: Walk, labelled: Store):
    again = refused(command("summary"), labelled.url, "age-tasks run")
    again(command("snapshot"))  # the first stage of `run`
    again()


@walks("runs/runner.py", "AGE_CACHE={} can't be a folder")
def test_a_cache_that_is_no_folder(refused: Walk, labelled: Store, here: Path, monkeypatch: pytest.MonkeyPatch):
    (here / "cache").touch()
    again = refused(command("snapshot"), f"AGE_CACHE={here / 'cache'}", "File exists", "choose another")
    monkeypatch.setenv("AGE_CACHE", str(here / "other"))
    again()


@walks("data/probes.py", "or choose another (AGE_CACHE)")
def test_a_cache_that_another_run_blocks(refused: Walk, labelled: Store, here: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probes, "LOCKED_SECONDS", 0)
    (here / "cache").mkdir()
    with sqlite3.connect(here / "cache" / probes.INDEX, isolation_level=None) as blocks:
        blocks.execute("BEGIN EXCLUSIVE")
        again = refused(command("snapshot"), here / "cache", "locked", "end what else uses it", "AGE_CACHE")
        monkeypatch.setenv("AGE_CACHE", str(here / "other"))
        again()
        blocks.execute("ROLLBACK")
    monkeypatch.setenv("AGE_CACHE", str(here / "cache"))
    again()


@pytest.mark.parametrize("damage", [b"no database", b"SQLite format 3\0" + b"\7" * 5000, b""])
def test_a_damaged_index_of_images_is_replaced(labelled: Store, here: Path, damage: bytes):
    assert command("snapshot")() == 0
    (here / "cache" / probes.INDEX).write_bytes(damage)
    for _ in range(2):
        assert command("snapshot")() == 0
    assert len(probes.stored_probes(here / "cache")) == 3


@walks("store/disk.py", "check the folder and its permissions, or choose")
@pytest.mark.parametrize("out", ["taken", "taken/below"])
def test_a_folder_that_can_t_be_made(refused: Walk, labelled: Store, here: Path, out: str):
    (here / "taken").touch()
    given = ["labels", "audit", "--labels", here / "labels.csv", "--out"]
    again = refused(command(*given, here / out), here / "taken", "choose another (--out)")
    again(command(*given, here / "free"))
    (here / "taken").unlink()
    again()


@walks("store/disk.py", "no space left on the disk of")
def test_a_full_disk(refused: Walk, tmp_path: Path):
    again = refused(lambda: require_room(tmp_path, "AGE_CACHE", 10**18), tmp_path, "choose another folder (AGE_CACHE)")
    again(lambda: require_room(tmp_path, "AGE_CACHE", 1))


@walks("store/base.py", "not_found: {}: not found; {}")
def test_an_object_that_is_gone(refused: Walk, tmp_path: Path):
    store = FileStore(tmp_path)
    again = refused(lambda: store.get("a"), tmp_path / "a", "restore it, or run again what writes it")
    store.put("a", b"content")
    again()


@walks("store/output_file.py", "names no file to write")
@pytest.mark.parametrize("address", ["s3://bucket", "tables/"])
def test_an_address_of_no_file(refused: Walk, here: Path, s3: object, address: str):
    address = address.replace("bucket", "age").replace("tables", str(here / "tables"))
    again = refused(partial(output_file, address), address, "put the name of a file behind it")
    again(partial(output_file, f"{address.rstrip('/')}/ages.csv"))


@walks("store/output_file.py", "is a folder, no file to write")
def test_a_folder_in_place_of_a_file(refused: Walk, here: Path):
    again = refused(partial(output_file, str(here)), here, "put the name of a file behind it")
    again(partial(output_file, str(here / "ages.csv")))


@walks("store/output_file.py", "nothing can be written to {}")
def test_a_file_in_a_folder_that_can_t_be_written_to(refused: Walk, here: Path):
    (here / "taken").touch()
    again = refused(partial(output_file, str(here / "taken" / "ages.csv")), here / "taken", "choose another folder")
    again(partial(output_file, str(here / "ages.csv")))
    (here / "taken").unlink()
    again()


@walks("store/base.py", "where at most {} MB are fetched; put a smaller file there")
def test_an_object_larger_than_is_fetched(refused: Walk, tmp_path: Path):
    store = FileStore(tmp_path / "store")
    store.put("film.mp4", bytes(3_000_000))
    fetch = partial(store.fetch, "film.mp4", tmp_path / "copy", 1_000_000)
    again = refused(fetch, tmp_path / "store" / "film.mp4", "3 MB", "at most 1 MB")
    store.put("film.mp4", b"an image")
    again()


@walks("store/files.py", "check the folder and its permissions")
def test_a_store_that_is_no_folder(refused: Walk, tmp_path: Path):
    (tmp_path / "store").touch()
    store = FileStore(tmp_path / "store")
    again = refused(lambda: store.put("a", b"content"), tmp_path / "store", "check the folder")
    (tmp_path / "store").unlink()
    again()


PARSE = walks("store/documents.py", "restore the file, or {}")


@PARSE
def test_a_damaged_record_of_a_stage(refused: Walk, labelled: Store, here: Path):
    assert command("snapshot", "--run", "x")() == 0
    labelled.put(record_file("x", "snapshot"), b"{")
    again = refused(command("validate", "--run", "x"), "stage.json", "Invalid JSON", "remove it", "counts as not run")
    labelled.delete(record_file("x", "snapshot"))
    again(command("snapshot", "--run", "x"))
    again(lambda: StoredRun("x", labelled).require_record("snapshot"))


@PARSE
def test_damaged_settings_of_a_run(refused: Walk, labelled: Store):
    labelled.put(run_file("x"), b'{"config": 3}')
    again = refused(command("snapshot", "--run", "x"), "run.json", "remove it and start the run again")
    labelled.delete(run_file("x"))
    again()


@PARSE
def test_a_damaged_pointer_to_a_result(refused: Walk, labelled: Store):
    def stage(run_key: str, name: str, needs: Needs) -> object:
        with open_run(run_key, Locations.from_env()) as run:
            start_run(run, Config(), Locations.from_env())
            return execute_stage(name, needs, lambda: lambda run, config: {}, run, Config())

    stage("one", "first", Needs())
    made = stage("one", "second", Needs(("first",)))
    stage("two", "first", Needs())
    pointer = result_file("second", made.fingerprint)
    labelled.put(pointer, b"")
    again = refused(lambda: stage("two", "second", Needs(("first",))), labelled.where(pointer), "computed again")
    labelled.delete(pointer)
    again()


@walks("store/documents.py", "reads up to {}: update it")
def test_a_record_of_a_newer_version(refused: Walk, labelled: Store, monkeypatch: pytest.MonkeyPatch):
    put_record(labelled, "snapshot", "x", schema_version=99)
    again = refused(partial(StoredRun("x", labelled).record, "snapshot"), "stage.json", "version 99", "update it")
    monkeypatch.setattr(StageRecord.model_fields["schema_version"], "default", 99)
    again()


@walks("maintenance/prune.py", "at least the newest run must be kept")
def test_prune_keeps_something(refused: Walk, here: Path):
    again = refused(command("prune", "--keep", 0), "--keep 0", "give 1 or more")
    again(command("prune", "--keep", 1))


@walks("maintenance/traces.py", "write it as labels.csv does")
def test_forget_of_a_name_that_is_written_otherwise(refused: Walk, labelled: Store, here: Path):
    assert command("snapshot", "--run", "x")() == 0
    again = refused(command("forget", "images/00000.jpg"), "'images/00000.jpg'", labelled.url, "as labels.csv does")
    again(command("forget", "00000.jpg"))
    again(command("forget", "0" * 64))


@pytest.fixture
def validated(here: Path) -> Store:
    """A run `x` whose labels are accepted, after a run `t` that was trained on nearly the same."""
    rows = [(n, f"{n}.jpg", 1 + n * 37 % 90, f"{n:064x}", content_sha256(b"%d" % n)) for n in range(120)]
    accepted = pd.DataFrame(rows, columns=["line", "file_name", "real_age", "sha256", "dhash"])
    store = open_store(Locations.from_env().store)
    for run, stage, name, table in (
        ("x", "validate", "accepted.csv", accepted),
        ("t", "split", "assignments.csv", accepted[["sha256", "dhash"]].assign(split="train")[:117]),
    ):
        content = table.to_csv(index=False).encode()
        store.put(f"runs/{run}/{stage}/{name}", content)
        digest = {"sha256": content_sha256(content), "bytes": len(content)}
        put_record(store, stage, run, outputs={name: digest}, settings={"split": {}})
    put_record(store, "finetune", "t")
    with open_run("x", Locations.from_env()) as run:
        start_run(run, Config().with_overrides({"data.min_new_labels": 5}), Locations.from_env())
    return store


@walks("stages/preconditions.py", "at least {} are required")
@pytest.mark.parametrize("way_out", [["--again"], ["--set", "data.min_new_labels=3"]])
def test_too_few_new_labels(refused: Walk, validated: Store, way_out: list[str]):
    again = refused(command("split", "--run", "x"), "3 new labels since run t", "data.min_new_labels", "`again`")
    again(command("split", "--run", "x", *way_out))


@walks("stages/split.py", "correct or remove them first")
def test_an_age_that_nobody_has(refused: Walk, tmp_path: Path):
    labels = tmp_path / "labels.csv"
    good = "file_name,real_age\n" + "".join(f"{n}.jpg,{n * 37 % 90}\n" for n in range(100))
    labels.write_text(good + "x.jpg,2014\n")
    given = ["labels", "split", "--labels", labels, "--out", tmp_path / "out"]
    again = refused(command(*given), labels, "line 102", "'2014'", "between 0 and 120", "correct or remove")
    labels.write_text(good)
    again()


FOUND = "serving/found_images.py"


@pytest.mark.parametrize(
    ("place", "says", "correct"),
    [
        pytest.param("x" * 300, ["File name too long", "check the path"], "images",
                     marks=walks(FOUND, "check the path and its permissions")),
        pytest.param("empty", ["no image in this folder", "name a folder that holds images"], "images",
                     marks=walks(FOUND, "name a folder that holds images")),
        pytest.param("a.jpg", ["no such image, folder or table", "check the path"], "images/a.jpg",
                     marks=walks(FOUND, "no such image, folder or table")),
        pytest.param("wrong.csv", ["line 2: '../images/a.jpg'", "list images beside the table, or below it"],
                     "right.csv", marks=walks(FOUND, "list images beside the table")),
    ],
)  # fmt: skip
def test_images_to_predict(refused: Walk, tmp_path: Path, place: str, says: list[str], correct: str):
    from age_tasks.serving.found_images import find_images

    (tmp_path / "images").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "images" / "a.jpg").touch()
    (tmp_path / "wrong.csv").write_text("file_name\n../images/a.jpg\n")
    (tmp_path / "right.csv").write_text("file_name\nimages/a.jpg\n")
    again = refused(lambda: find_images([tmp_path / place], tmp_path), tmp_path, *says)
    (image,) = again(lambda: find_images([tmp_path / correct], tmp_path))
    assert image.file() == tmp_path / "images" / "a.jpg"


@walks(FOUND, "no image in these tar files")
def test_tar_files_to_predict_that_hold_no_images(refused: Walk, tmp_path: Path):
    from age_tasks.serving.found_images import find_images

    (tmp_path / "labels.tar").write_bytes(tar_of({"a.json": b"{}"}))
    (tmp_path / "faces.tar").write_bytes(tar_of({"a.jpg": b"a"}))
    place = f"{tmp_path}/labels.tar"
    again = refused(lambda: find_images([place], tmp_path / "cache"), place, "name others, whose members are images")
    (image,) = again(lambda: find_images([f"{tmp_path}/faces.tar"], tmp_path / "cache"))
    assert image.file().read_bytes() == b"a"


@walks(FOUND, "file: {}")
def test_an_image_that_a_table_lists_and_is_not_there(refused: Walk, tmp_path: Path):
    from age_tasks.serving.found_images import find_images

    (tmp_path / "list.csv").write_text("file_name\nimages/a.jpg\n")
    (tmp_path / "a.jpg").touch()
    (image,) = find_images([tmp_path / "list.csv"], tmp_path)
    again = refused(image.file, "no such file", tmp_path, "there is a.jpg: leave out images/")
    (tmp_path / "list.csv").write_text("file_name\na.jpg\n")
    (image,) = find_images([tmp_path / "list.csv"], tmp_path)
    again(image.file)


@pytest.mark.parametrize(
    ("place", "says", "correct"),
    [
        pytest.param("none/", ["no image under this address"], "images/",
                     marks=walks(FOUND, "name a prefix that holds images")),
        pytest.param("none.csv", ["no such table"], "list.csv", marks=walks(FOUND, "no such table; check the address")),
    ],
)  # fmt: skip
def test_images_on_s3_to_predict(
    refused: Walk, s3: dict[str, str], tmp_path: Path, place: str, says: list[str], correct: str
):
    from age_tasks.serving.found_images import find_images

    address = f"s3://age/{tmp_path.name}"
    store = open_store(address)
    store.put("images/a.jpg", b"pixels")
    store.put("list.csv", b"file_name\nimages/a.jpg\n")
    again = refused(lambda: find_images([f"{address}/{place}"], tmp_path), address, *says)
    (image,) = again(lambda: find_images([f"{address}/{correct}"], tmp_path))
    assert image.file().read_bytes() == b"pixels"


@walks(FOUND, "check the file and its permissions")
def test_a_table_to_predict_that_can_t_be_read(refused: Walk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from age_tasks.serving.found_images import find_images

    (tmp_path / "a.csv").write_text("file_name\na.jpg\n")

    def denied(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", denied)
        again = refused(lambda: find_images([tmp_path / "a.csv"], tmp_path), tmp_path / "a.csv", "Permission denied")
    again()
