"""The command line, as people type it."""

import errno
import json
import logging
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from age_tasks.cli import pipeline
from age_tasks.cli import stage as stage_module
from age_tasks.cli.app import main
from age_tasks.cli.command import NOBODY_READS
from age_tasks.demo import synthetic_faces
from age_tasks.environment import PROJECT
from age_tasks.errors import DiskFullError, MissingInputError, SettingsError, StoreError
from age_tasks.pipeline import SHARED_WORK, STAGES

GROUPS = {
    "Stages": {*STAGES, *SHARED_WORK, "run", "summary"},
    "Labels": {"sample", "labels", "label-next"},
    "Models": {"predict", "score", "champion", "history", "rollback"},
    "Maintenance": {"prune", "forget", "reindex"},
    "Airflow": {"up", "airflow"},
    "Settings": {"settings", "environment"},
}
VARIABLES = {"--run": "AGE_RUN", "--recipe": "AGE_RECIPE", "--set": "AGE_SET", "--again": "AGE_AGAIN"}


def test_help_lists_every_command_in_its_group_and_gives_examples(capsys: pytest.CaptureFixture[str]):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    sections = dict(re.findall(r"^(\w+):\n((?:  .*\n?)+)", shown.split("Options:")[1], re.MULTILINE))
    listed = {title: set(re.findall(r"^  ([\w-]+) ", text, re.MULTILINE)) for title, text in sections.items()}
    assert listed == GROUPS
    assert "Examples:" in shown
    assert "AGE_LABELS" in shown
    assert "..." not in shown.split("Options:")[1], "sentences are not cut off"


def test_help_is_plain_text():
    env = dict(os.environ, COLUMNS="60", FORCE_COLOR="1", GITHUB_ACTIONS="true")
    command = [sys.executable, "-m", "age_tasks", "--help"]
    shown = subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, check=True).stdout
    assert not re.search("[\x1b│╭─]", shown)


