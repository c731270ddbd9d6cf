"""The command line, as people type it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from age_tasks.cli.app import main
from age_tasks.environment import PROJECT
from age_tasks.pipeline import STAGES


def test_help_names_every_stage_and_gives_examples(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert all(f"    {stage} " in said for stage in STAGES)
    assert "examples:" in said
    assert "AGE_LABELS" in said


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_explains_itself(stage: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main([stage, "--help"])
    said = capsys.readouterr().out
    assert "Writes" in said
    assert "--again" in said


def test_settings_are_listed_with_their_defaults(capsys: pytest.CaptureFixture[str]):
    assert main(["settings"]) == 0
    assert "finetune.last_layers                 30" in capsys.readouterr().out


def test_audit_and_split_work_on_a_labels_file_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    labels = tmp_path / "labels.csv"
    labels.write_text("file_name,real_age\n" + "".join(f"{n}.jpg,{n * 37 % 90}\n" for n in range(200)))
    assert main(["audit", "--labels", str(labels), "--out", str(tmp_path / "audit")]) == 0
    assert json.loads(capsys.readouterr().out)["count"] == 200
    assert (tmp_path / "audit" / "ages.png").exists()
    given = ["--labels", str(labels), "--out", str(tmp_path / "splits"), "--set", "split.bins=equal_width"]
    assert main(["split", *given]) == 0
    assert json.loads(capsys.readouterr().out) == {"train": 139, "val": 31, "test": 30}
    assert len((tmp_path / "splits" / "test.csv").read_text().splitlines()) == 31


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["snapshot", "--recipe", "none"], "choose demo, reference, strong"),
        (["snapshot", "--set", "finetune.epoch=3"], "'finetune' has: epochs"),
        (["snapshot", "--set", "finetune.epochs=0"], "finetune.epochs = 0: Input should be greater than"),
        (["split", "--labels", "x.csv"], "--labels needs --out"),
        (["summary", "--run", "none"], "run none is not in"),
    ],
)
def test_mistakes_are_told_in_a_line(arguments: list[str], said: str, place: Path, capsys: pytest.CaptureFixture[str]):
    assert main(arguments) != 0
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told


def test_settings_from_the_environment_must_be_json(place: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setenv("AGE_SET", "finetune.epochs=3")
    assert main(["snapshot"]) == 64
    assert 'write {"finetune.epochs": 3}' in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_stops_at_the_stage_that_fails_and_says_where(place: Path):
    command = [sys.executable, "-m", "age_tasks", "run", "--run", "x", "--recipe", "demo"]
    refused = ["--set", "validate.max_quarantine_fraction=0.01"]
    done = subprocess.run([*command, *refused], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 65
    assert "17 of 172 rows" in done.stderr
    assert "split" not in done.stderr.replace("splits", "")


@pytest.mark.slow
def test_the_error_that_ends_a_run_is_the_last_thing_said(place: Path, tmp_path: Path):
    (tmp_path / "labels.csv").write_text("file,age\n")
    env = dict(os.environ, AGE_LABELS=str(tmp_path / "labels.csv"))
    command = [sys.executable, "-m", "age_tasks", "run", "--recipe", "demo"]
    done = subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True)
    assert done.returncode == 65
    assert done.stderr.splitlines()[-1].startswith("snapshot: ")
