"""Processes that are killed as `kill -9` does it: at a moment, or at a point of what they write."""

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
from tests.support.settings import QUICK

SMALL = QUICK | {"baseline.epochs": 3, "finetune.epochs": 3}
WRITES = frozenset({"os.rename", "os.remove", "os.mkdir"})
CHANGES = (b"PUT ", b"POST ", b"DELETE ")
ABORTED = -signal.SIGKILL


@dataclass(frozen=True)
class Attempt:
    """What a command said, and whether it was killed before it ended."""

    said: str
    killed: bool

    def stage(self) -> str:
        """The stage that was at work when it ended."""
        return max(STAGES, key=lambda stage: self.said.rfind(f" {stage} of run"))


class Place:
    """A store and a cache of their own, in which `python -m age_tasks run` works on the labels with small settings."""

    def __init__(self, root: Path, labels: Path, key: str = "killed", **variables: str):
        self.root, self.key = root, key
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("AGE_")}
        self.env |= {"AGE_LABELS": str(labels), "AGE_STORE": str(root / "store"), "AGE_CACHE": str(root / "cache")}
        self.env |= {"AGE_RECIPE": "demo", "AGE_SET": json.dumps(SMALL), **variables}
        self.store: Store = open_store(self.env["AGE_STORE"])

    def start(self, log: Path, key: str | None = None) -> subprocess.Popen:
        """Begin the run, or go on with it, in a process group of its own."""
        command = [sys.executable, "-m", "age_tasks", "run", "--run", key or self.key]
        with log.open("w") as said:
            return subprocess.Popen(
                command, env=self.env, cwd=PROJECT, stdout=said, stderr=said, start_new_session=True
            )

    def attempt(self, stage: str | None = None, seconds: float = 0) -> Attempt:
        """Begin the run or go on with it; with a stage named, all its processes are killed so long after it began."""
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
        AssertionError: what a record lists is not there as it lists it.
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


def dies(number: int, where: str, function: Callable, *arguments: object) -> bool:
    """Call a function in a process that is killed before its so many-th write to what `where` is in the name of.

    A write is each step of one: a file made, opened, renamed, removed, or half of what is sent to a server. Returns
    False if the function came to its end before that.

    Raises:
        AssertionError: it failed.
    """
    process = multiprocessing.get_context("spawn").Process(target=_die, args=(number, where, function, arguments))
    process.start()
    process.join()
    assert process.exitcode in (0, ABORTED)
    return process.exitcode == ABORTED


def _die(number: int, where: str, function: Callable, arguments: tuple) -> None:
    left, request = number, b""

    def hear(event: str, details: tuple) -> None:
        nonlocal left, request
        if event == "http.client.send":
            line = bytes(details[1]).partition(b"\r\n")[0]
            request = line if line.endswith(b"HTTP/1.1") else request  # or it is the body of the last one
            left -= request.startswith(CHANGES) and where.encode() in request
        elif event == "open":
            left -= where in str(details[0]) and bool(details[2] & (os.O_WRONLY | os.O_RDWR))
        elif event in WRITES:
            left -= any(where in str(detail) for detail in details)
        if left == 0:
            left = -1  # what follows is heard too
            if event == "http.client.send":
                details[0].sock.sendall(details[1][: len(details[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hear)
    sys.exit(function(*arguments))


def publish_one(url: str, version: str, folder: Path) -> None:
    """Publish a version of one small file into the store at `url`."""
    publish(open_store(url), version, folder)
