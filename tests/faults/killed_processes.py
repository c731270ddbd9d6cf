"""Processes that are killed by SIGKILL: after a while, or before a certain write."""

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from age_tasks.environment import PROJECT
from age_tasks.pipeline import STAGES
from age_tasks.runs.keys import RECORD
from age_tasks.runs.records import StageRecord
from age_tasks.store import open_store
from age_tasks.store.base import Store
from tests.support.builders import publish
from tests.support.records import put_record
from tests.support.settings import QUICK

SMALL = QUICK | {"baseline.epochs": 3, "finetune.epochs": 3}
WRITES = frozenset({"os.rename", "os.remove", "os.mkdir"})
CHANGES = (b"PUT ", b"POST ", b"DELETE ")
ABORTED = -signal.SIGKILL


@dataclass(frozen=True)
class Attempt:
    """The output of a command, and whether it was killed before it ended."""

    output: str
    killed: bool

    def stage(self) -> str:
        """The stage that was at work when it ended."""
        return max(STAGES, key=lambda stage: self.output.rfind(f" {stage} of run"))


class SmallRun:
    """A run with small settings, in its own store and cache, by `python -m age_tasks run`."""

    def __init__(self, root: Path, labels: Path, key: str = "killed", **variables: str):
        self.root, self.key = root, key
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("AGE_")}
        self.env |= {"AGE_LABELS": str(labels), "AGE_STORE": str(root / "store"), "AGE_CACHE": str(root / "cache")}
        self.env |= {"AGE_RECIPE": "demo", "AGE_SET": json.dumps(SMALL), **variables}
        self.store: Store = open_store(self.env["AGE_STORE"])

    def start(self, log: Path, key: str | None = None) -> subprocess.Popen:
        """Start or continue the run in a new process group."""
        command = [sys.executable, "-m", "age_tasks", "run", "--run", key or self.key]
        with log.open("w") as output:
            return subprocess.Popen(
                command, env=self.env, cwd=PROJECT, stdout=output, stderr=output, start_new_session=True
            )

    def attempt(self, stage: str | None = None, seconds: float = 0) -> Attempt:
        """Start or continue the run; if a stage is given, kill all processes so many seconds after it began."""
        log = self.root / "attempt.log"
        process = self.start(log)
        if stage:
            while process.poll() is None and f" {stage} of run" not in log.read_text():
                time.sleep(0.01)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        return Attempt(log.read_text(), killed=process.wait() == ABORTED)

    def records(self) -> dict[str, StageRecord]:
        return finished(self.store, self.key)


def finished(store: Store, key: str) -> dict[str, StageRecord]:
    """The records of the stages that are done.

    Raises:
        AssertionError: an output differs from its record.
    """
    records = {}
    for stage in STAGES:
        if store.exists(f"runs/{key}/{stage}/{RECORD}"):
            record = StageRecord.parse(store.get(f"runs/{key}/{stage}/{RECORD}"), key)
            for name, output in record.outputs.items():
                assert sha256(store.get(f"runs/{record.executed_by}/{stage}/{name}")).hexdigest() == output.sha256
            if record.done:
                records[stage] = record
    return records


def killed_before_write(number: int, part: str, function: Callable, *arguments: object) -> bool:
    """Call a function in a process that is killed before its n-th write to a file or key whose name contains `part`.

    Creating, opening, renaming and removing a file are a write each, and so is a request that changes an object, of
    which half is sent. Returns False if the function ended before that.

    Raises:
        AssertionError: the function failed.
    """
    process = multiprocessing.get_context("spawn").Process(
        target=_call_until_write, args=(number, part, function, arguments)
    )
    process.start()
    process.join()
    assert process.exitcode in (0, ABORTED)
    return process.exitcode == ABORTED


def _call_until_write(number: int, part: str, function: Callable, arguments: tuple) -> None:
    left, request = number, b""

    def observe(event: str, details: tuple) -> None:
        nonlocal left, request
        if event == "http.client.send":
            line = bytes(details[1]).partition(b"\r\n")[0]
            request = line if line.endswith(b"HTTP/1.1") else request  # else the body of the request before
            left -= request.startswith(CHANGES) and part.encode() in request
        elif event == "open":
            left -= part in str(details[0]) and bool(details[2] & (os.O_WRONLY | os.O_RDWR))
        elif event in WRITES:
            left -= any(part in str(detail) for detail in details)
        if left == 0:
            left = -1  # the next line sends, which is an event too
            if event == "http.client.send":
                details[0].sock.sendall(details[1][: len(details[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(observe)
    sys.exit(function(*arguments))


def publish_one(url: str, version: str, folder: Path) -> None:
    """Publish a version of one small file into the store at `url`."""
    publish(open_store(url), version, folder)


def record_one(url: str, run: str) -> None:
    """Write a record of the stage `split` into the store at `url`, a day after `monday`'s."""
    put_record(open_store(url), "split", run, finished="2026-11-23T10:16:00.000+00:00")
