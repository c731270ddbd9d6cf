"""The stage `validate`."""

import json
import os
from pathlib import Path

import pytest

from age_tasks.cli.app import main
from age_tasks.environment import Locations
from age_tasks.runs.listing import previous_run
from age_tasks.runs.run import Workspace, open_run
from tests.support.settings import QUICK, overrides
from tests.support.stages import table


def test_each_broken_row_is_quarantined_with_its_reason(prepared: Workspace):
    found = table(prepared, "validate", "quarantine.csv").set_index("file_name")
    reasons = found["reason"].to_dict()
    assert reasons["f-text.jpg"] == "real_age 'unknown' is not a number"
    assert reasons["f-999.jpg"] == "real_age 999 is not between 0 and 120 years"
    assert reasons["f-negative.jpg"] == "real_age -3 is not between 0 and 120 years"
    assert reasons["f-tiny.jpg"] == "12 x 12 pixels; each side needs at least 32"
    assert "leaves the images folder" in reasons["../secret.jpg"]
    assert "no such file" in reasons["f-missing.jpg"]
    assert "different ages" in reasons["f-copy.jpg"]
    assert found.loc["00001.jpg", "fault"].tolist() == ["one name, two ages"] * 2
    assert found.loc["00000.jpg", "fault"] == "listed twice"
    assert len(found) == 17


def test_every_row_is_either_accepted_or_quarantined(prepared: Workspace):
    lines = [set(table(prepared, "validate", name)["line"]) for name in ("accepted.csv", "quarantine.csv")]
    assert not lines[0] & lines[1]
    assert lines[0] | lines[1] == set(table(prepared, "snapshot", "snapshot.csv")["line"])
    assert {f"g-{kind}.jpg" for kind in ("png", "grey", "cmyk", "16bit", "exif", "copy", "near")} <= set(
        table(prepared, "validate", "accepted.csv")["file_name"]
    )


def test_near_duplicates_are_in_one_group(prepared: Workspace):
    group = table(prepared, "validate", "accepted.csv").set_index("file_name")["near_group"]
    assert group["g-near.jpg"] == group["00003.jpg"]
    pairs = table(prepared, "validate", "near_duplicates.csv")[["first_file_name", "second_file_name"]]
    shared = group[group.duplicated(keep=False)].index
    assert set(pairs.to_numpy().ravel()) <= set(shared)
    assert len(shared) < len(group) / 10


def test_data_docs_show_every_expectation(prepared: Workspace):
    names = [name for name in prepared.require_record("validate").outputs if "data_docs/validations/rows" in name]
    assert len(names) == 1
    html = prepared.input("validate", names[0]).read_text()
    for finding in json.loads(prepared.input("validate", "expectations.json").read_text())[:13]:
        assert finding["description"] in html


def test_too_many_broken_rows_fail_the_stage_and_leave_its_page(place: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["snapshot", "--run", "bad", "--recipe", "demo", "--set", "validate.max_quarantine_fraction=0.02"]) == 0
    assert main(["validate", "--run", "bad"]) == 65
    said = capsys.readouterr().err
    assert "17 of 172 rows (9.9 %) are quarantined; at most 2.0 %" in said
    assert "f-text.jpg" in said
    with open_run("bad", Locations.from_env()) as run:
        record = run.record("validate")
        assert record.status == "failed"
        assert {"index.html", "quarantine.csv", "data_docs/index.html"} <= set(record.outputs)
        assert "Refused" in run.store.get("runs/bad/validate/index.html").decode()
    assert main(["split", "--run", "bad"]) == 66
    assert "validate failed" in capsys.readouterr().err


def test_a_shifted_age_distribution_is_refused_until_a_person_accepts_it(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    settings = overrides({"validate.max_quarantine_fraction": 0.9})
    assert main(["snapshot", "--run", "first", "--recipe", "demo", *settings]) == 0
    assert main(["validate", "--run", "first"]) == 0
    with open_run("first", Locations.from_env()) as run:
        accepted = table(run, "validate", "accepted.csv")["file_name"]
    images = Path(os.environ["AGE_LABELS"]).parent / "images"
    names = [name for name in accepted if not name.startswith("g-")]
    older = place / "labels.csv"
    older.write_text("file_name,real_age\n" + "".join(f"{name},{60 + i % 20}\n" for i, name in enumerate(names)))
    monkeypatch.setenv("AGE_LABELS", str(older))
    monkeypatch.setenv("AGE_IMAGES", str(images))
    assert main(["snapshot", "--run", "second", "--recipe", "demo", *settings]) == 0
    assert main(["validate", "--run", "second"]) == 65
    said = capsys.readouterr().err
    assert "Kolmogorov-Smirnov" in said
    assert "at most 0.15 may be (validate.max_age_shift)" in said
    assert "--set validate.max_age_shift=0." in said
    assert "age-tasks labels accept second --why" in said
    assert main(["labels", "accept", "second", "--why", "adults <b>only</b>", "--by", "ann"]) == 0
    assert main(["validate", "--run", "second"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert "; accepted by ann at " in summary["ages_accepted"]
    with open_run("second", Locations.from_env()) as run:
        page = run.store.get("runs/second/validate/index.html").decode()
        assert "Accepted by ann, although the ages are distributed differently" in page
        assert "adults &lt;b&gt;only&lt;/b&gt;" in page
        assert previous_run(run.other("third"), "validate").key == "second"  # the next labels are compared with these


def test_file_names_are_escaped_on_every_page(place: Path, monkeypatch: pytest.MonkeyPatch):
    labels = place / "labels.csv"
    labels.write_text("file_name,real_age\n<script>alert(1)<.jpg,30\n")
    (place / "images").mkdir()
    monkeypatch.setenv("AGE_LABELS", str(labels))
    assert main(["snapshot", "--run", "x", "--recipe", "demo"]) == 0
    assert main(["validate", "--run", "x"]) == 65
    with open_run("x", Locations.from_env()) as run:
        for name in run.record("validate").outputs:
            if name.endswith(".html"):
                assert "<script>alert" not in run.store.get(f"runs/x/validate/{name}").decode()


def test_without_a_run_key_the_newest_run_with_a_snapshot_is_validated(place: Path, caplog: pytest.LogCaptureFixture):
    assert main(["split"]) == 66
    settings = overrides(QUICK)
    for key in ("one", "two"):
        assert main(["snapshot", "--run", key, "--recipe", "demo", *settings]) == 0
    with caplog.at_level("INFO"):
        assert main(["validate"]) == 0
    assert "using the newest run with snapshot, two" in caplog.text


def test_a_snapshot_that_was_changed_is_refused(place: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["snapshot", "--run", "x", "--recipe", "demo", *overrides(QUICK)]) == 0
    (place / "store" / "runs" / "x" / "snapshot" / "snapshot.csv").write_text("something else")
    assert main(["validate", "--run", "x"]) == 66
    assert "sha256 differs" in capsys.readouterr().err
