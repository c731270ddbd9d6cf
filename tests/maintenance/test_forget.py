"""Erasing one image from the store and cache of a finished run."""

import gzip
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from age_tasks.cli.app import main
from age_tasks.data.exchanged_probes import sent_files
from age_tasks.data.image_folder import ImageFolder
from age_tasks.data.image_shards import indexed_members
from age_tasks.data.labels_file import content_sha256
from age_tasks.demo.synthetic_faces import Sample
from age_tasks.environment import PROJECT, Locations
from age_tasks.errors import SettingsError
from age_tasks.maintenance.erased_content import ErasedImage
from age_tasks.maintenance.forget import forget
from age_tasks.maintenance.traces import find_image, traces_in_cache, traces_in_store
from age_tasks.registry.promotions import VERSIONS, champion, fetch_version, history, promote, publish_version
from age_tasks.reports.html import png_uri
from age_tasks.reports.safe_csv import as_csv
from age_tasks.runs.run import Workspace, open_run
from age_tasks.store.files import FileStore
from age_tasks.training.feature_cache import FeatureCache
from age_tasks.training.remote_shards import RemoteShards
from tests.support.builders import promoted
from tests.support.hostile import files_with
from tests.support.records import put_record
from tests.support.settings import point_at
from tests.support.tars import tar_of


