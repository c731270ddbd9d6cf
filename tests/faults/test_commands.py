"""Generated command lines and environments: documented exit codes, no traceback, no secret, nothing lost."""

import contextlib
import hashlib
import io
import logging
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from age_tasks import errors
from age_tasks.cli.app import main
from age_tasks.environment import PROJECT, describe_environment
from tests.faults.generated import ODD, SECRET, attempts
from tests.faults.images import image_file
from tests.faults.tally import Tally
from tests.faults.written import WRITTEN

CODES = {
    error.exit_code for error in vars(errors).values() if isinstance(error, type) and issubclass(error, Exception)
} | {0, 2}
CODES -= {1}  # of what is unexpected, and of a training that diverged
SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
COMMANDS = [["snapshot", "--run", "{x}", "--recipe", "demo"], ["snapshot", "--set", "{x}"], ["snapshot",
    "--recipe", "{x}"], ["validate", "--run", "{x}"], ["validate", "--run", "monday"], ["split", "--run",
    "monday", "--set", "{x}"], ["gate", "--run", "{x}"], ["summary", "--run", "{x}"], ["summary"], ["history"],
    ["champion"], ["settings"], ["environment"], ["rollback", "--reason", "{x}", "--to", "{x}"], ["rollback",
    "--reason", "{x}"], ["prune", "--keep", "{x}"], ["prune"], ["forget", "{x}"], ["labels", "audit",
    "--labels", "{x}", "--out", "{out}"], ["labels", "split", "--labels", "{labels}", "--out", "{out}", "--set",
    "{x}"], ["labels", "audit", "--labels", "{labels}", "--out", "{out}"], ["predict", "{x}"], ["predict",
    "{images}", "--out", "{x}"], ["predict", "{labels}", "--version", "{x}"], ["{x}"], ["{x}", "{x}"], ]  # fmt: skip
RIGHT = ["a.jpg", "1", "x", "finetune.epochs=3", "demo", "monday", "good.png"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Labels with an image, and a store with a run and a version of 0.1.0."""
    (tmp_path / "user" / "images").mkdir(parents=True)
    for number in range(4):
        (tmp_path / "user" / "images" / f"{number}.png").write_bytes(image_file(number))
    (tmp_path / "user" / "labels.csv").write_text(
        "file_name,real_age\n" + "".join(f"{n}.png,{n * 20}\n" for n in range(4))
    )
    for path in WRITTEN.rglob("*.json"):
        to = tmp_path / "store" / path.relative_to(WRITTEN)
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(path.read_bytes())
    return tmp_path


def draw(rng: random.Random, place: Path) -> tuple[list[str], dict[str, str]]:
    """A command line, and its environment."""
    command = []
    for word in rng.choice(COMMANDS):
        odd = rng.choice([*ODD, *RIGHT, *RIGHT]).replace("\0", "")
        # An argument must not lead out of the test's folder.
        odd = odd if not odd.startswith(("/", "~", "file:", "..")) else odd.strip("/~.")
        places = {
            "x": odd,
            "out": str(place / "out"),
            "labels": str(place / "user/labels.csv"),
            "images": str(place / "user/images"),
        }
        for name, text in places.items():
            word = word.replace(f"{{{name}}}", text)
        command.append(word)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AGE_", "AWS_", "MLFLOW_"))}
    env |= {"HOME": str(place / "home"), "AWS_EC2_METADATA_DISABLED": "true", "AWS_ACCESS_KEY_ID": "AKIACANARY"}
    env |= dict.fromkeys(SECRETS, SECRET)
    env |= {
        "AGE_LABELS": str(place / "user/labels.csv"),
        "AGE_STORE": str(place / "store"),
        "AGE_CACHE": str(place / "cache"),
    }
    env |= {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "PYTHONWARNINGS": "ignore"}
    for variable in describe_environment():
        if rng.random() < 0.04 and variable.name not in {"AGE_STORE", "AGE_CACHE", "AGE_AGAIN"}:
            env[variable.name] = rng.choice(ODD).replace("\0", "")
    return command, env


def digest_of(folder: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def check_command(
    run: Callable[[list[str], dict[str, str]], tuple[int, str]], rng: random.Random, place: Path, tally: Tally
) -> None:
    with tally.attempt("commands"):
        command, env = draw(rng, place)
        users, written = digest_of(place / "user"), digest_of(place / "store")
        code, said = run(command, env)
        assert code in CODES, (command, code, said)
        assert "Traceback" not in said, (command, said)
        assert SECRET not in said.replace(*_typed(command)), (command, said)
        assert code == 0 or said.strip(), command
        assert digest_of(place / "user") == users
        now = digest_of(place / "store")
        changed = [name for name, digest in written.items() if now.get(name) != digest]
        # A stage writes its own folder again, and a snapshot its record.
        own = ("/store/labels/", f"/{command[0]}/", "/run.json")
        assert not [name for name in changed if not any(part in name for part in own)], (command, changed)


def _typed(command: list[str]) -> tuple[str, str]:
    """What a person typed may be shown to the same person."""
    typed = " ".join(command)
    return (SECRET, "typed") if SECRET in typed else ("\0", "")


def in_process(command: list[str], env: dict[str, str]) -> tuple[int, str]:
    before, out, root = dict(os.environ), io.StringIO(), logging.getLogger()
    logged = logging.StreamHandler(out)
    root.addHandler(logged)
    os.environ.clear()
    os.environ.update(env)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            return main(command), out.getvalue()
    finally:
        root.removeHandler(logged)
        os.environ.clear()
        os.environ.update(before)


def in_a_process(command: list[str], env: dict[str, str]) -> tuple[int, str]:
    words = [sys.executable, "-m", "age_tasks", *(word.encode("utf-8", "surrogateescape") for word in command)]
    done = subprocess.run(words, env=env, cwd=PROJECT, capture_output=True, timeout=120)
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", "backslashreplace")


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("age_tasks.store.s3.PAUSE_SECONDS", 0.0)
    monkeypatch.setattr("age_tasks.data.labels_file.EMPTY_TRIES", 0)


def test_some_commands(rng: random.Random, request: pytest.FixtureRequest, place: Path, no_pauses: None, tally: Tally):
    for _ in attempts(0, request, few=20):
        check_command(in_process, rng, place, tally)


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_many_commands(rng: random.Random, request: pytest.FixtureRequest, place: Path, no_pauses: None, tally: Tally):
    for _ in attempts(1_500, request):
        check_command(in_process, rng, place, tally)


@pytest.mark.faults
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(2))
def test_processes(part: int, rng: random.Random, request: pytest.FixtureRequest, place: Path, tally: Tally):
    """As people start them: the exit code is the process's."""
    for _ in attempts(100, request):
        check_command(in_a_process, rng, place, tally)