@pytest.mark.parametrize("stage", STAGES)
def test_help_of_a_stage_tells_what_it_writes_and_names_variables(stage: str, capsys: pytest.CaptureFixture[str]):
    assert main([stage, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "writes `" in shown.lower()
    for option, variable in VARIABLES.items():
        assert re.search(rf"{option}\b(?:(?!\n  -).)*\[env\s+var:\s+{variable}\b", shown, re.DOTALL), option


@pytest.mark.parametrize(
    "arguments", [[], ["nonsense"], ["gate", "--nonsense"], ["rollback"], ["prune", "--keep", "x"]]
)
def test_invalid_command_lines_exit_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    assert main(arguments) == 2
    assert "Usage: age-tasks" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("former", "replacement"),
    [
        (["split", "--labels", "x.csv", "--out", "y"], "age-tasks labels split --labels CSV --out FOLDER"),
        (["split", "--labels=x.csv"], "age-tasks labels split --labels CSV --out FOLDER"),
        (["audit", "--labels", "x.csv"], "age-tasks labels audit --labels CSV --out FOLDER"),
        (["prune", "--forget", "a.jpg", "--delete"], "age-tasks forget FILE_NAME"),
    ],
)
def test_former_commands_are_refused_with_the_new_one(
    former: list[str], replacement: str, capsys: pytest.CaptureFixture[str]
):
    assert main(former) == 2
    assert replacement in capsys.readouterr().err


def test_settings_lists_every_setting_with_its_default(capsys: pytest.CaptureFixture[str]):
    assert main(["settings"]) == 0
    assert "finetune.last_layers                 30" in capsys.readouterr().out


def test_environment_lists_variables_and_names_invalid_values(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert main(["environment"]) == 0
    assert "AGE_SETTLE_SECONDS" in capsys.readouterr().out
    monkeypatch.setenv("AGE_GPUS", "-1")
    assert main(["environment"]) == 64
    assert "AGE_GPUS='-1' is invalid" in capsys.readouterr().err


def test_labels_audit_and_split_work_on_a_labels_file_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    labels = tmp_path / "labels.csv"
    labels.write_text("file_name,real_age\n" + "".join(f"{n}.jpg,{n * 37 % 90}\n" for n in range(200)))
    assert main(["labels", "audit", "--labels", str(labels), "--out", str(tmp_path / "audit")]) == 0
    assert json.loads(capsys.readouterr().out)["count"] == 200
    assert (tmp_path / "audit" / "ages.png").exists()
    given = ["--labels", str(labels), "--out", str(tmp_path / "splits"), "--set", "split.bins=equal_width"]
    assert main(["labels", "split", *given]) == 0
    assert json.loads(capsys.readouterr().out) == {"train": 139, "val": 31, "test": 30}
    assert len((tmp_path / "splits" / "test.csv").read_text().splitlines()) == 31


@pytest.mark.parametrize(
    ("age", "says"),
    [
        ("-31", "real_age '-31' is not between 0 and 120 years"),
        ("2014", "real_age '2014' is not between 0 and 120 years"),
        ("120.5", "real_age '120.5' is not between 0 and 120 years"),
        ("1e3", "real_age '1e3' is not between 0 and 120 years"),
        ("unknown", "real_age 'unknown' is not a number"),
    ],
)
def test_ages_nobody_has_are_refused_by_split_and_counted_by_audit(age, says, tmp_path: Path, capsys):
    labels, out = tmp_path / "labels.csv", str(tmp_path / "out")
    labels.write_text("file_name,real_age\n" + "".join(f"{n}.jpg,{n * 37 % 90}\n" for n in range(200)) + f"x,{age}\n")
    assert main(["labels", "split", "--labels", str(labels), "--out", out]) == 65
    assert f"{labels} line 202: {says}" in capsys.readouterr().err
    assert main(["labels", "audit", "--labels", str(labels), "--out", out]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["count"] == 201
    assert found["without_age"] + found["out_of_range"] == 1
    assert 0 <= found["min"] <= found["max"] <= 120


@pytest.mark.parametrize("command", ["sample", "audit", "split"])
def test_an_invalid_store_does_not_stop_commands_that_use_none(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AGE_STORE", "s3://user:password@bucket/prefix")
    labels, out = tmp_path / "labels.csv", str(tmp_path / "out")
    labels.write_text("file_name,real_age\n" + "".join(f"{n}.jpg,{n % 90}\n" for n in range(200)))
    if command == "sample":
        assert main(["sample", "--out", out, "--count", "2"]) == 0
    else:
        assert main(["labels", command, "--labels", str(labels), "--out", out]) == 0
    assert main(["history"]) == 64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["snapshot", "--recipe", "none"], "demo, gpu_full, quick, reference, strong, strong_resnet50"),
        (["snapshot", "--set", "finetune.epoch=3"], "'finetune' has: epochs"),
        (["snapshot", "--set", "finetune.epochs=0"], "finetune.epochs = 0: Input should be greater than"),
        (["summary", "--run", "none"], "run none is not in"),
    ],
)
def test_errors_are_a_line_without_a_traceback(
    arguments: list[str], message: str, place: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(arguments) != 0
    shown = capsys.readouterr().err
    assert f"\n{arguments[0]}: " in f"\n{shown}"
    assert message in shown
    assert "Traceback" not in shown


def test_age_set_must_be_json(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("AGE_SET", "finetune.epochs=3")
    assert main(["snapshot"]) == 64
    assert 'write {"finetune.epochs": 3}' in capsys.readouterr().err


@pytest.mark.parametrize("source", ["--set", "AGE_SET"])
def test_errors_name_the_source_of_a_setting(
    source: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    if source == "AGE_SET":
        monkeypatch.setenv("AGE_SET", '{"finetune.epochs": 0}')
    given = ["--set", "finetune.epochs=0"] if source == "--set" else []
    assert main(["snapshot", *given]) == 64
    assert f"snapshot: {source} finetune.epochs = 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stage", "setting", "said"),
    [
        ("evaluate", "finetune.epochs=3", "finetune.epochs (give it to finetune)"),
        ("gate", "card.owner=ann", "card.owner (give it to publish)"),
        ("gate", "data.balance_ages=0.5", "data.balance_ages (give it to snapshot or validate"),
        ("split", "data.balance_ages=0.5", ""),
        ("baseline", "finetune.last_layers=3", ""),  # what it caches
        ("finetune", "augmentation.train_augmentations=4", ""),
        ("evaluate", "compute.cache_budget_gb=1", ""),
        ("snapshot", "card.owner=ann", ""),
    ],
)
def test_a_setting_that_a_stage_does_not_read_is_named_with_the_stages_that_do(
    stage: str, setting: str, said: str, caplog: pytest.LogCaptureFixture
):
    stage_module.warn_of_settings_without_effect(stage, [setting])
    line = f"{stage} does not read these settings, which have no effect on it: {said}"
    assert [message.startswith(line) for message in caplog.messages] == ([True] if said else [])


def test_settings_for_all_stages_of_a_run_warn_of_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("AGE_SET", '{"finetune.epochs": 3, "gate.max_test_mae": 40}')
    assert main(["snapshot", "--run", "x", "--set", "card.owner=ann"]) == 0
    assert main(["split", "--run", "x"]) == MissingInputError.exit_code
    assert "no effect" not in caplog.text
    assert main(["split", "--run", "x", "--set", "gate.max_test_mae=30"]) == MissingInputError.exit_code
    told = "split does not read these settings, which have no effect on it: gate.max_test_mae (give it to gate)"
    assert told in caplog.messages


def test_several_settings_that_a_stage_does_not_read_are_named_in_one_line(caplog: pytest.LogCaptureFixture):
    stage_module.warn_of_settings_without_effect("evaluate", ["card.owner=ann", "gate.max_test_mae=30"])
    (line,) = caplog.messages
    assert line.endswith("on it: card.owner (give it to publish), gate.max_test_mae (give it to gate)")


def test_a_full_disk_is_named_by_the_option_that_chose_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(synthetic_faces, "draw_sample", no_space)
    monkeypatch.setattr("age_tasks.store.disk.free_bytes", lambda folder: 0 if "faces" in str(folder) else 10**9)
    assert main(["sample", "--out", str(tmp_path / "faces")]) == DiskFullError.exit_code
    assert "(--out)" in capsys.readouterr().err


def test_a_full_disk_is_named_for_the_table_of_predict(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("age_tasks.cli.models.open_store", no_space)
    monkeypatch.setattr("age_tasks.store.disk.free_bytes", lambda folder: 0 if "tables" in str(folder) else 10**9)
    image = str(next((Path(os.environ["AGE_LABELS"]).parent / "images").iterdir()))
    assert main(["predict", image, "--out", str(place / "tables" / "ages.csv")]) == DiskFullError.exit_code
    assert "(--out)" in capsys.readouterr().err


def test_an_address_on_s3_is_no_disk(place: Path, monkeypatch: pytest.MonkeyPatch):
    def refused(*_: object) -> None:
        raise StoreError("refused")

    monkeypatch.setattr("age_tasks.cli.models.output_file", refused)
    image = str(next((Path(os.environ["AGE_LABELS"]).parent / "images").iterdir()))
    assert main(["predict", image, "--out", "s3://bucket/ages.csv"]) == StoreError.exit_code


@pytest.mark.parametrize("command", ["predict", "score"])
def test_a_table_that_can_t_be_written_is_refused_before_the_work(
    command: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("age_tasks.cli.models._predicted_ages", lambda *_: pytest.fail("ages were predicted"))
    monkeypatch.setenv("AGE_SCORE_IMAGES", "faces")
    monkeypatch.setenv("AGE_SCORE_OUT", str(place))
    given = ["predict", "faces", "--out", str(place)] if command == "predict" else ["score"]
    assert main(given) == SettingsError.exit_code
    assert f"{command}: {place} is a folder, no file to write" in capsys.readouterr().err


def test_the_demo_shows_the_line_that_a_stage_logs(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, logger=stage_module.__name__)
    stage_module.progress("snapshot", "done in 0.6 s")
    (pattern,) = re.findall(r"grep .*-oE '([^']+)'", (PROJECT / "Makefile").read_text())
    line = f"[2026-11-25] {{subprocess.py:106}} INFO - 12:00:00 {caplog.messages[0]} task_id=snapshot"
    found = subprocess.run(["grep", "-oE", pattern], input=line, capture_output=True, text=True, check=True)
    assert found.stdout == "== stage snapshot: done in 0.6 s ==\n"


@pytest.mark.parametrize("command", [["--help"], ["settings"], ["environment"], ["history"], ["labels", "audit"]])
def test_a_reader_that_ends_early_is_no_error(command: list[str], place: Path):
    """As `head` does; here the reader is gone before anything is printed."""
    reader, writer = os.pipe()
    os.close(reader)
    options = ["--labels", os.environ["AGE_LABELS"], "--out", str(place / "audit")] if command[-1] == "audit" else []
    program = [sys.executable, "-m", "age_tasks", *command, *options]
    done = subprocess.run(program, cwd=PROJECT, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert done.returncode == (1 if command == ["--help"] else NOBODY_READS)
    assert not re.search("Traceback|BrokenPipe|Exception ignored", done.stderr)


@pytest.mark.parametrize("command", [["--help"], ["gate", "--help"], ["settings"]])
def test_commands_without_training_import_no_heavy_library(command: list[str]):
    program = (
        "import sys; from age_tasks.cli.app import main; main(sys.argv[1:]); "
        "heavy = {'tensorflow', 'keras', 'pandas', 'numpy', 'matplotlib', 'great_expectations', 'airflow', 'rich'}; "
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, *command], cwd=PROJECT, capture_output=True, text=True)
    assert done.stderr == "[]\n"


@pytest.mark.parametrize("command", [["--help"], ["gate", "--run", "none"]])
def test_a_command_without_training_starts_within_a_second_of_processor_time(command: list[str], place: Path):
    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "age_tasks", *command], cwd=PROJECT, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 1


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (signal.SIGKILL, "signal 9 (Killed), usually because memory ran out: "),
        (signal.SIGTERM, "signal 15 (Terminated), as a person, `timeout` or the stop of a container sends it; "),
        (signal.SIGSEGV, "signal 11 (Segmentation fault), a fault in a library or the hardware; "),
    ],
)
def test_a_run_says_which_signal_ended_a_stage(
    number: int, says: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(pipeline, "preload", lambda: None)
    monkeypatch.setattr(pipeline, "run_isolated", lambda _, given, env: -number if given == ["validate"] else 0)
    assert main(["run", "--run", "monday"]) == 128 + number
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"run: validate was ended by {says}")
    assert line.endswith("; `age-tasks run --run monday` continues")


@pytest.mark.slow
def test_a_run_stops_at_the_stage_that_fails(place: Path):
    command = [sys.executable, "-m", "age_tasks", "run", "--run", "x", "--recipe", "demo"]
    refused = ["--set", "validate.max_quarantine_fraction=0.01"]
    done = subprocess.run([*command, *refused], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 65
    assert "17 of 172 rows" in done.stderr
    assert "== stage snapshot: done in " in done.stderr
    assert "== stage validate: failed ==" in done.stderr
    assert "stage split" not in done.stderr


@pytest.mark.slow
def test_the_error_that_ends_a_run_is_the_last_line(place: Path, tmp_path: Path):
    (tmp_path / "labels.csv").write_text("file,age\n")
    env = dict(os.environ, AGE_LABELS=str(tmp_path / "labels.csv"))
    command = [sys.executable, "-m", "age_tasks", "run", "--recipe", "demo"]
    done = subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True)
    assert done.returncode == 65
    assert done.stderr.splitlines()[-1].startswith("snapshot: ")