@pytest.fixture
def copied(finished: Workspace, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a copy of the finished run's store and cache, and a run that reuses its results."""
    point_at(monkeypatch, tmp_path, sample.labels)
    shutil.copytree(Path(finished.store.where("runs")).parent, tmp_path / "store")
    shutil.copytree(finished.cache, tmp_path / "cache")
    for record in (tmp_path / "store" / "runs" / "finished").glob("*/stage.json"):
        reused = json.loads(record.read_text()) | {"run": "again", "reused_from": "finished"}
        copy = tmp_path / "store" / "runs" / "again" / record.parent.name / "stage.json"
        copy.parent.mkdir(parents=True)
        copy.write_text(json.dumps(reused))
    shutil.copy(tmp_path / "store" / "runs" / "finished" / "run.json", tmp_path / "store" / "runs" / "again")
    return tmp_path


@pytest.fixture
def worst(finished: Workspace) -> pd.Series:
    """The test image with the largest error, whose face the report shows: file_name, sha256."""
    table = pd.read_csv(finished.input("evaluate", "predictions.csv"))
    return table.loc[(table["finetune"] - table["real_age"]).abs().idxmax()]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_without_delete_traces_are_listed_and_nothing_changes(
    copied: Path, worst: pd.Series, capsys: pytest.CaptureFixture[str]
):
    before = contents(copied)
    assert main(["forget", worst.file_name]) == 0
    said = capsys.readouterr().out
    assert contents(copied) == before
    for trace in (
        "report.html",
        "worst_errors.png",
        "labels.csv, snapshot.csv",
        "rows of features",
        "sha256, size and hash",
    ):
        assert trace in said
    assert "nothing was removed: add --delete" in said
    assert "v1: tested on it, and kept: a model can't forget" in said
    assert "remove its row from labels.csv" in said
    assert "retrain" not in said


def test_name_face_and_features_are_removed(copied: Path, worst: pd.Series):
    store, cache = copied / "store", copied / "cache"
    sheet = store / "runs" / "finished" / "evaluate" / "worst_errors.png"
    face = png_uri(sheet)
    assert len(files_with(face, store)) == 3  # of publish, in reports, in the version
    assert main(["forget", worst.file_name, "--delete"]) == 0
    assert files_with(worst.file_name, copied) == []
    assert files_with(face, copied) == []
    assert png_uri(sheet) != face
    (ledger,) = files_with(worst.sha256, copied)
    assert ledger.startswith(f"store/{VERSIONS}")
    assert ledger.endswith("/trained_on.csv")
    with pytest.raises(SettingsError, match="is neither in"):
        find_image(worst.file_name, FileStore(store), cache)


def test_other_rows_and_outputs_stay_and_agree_with_their_records(copied: Path, finished: Workspace, worst: pd.Series):
    assert main(["forget", worst.file_name, "--delete"]) == 0
    for key in ("finished", "again"):  # checked against the sha256 in the records
        with open_run(key, Locations.from_env()) as run:
            for stage in ("snapshot", "validate", "split", "baseline", "finetune", "evaluate", "publish"):
                for name in run.require_record(stage).outputs:
                    run.input(stage, name)
            for stage, name in (("evaluate", "predictions.csv"), ("split", "assignments.csv")):
                rows = finished.input(stage, name).read_text().splitlines()
                assert run.input(stage, name).read_text().splitlines() == [
                    row for row in rows if worst.sha256 not in row
                ]
            frozen = run.input("snapshot", "labels.csv").read_text().splitlines()
            before = finished.input("snapshot", "labels.csv").read_text().splitlines()
            assert frozen == ["" if row.startswith(f"{worst.file_name},") else row for row in before]
    version = champion(run.store).version
    assert fetch_version(run.store, version, copied / "now").files.keys() == set(
        fetch_version(finished.store, version, copied / "before").files
    )
    for index in (copied / "cache" / "features").glob("*/*.json"):
        assert len(json.loads(index.read_text())) == len(_rows(index))


def test_changed_results_are_not_reused_for_the_labels_that_still_list_the_image(
    copied: Path, finished: Workspace, worst: pd.Series
):
    assert main(["forget", worst.file_name, "--delete"]) == 0
    for key in ("finished", "again"):
        with open_run(key, Locations.from_env()) as run:
            for stage in ("snapshot", "validate", "split", "evaluate"):
                assert run.record(stage).fingerprint != finished.record(stage).fingerprint
            assert run.record("gate").fingerprint == finished.record("gate").fingerprint


def test_features_of_other_images_are_kept(copied: Path, worst: pd.Series):
    def features() -> dict[tuple[str, str], bytes]:
        found = {}
        for index in (copied / "cache" / "features").glob("*/*.json"):
            keys = json.loads(index.read_text())
            found |= {(index.parent.name, key): row.tobytes() for key, row in zip(keys, _rows(index), strict=True)}
        return found

    before = features()
    assert main(["forget", worst.file_name, "--delete"]) == 0
    assert features() == {key: row for key, row in before.items() if not key[1].startswith(worst.sha256)}
    assert len(features()) < len(before)


def _rows(index: Path):
    import numpy as np

    return np.load(index.with_suffix(".npy"), mmap_mode="r")


def test_copies_under_other_names_are_erased_too(copied: Path, finished: Workspace, capsys: pytest.CaptureFixture[str]):
    assert main(["forget", "00000.jpg", "--delete"]) == 0
    assert "00000.jpg, the same image as g-copy.jpg" in capsys.readouterr().out
    assert files_with("g-copy.jpg", copied) == []


def test_near_duplicates_are_named_but_not_erased(copied: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["forget", "g-near.jpg"]) == 0
    said = capsys.readouterr().out
    assert "nearly the same image, to be forgotten separately: 00003.jpg" in said
    assert "v1: trained on it, and kept: a model can't forget" in said
    assert "then retrain from the baseline (finetune.start_from=baseline) for a version that has not seen it" in said


def test_versions_that_started_from_one_that_was_trained_on_it_are_named_too(
    copied: Path, worst: pd.Series, capsys: pytest.CaptureFixture[str]
):
    store = FileStore(copied / "store")
    table = copied / "trained_on.csv"
    table.write_text(f"sha256,real_age,split\n{worst.sha256},30,ancestor\n{'0' * 64},40,train\n")
    publish_version(store, "warm", {"trained_on.csv": table}, {})
    promote(store, "warm", "gate passed")
    assert main(["forget", worst.file_name]) == 0
    said = capsys.readouterr().out
    assert "v1: tested on it" in said
    assert "v2: trained on it" in said
    assert "finetune.start_from=baseline" in said


def test_a_quarantined_row_is_removed_from_the_table_and_the_page(copied: Path):
    page = copied / "store" / "runs" / "finished" / "validate" / "index.html"
    rows = page.read_text().count("<tr>")
    assert main(["forget", "f-999.jpg", "--delete"]) == 0
    assert files_with("f-999.jpg", copied) == []
    assert page.read_text().count("<tr>") == rows - 1
    assert "f-text.jpg" in page.read_text()


@pytest.mark.parametrize("puts", [0, 1, 4, 8, 12])
def test_an_interrupted_removal_can_be_repeated(
    puts: int, copied: Path, worst: pd.Series, monkeypatch: pytest.MonkeyPatch
):
    store, put = FileStore(copied / "store"), FileStore.put
    left = iter([None] * puts)

    def put_some(self: FileStore, key: str, source: bytes) -> None:
        if next(left, "none") == "none":
            raise KeyboardInterrupt
        put(self, key, source)

    going = forget(find_image(worst.file_name, store, copied / "cache"), store, copied / "cache", delete=True)
    with monkeypatch.context() as patch:
        patch.setattr(FileStore, "put", put_some)
        with pytest.raises(KeyboardInterrupt):
            list(going)
    fetch_version(store, champion(store).version, copied / "version")
    assert main(["forget", worst.file_name, "--delete"]) == 0
    assert files_with(worst.file_name, copied / "store") == []
    with open_run("again", Locations.from_env()) as run:
        for stage in ("snapshot", "validate", "split", "evaluate"):
            for name in run.require_record(stage).outputs:
                run.input(stage, name)


def test_an_unknown_name_is_refused(copied: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["forget", "../00001.jpg", "--delete"]) == SettingsError.exit_code
    assert "write it as labels.csv does, or give the sha256" in capsys.readouterr().err


def rewritten(tmp_path: Path, key: str, content: str, *names: str) -> str:
    """A file of a run after the images of these names were erased."""
    store = FileStore(tmp_path / "store")
    store.put(key, content.encode())
    image = ErasedImage(names[0], frozenset(names), frozenset({"a1" * 32}), frozenset({"a1" * 32}), frozenset())
    for folder, changed in traces_in_store(image, store):
        for name, new in changed.items():
            store.put(f"{folder}/{name}", new)
    return store.get(key).decode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "file_name,real_age\n1.jpg,3\n11.jpg,4\nx/1.jpg,5\n1.jpg.png,6\n",
            "file_name,real_age\n11.jpg,4\nx/1.jpg,5\n1.jpg.png,6\n",
        ),
        (
            '"line","file_name","reason"\n3,"b.jpg","several: 3 (1.jpg, line 2), 4 (b.jpg, line 3)"\n',
            '"line","file_name","reason"\n3,"b.jpg","several: 3 ((forgotten), line 2), 4 (b.jpg, line 3)"\n',
        ),
        ("sha256,split\n" + "a1" * 32 + ",test\nb,train\n", "sha256,split\nb,train\n"),
        ('file_name,real_age\r\n"1.jpg",3\r\n"a\n1.jpg",4\r\n', 'file_name,real_age\r\n"a\n1.jpg",4\r\n'),
    ],
    ids=["whole names", "mentions", "by content", "quoted lines"],
)
def test_only_the_image_s_rows_are_removed_from_a_table(before: str, after: str, tmp_path: Path):
    assert rewritten(tmp_path, "runs/x/validate/quarantine.csv", before, "1.jpg") == after


