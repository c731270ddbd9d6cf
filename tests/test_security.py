"""Measures of SECURITY.md that involve several modules: text, names and secrets on their way through a run."""

import csv
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from age_tasks.cli.app import main
from age_tasks.config import Config
from age_tasks.demo.synthetic_faces import Sample
from age_tasks.environment import PROJECT, Locations
from age_tasks.errors import NotFoundError, SettingsError, WeightsError
from age_tasks.registry.promotions import MANIFEST, VERSIONS, champion, fetch_version, promote, publish_version
from age_tasks.runs.run import Workspace, open_run, start_run
from age_tasks.stages.finetune import fetched_file
from age_tasks.store.files import FileStore
from age_tasks.training.network import load_network
from tests.support.hostile import HUSH, model_with_code
from tests.support.page import Page
from tests.support.records import put_record
from tests.support.settings import QUICK, overrides, point_at

NAMES = (
    "<img src=x onerror=alert(1)>.jpg",
    '"><svg onload=alert(1)>.jpg',
    "<script>alert(1)<.jpg",
    "' autofocus onfocus='alert(1).jpg",
    "{{ 7 * 7 }}.jpg",
    "=HYPERLINK(1).jpg",
    "@SUM(A1).jpg",
    "-1+1.jpg",
    "NA",
)
AGES = ("<script>alert(1)</script>", "=1+1", "\"><img src='x' onerror='alert(1)'>")
FOR_PEOPLE = (("validate", "quarantine.csv"), ("validate", "near_duplicates.csv"), ("split", "left_out.csv"))


def test_every_test_that_security_md_names_exists():
    page = (PROJECT / "SECURITY.md").read_text()
    named = re.findall(r"`((?:\w+/)?test_\w+)::(test_\w+)`", page)
    rows = [line for line in page.splitlines() if line.startswith("| ")][1:]
    assert len(named) > len(rows) > 15
    for module, test in named:
        files = (PROJECT / "tests").glob(f"{module}.py" if "/" in module else f"**/{module}.py")
        assert any(f"def {test}(" in file.read_text() for file in files), f"{module}::{test}"