def test_a_name_that_was_escaped_as_a_formula_is_found(tmp_path: Path):
    before = '"file_name","age"\n"\'=1+1.jpg",3\n"b.jpg",4\n'
    assert (
        rewritten(tmp_path, "runs/x/evaluate/predictions.csv", before, "=1+1.jpg") == '"file_name","age"\n"b.jpg",4\n'
    )


def test_near_duplicates_are_found_whose_names_were_escaped_as_formulas(tmp_path: Path):
    store = FileStore(tmp_path / "store")
    store.put("runs/x/snapshot/snapshot.csv", b"file_name,sha256,problem\n=1.jpg,aa,\n-b c.jpg,bb,\n")
    pairs = pd.DataFrame({"first_file_name": ["=1.jpg"], "second_file_name": ["-b c.jpg"], "bits": [3]})
    store.put("runs/x/validate/near_duplicates.csv", as_csv(pairs).encode())
    assert find_image("=1.jpg", store, tmp_path / "cache").near_duplicates == {"-b c.jpg"}


@pytest.mark.parametrize("folder", [f"labels/accepted/{'0' * 64}", "registry/decisions", "registry/promotions"])
def test_a_mention_in_the_reason_of_a_person_is_removed(tmp_path: Path, folder: str):
    before = '{\n  "who": "ann",\n  "why": "1.jpg is right"\n}\n'
    key = f"{folder}/20260101-ab.json"
    assert rewritten(tmp_path, key, before, "1.jpg") == before.replace("1.jpg", "(forgotten)")


def test_the_index_repeats_no_forgotten_name(tmp_path: Path):
    store = FileStore(tmp_path / "store")
    put_record(store, "validate", "x", status="failed", error="1.jpg is no image")
    promoted(store, tmp_path, "one")
    promote(store, "one", "right about 1.jpg")
    image = ErasedImage("1.jpg", frozenset({"1.jpg"}), frozenset(), frozenset(), frozenset())
    list(forget(image, store, tmp_path / "cache", delete=True))
    packs = [gzip.decompress(store.get(key)) for key in store.list("index/")]
    assert len(packs) == 3
    assert not any(b"1.jpg" in pack for pack in packs)
    assert history(store)[-1].why == "right about (forgotten)"


def test_a_label_to_look_at_is_removed_with_its_image_and_a_confirmation_names_it_no_more(tmp_path: Path):
    issues = [{"file_name": name, "image": f"data:{name}"} for name in ("1.jpg", "b.jpg")]
    before = json.dumps({"issues": issues, "previous_run": "x"})
    after = json.loads(rewritten(tmp_path, "runs/x/evaluate/labels_to_look_at.json", before, "1.jpg"))
    assert after == {"issues": issues[1:], "previous_run": "x"}
    before = '{\n  "file_name": "1.jpg",\n  "who": "ann"\n}\n'
    key = f"labels/confirmed/{'0' * 64}__30__20260101-ab__right.json"
    assert rewritten(tmp_path, key, before, "1.jpg") == before.replace("1.jpg", "(forgotten)")


@pytest.mark.parametrize(("name", "emptied"), [("03.jpg", True), ("20.jpg", False)])
def test_a_sheet_of_weak_segments_is_emptied_if_the_face_is_on_it(tmp_path: Path, name: str, emptied: bool):
    store, folder = FileStore(tmp_path / "store"), "runs/x/evaluate"
    rows = [f"{number:02}.jpg,{number:064x},30,40,{number < 24:d}\n" for number in range(30)]
    before = "".join(["file_name,sha256,real_age,finetune,weak_segment\n", *rows])
    store.put(f"{folder}/predictions.csv", before.encode())
    store.put(f"{folder}/weak_segments.png", b"faces 0 to 7")
    content = frozenset({f"{int(name[:2]):064x}"})
    ((_, changed),) = traces_in_store(ErasedImage(name, frozenset({name}), content, content, frozenset()), store)
    assert changed["predictions.csv"].decode() == before.replace(rows[int(name[:2])], "")
    assert ("weak_segments.png" in changed) == emptied


def test_an_image_that_was_ranked_to_be_labelled_is_removed_from_all_three_files(tmp_path: Path):
    ranked = json.dumps({"version": "v3", "ranked": [{"file_name": name} for name in ("1.jpg", "b.jpg")]})
    assert json.loads(rewritten(tmp_path, "labels/next/ranking.json", ranked, "1.jpg"))["ranked"] == [
        {"file_name": "b.jpg"}
    ]
    tasks = json.dumps([{"data": {"file_name": name}, "predictions": []} for name in ("1.jpg", "b.jpg")])
    (kept,) = json.loads(rewritten(tmp_path, "labels/next/tasks.json", tasks, "1.jpg"))
    assert kept["data"] == {"file_name": "b.jpg"}
    table = "file_name,real_age\n1.jpg,\nb.jpg,\n"
    assert rewritten(tmp_path, "labels/next/next.csv", table, "1.jpg") == "file_name,real_age\nb.jpg,\n"


def test_frozen_labels_keep_their_line_numbers(tmp_path: Path):
    before = 'file_name,real_age\n1.jpg,3\n"2\n.jpg",4\n3.jpg,5\n'
    assert (
        rewritten(tmp_path, "runs/x/snapshot/labels.csv", before, "1.jpg", "2\n.jpg")
        == "file_name,real_age\n\n\n\n3.jpg,5\n"
    )


def test_names_that_look_like_words_or_numbers_change_no_other_text(tmp_path: Path):
    page = "<p>30 of NA rows</p>\n<tr><td>NA</td><td>30</td></tr>\n"
    assert rewritten(tmp_path, "runs/x/validate/index.html", page, "NA") == "<p>30 of NA rows</p>\n"
    found = '[{"observed": "30", "rows": 30, "NA": "a.b"}]\n'
    assert rewritten(tmp_path, "runs/x/validate/expectations.json", found, "30", "NA", "a.b") == (
        '[\n  {\n    "observed": "30",\n    "rows": 30,\n    "NA": "(forgotten)"\n  }\n]\n'
    )