@pytest.fixture(scope="module")
def hostile(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """Labels with names and ages of an attacker, validated and split: good images, copies and broken rows."""
    root = tmp_path_factory.mktemp("hostile")
    images = root / "images"
    images.mkdir()
    rows = dict(line.rsplit(",", 1) for line in sample.labels.read_text().splitlines()[1:121])
    called = dict(zip(rows, NAMES, strict=False))  # the first images get a hostile name
    for name in rows:
        shutil.copy(sample.images / name, images / called.get(name, name))
    lines = [f"{quoted(called.get(name, name))},{age}" for name, age in rows.items()]
    shutil.copy(images / list(rows)[-1], images / "=near.jpg")
    with (images / "=near.jpg").open("ab") as file:
        file.write(b"\0")  # other bytes, the same image
    lines += [f"=near.jpg,{list(rows.values())[-1]}"]
    lines += [f"{quoted(name)},{quoted(age)}" for name, age in zip(NAMES, AGES, strict=False)]
    (root / "labels.csv").write_text("\n".join(["file_name,real_age", *lines]) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        point_at(patch, root, root / "labels.csv")
        for stage in ("snapshot", "validate", "split"):
            given = ["--recipe", "demo", *overrides(QUICK)] if stage == "snapshot" else []
            assert main([stage, "--run", "hostile", *given]) == 0
        with open_run("hostile", Locations.from_env()) as run:
            yield run


def quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


def test_names_and_ages_are_text_on_every_page(hostile: Workspace):
    pages = [name for name in hostile.require_record("validate").outputs if name.endswith(".html")]
    assert len(pages) >= 4
    for name in pages:
        page = Page(hostile.read("validate", name).decode())
        assert not page.tags & {"script", "svg", "iframe", "object", "embed", "form", "base"}, name
        assert not page.handlers, name
        assert all(":" not in address or address.startswith("data:image/") for address in page.addresses), name
    shown = Page(hostile.read("validate", "index.html").decode()).text
    assert all(text in shown for text in (*NAMES[:3], *AGES))
    splits = [hostile.input("split", f"{name}.csv").read_text() for name in ("train", "val", "test")]
    assert any("{{ 7 * 7 }}.jpg" in split for split in splits)


def test_no_cell_of_a_csv_for_people_is_a_formula(hostile: Workspace):
    cells = []
    for stage, name in FOR_PEOPLE:
        with hostile.input(stage, name).open(newline="") as file:
            cells += [cell for row in csv.reader(file) for cell in row]
    assert {"'=1+1", "'=near.jpg"} <= set(cells)
    assert not [cell for cell in cells if cell[:1] in set("=+-@\t\r") and not cell[1:].isdigit()]


def test_the_stages_pass_on_every_name_unchanged(hostile: Workspace):
    accepted = pd.read_csv(hostile.input("validate", "accepted.csv"), keep_default_na=False)["file_name"]
    assigned = [
        pd.read_csv(hostile.input("split", f"{name}.csv"), keep_default_na=False)["file_name"]
        for name in ("train", "val", "test")
    ]
    assert set(NAMES[len(AGES) :]) <= set(accepted)
    assert set(NAMES[len(AGES) :]) <= set(pd.concat(assigned))


def swapped(store: FileStore, folder: Path) -> str:
    """A champion whose model contains code, by an attacker with write access: the manifest matches the file."""
    folder.mkdir(exist_ok=True)
    model, _ = model_with_code(folder / "model.keras")
    publish_version(store, "monday-0a1b", {"model.keras": model}, {"run": "monday", "test_mae": 6.5})
    promote(store, "monday-0a1b", "gate passed", run="monday")
    return champion(store).version


def test_a_swapped_champion_predicts_nothing(place: Path, sample: Sample, capsys: pytest.CaptureFixture[str]):
    swapped(FileStore(place / "store"), place / "made")
    assert main(["predict", str(sample.images / "00003.jpg")]) == WeightsError.exit_code
    said = capsys.readouterr().err
    assert "Lambda" in said
    assert "Traceback" not in said
    assert not list(place.rglob("ran"))


def test_training_does_not_start_from_a_swapped_champion(place: Path):
    store = FileStore(place / "store")
    swapped(store, place / "made")
    locations = Locations.from_env()
    with open_run("tuesday", locations) as run:
        start_run(run, Config(), locations)
        with pytest.raises(WeightsError, match=r"monday-0a1b/model\.keras can't be loaded: .*Lambda"):
            load_network(fetched_file(champion(store), run))
        assert not list(run.scratch.rglob("ran"))


@pytest.mark.parametrize("name", ["../../out.txt", "/tmp/out.txt", "a/../../out.txt"])
def test_a_manifest_names_no_file_outside_its_version(name: str, tmp_path: Path):
    store = FileStore(tmp_path / "store")
    promoted = {"version": "monday", "files": {name: {"sha256": "0" * 64, "bytes": 1}}}
    store.put(f"{VERSIONS}monday/{MANIFEST}", json.dumps(promoted).encode())
    with pytest.raises((SettingsError, NotFoundError)):
        fetch_version(store, "monday", tmp_path / "deep" / "in" / "cache")
    assert not list(tmp_path.rglob("out.txt"))


def test_a_record_names_no_file_outside_its_stage(place: Path):
    secret = place / "secret.png"
    secret.write_bytes(b"secret")
    locations = Locations.from_env()
    with open_run("monday", locations) as run:
        put_record(run.store, "evaluate", "monday", outputs={str(secret): {"sha256": "0" * 64, "bytes": 6}})
        with pytest.raises(SettingsError, match="is not a valid key"):
            run.input("evaluate", str(secret))


@pytest.mark.parametrize("variable", ["AGE_LABELS", "AGE_IMAGES", "AGE_STORE"])
@pytest.mark.parametrize(
    "address", [f"s3://key:{HUSH}@bucket/x", f"https://me:{HUSH}@host/labels.csv", f"ftp://me:a@{HUSH}@h/x"]
)
def test_an_address_with_a_password_is_refused_before_it_is_stored(
    variable: str, address: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv(variable, address)
    assert main(["snapshot", "--run", "x", "--recipe", "demo"]) == SettingsError.exit_code
    said = capsys.readouterr().err
    assert HUSH not in said
    assert not (place / "store").exists()