def test_fetched_copies_and_incomplete_features_are_removed(tmp_path: Path):
    for name in ("images/ab/1", "images/ab/2", "features/p/shard.npy", "versions/v/report.html"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    content = frozenset({content_sha256(b"images/ab/1")})
    image = ErasedImage("a.jpg", frozenset({"a.jpg"}), content, content, frozenset())
    for _, remove in traces_in_cache(image, tmp_path):
        remove()
    assert {name for name in contents(tmp_path) if "sqlite" not in name} == {"images/ab/2"}


def test_the_index_of_a_tar_file_with_its_name_is_removed(tmp_path: Path):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / f"{name}.tar").write_bytes(tar_of({name: b"content"}))
    ImageFolder(f"{tmp_path}/*.tar", tmp_path / "cache")
    image = ErasedImage("a.jpg", frozenset({"a.jpg"}), frozenset(), frozenset(), frozenset())
    for description, remove in traces_in_cache(image, tmp_path / "cache"):
        assert description.endswith("the names in a tar file, which is read again when needed")
        remove()
    assert [[place.name for place in places] for _, places in indexed_members(tmp_path / "cache")] == [["b.jpg"]]


def test_equal_files_that_are_no_images_are_not_taken_for_copies(tmp_path: Path):
    """Such as an HTML page "not found" that was stored under many names."""
    store, page = FileStore(tmp_path / "store"), "not an image: an HTML page"
    rows = [f"a.jpg,{'a1' * 32},{page}", f"b.jpg,{'a1' * 32},{page}"]
    store.put("runs/x/snapshot/snapshot.csv", "\n".join(["file_name,sha256,problem", *rows, ""]).encode())
    for _ in forget(find_image("a.jpg", store, tmp_path / "cache"), store, tmp_path / "cache", delete=True):
        pass
    assert store.get("runs/x/snapshot/snapshot.csv").decode().splitlines()[1:] == rows[1:]


def commands_for_others(said: str) -> list[list[str]]:
    """The command lines that `forget` ends with, for the caches of other machines."""
    _, _, lines = said.partition("on each other machine that has a cache (AGE_CACHE), execute:\n")
    return [shlex.split(line)[1:] for line in lines.splitlines()]


def test_another_machine_whose_cache_knows_no_name_erases_it_by_the_printed_command(
    copied: Path,
    sample: Sample,
    worst: pd.Series,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    other = copied / "other"
    shutil.copytree(copied / "cache" / "features", other / "features")
    (other / "images" / "ab").mkdir(parents=True)
    shutil.copy(sample.images / worst.file_name, other / "images" / "ab" / "copy")
    (other / "images" / "ab" / "of another").write_bytes(b"pixels")
    assert main(["forget", worst.file_name, "--delete"]) == 0
    commands = commands_for_others(capsys.readouterr().out)
    assert commands == [["forget", worst.sha256, "--delete"]]
    monkeypatch.setenv("AGE_CACHE", str(other))
    for _ in range(2):  # it may be repeated
        assert main(*commands) == 0
        said = capsys.readouterr().out
        assert said.startswith(f"{worst.sha256}: no file of this content is known\n")
        assert commands_for_others(said) == commands
    assert files_with(worst.sha256, other) == []
    assert [path.name for path in (other / "images").rglob("*") if path.is_file()] == ["of another"]


def test_every_content_that_a_name_had_is_in_the_commands_for_other_machines(tmp_path: Path):
    store, cache = FileStore(tmp_path / "store"), tmp_path / "cache"
    for run, sha256, problem in (("x", "a1" * 32, ""), ("y", "b2" * 32, ""), ("z", "c3" * 32, "truncated")):
        row = f"a.jpg,{sha256},{problem}"
        store.put(f"runs/{run}/snapshot/snapshot.csv", f"file_name,sha256,problem\n{row}\n".encode())
    said = "\n".join(forget(find_image("a.jpg", store, cache), store, cache, delete=False))
    assert [each for _, each, _ in commands_for_others(said)] == ["a1" * 32, "b2" * 32, "c3" * 32]


def test_an_image_is_found_by_the_sha256_of_its_content(tmp_path: Path):
    """Under all names that a machine still knows, and with the other contents that these had."""
    store, cache = FileStore(tmp_path / "store"), tmp_path / "cache"
    rows = [f"a.jpg,{'a1' * 32},", f"copy.jpg,{'a1' * 32},", f"copy.jpg,{'b2' * 32},", f"c.jpg,{'c3' * 32},"]
    store.put("runs/x/snapshot/snapshot.csv", "\n".join(["file_name,sha256,problem", *rows, ""]).encode())
    image = find_image("A1" * 32, store, cache)
    assert (image.name, image.names) == ("a.jpg", {"a.jpg", "copy.jpg"})
    assert image.sha256s == image.stored_sha256s == {"a1" * 32, "b2" * 32}


def test_the_content_of_many_unreadable_files_erases_copies_and_no_rows(tmp_path: Path):
    store, cache, page = FileStore(tmp_path / "store"), tmp_path / "cache", b"<html>"
    sha256 = content_sha256(page)
    table = "".join(["file_name,sha256,problem\n", *(f"{name}.jpg,{sha256},not an image\n" for name in "ab")]).encode()
    store.put("runs/x/snapshot/snapshot.csv", table)
    (cache / "images" / "ab").mkdir(parents=True)
    (cache / "images" / "ab" / "copy").write_bytes(page)
    list(forget(find_image(sha256, store, cache), store, cache, delete=True))
    assert store.get("runs/x/snapshot/snapshot.csv") == table
    assert list((cache / "images" / "ab").iterdir()) == []


def test_the_commands_for_other_machines_erase_no_other_image_that_once_was_the_same_error_page(tmp_path: Path):
    store, page = FileStore(tmp_path / "store"), "e0" * 32
    for run, rows in (
        ("x", [f"a.jpg,{page},not an image", f"b.jpg,{page},not an image"]),
        ("y", [f"a.jpg,{'a1' * 32},", f"b.jpg,{'b2' * 32},"]),
    ):
        store.put(f"runs/{run}/snapshot/snapshot.csv", "\n".join(["file_name,sha256,problem", *rows, ""]).encode())
    said = "\n".join(forget(find_image("a.jpg", store, tmp_path), store, tmp_path, delete=True))
    for _, sha256, _ in commands_for_others(said):
        assert find_image(sha256, store, tmp_path).names == set()


def test_a_file_whose_name_looks_like_a_sha256_is_found_by_its_name(tmp_path: Path):
    store = FileStore(tmp_path / "store")
    rows = [f"{'b2' * 32},{'a1' * 32},", f"b.jpg,{'b2' * 32},"]
    store.put("runs/x/snapshot/snapshot.csv", "\n".join(["file_name,sha256,problem", *rows, ""]).encode())
    assert find_image("b2" * 32, store, tmp_path / "cache").names == {"b2" * 32}


def test_the_index_of_a_tar_file_is_found_by_the_content_of_a_member(tmp_path: Path):
    (tmp_path / "a.tar").write_bytes(tar_of({"a.jpg": b"content"}))
    ImageFolder(f"{tmp_path}/*.tar", tmp_path / "cache")
    image = find_image(content_sha256(b"content"), FileStore(tmp_path / "store"), tmp_path / "cache")
    for _, remove in traces_in_cache(image, tmp_path / "cache"):
        remove()
    assert list(indexed_members(tmp_path / "cache")) == []


def test_forgetting_needs_no_tensorflow():
    program = "import sys, age_tasks.maintenance.forget; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_what_caches_exchange_is_erased_too(
    copied: Path, worst: pd.Series, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AGE_CACHE_REMOTE", str(copied / "remote"))
    remote, other = FileStore(copied / "remote"), "0" * 64
    shards = RemoteShards(remote, "prefix")
    for name, keys in (("machine-1", [worst.sha256, other]), ("machine-2", ["1" * 64])):
        FeatureCache(copied / name, shards).append(keys, np.zeros((len(keys), 3), "float16"))
    columns = ["folder", "name", "state", "sha256", "problem"]
    rows = [["/images", name, "x", sha256, ""] for name, sha256 in ((worst.file_name, worst.sha256), ("b.jpg", other))]
    remote.put("probes/version/x.json", json.dumps({"columns": columns, "rows": rows}).encode())
    assert main(["forget", worst.file_name, "--delete"]) == 0
    said = capsys.readouterr().out
    assert f"{copied}/remote/probes/version/x.json: its sha256, size and hash" in said
    assert files_with(worst.sha256, copied / "remote") == files_with(worst.file_name, copied / "remote") == []
    assert [*sent_files(remote)] == [("b.jpg", other, "")]
    assert RemoteShards(remote, "prefix").places(besides=()).keys() == {other, "1" * 64}
    assert main(["forget", "b.jpg", "--delete"]) == 0  # nothing but the exchange knows it
    assert remote.list("probes/") == []
