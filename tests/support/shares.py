"""Workers that share work: commands with `AGE_SHARE`, in this process or each in one of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from age_tasks.cli.app import main
from age_tasks.environment import PROJECT
from age_tasks.training.feature_cache import FeatureCache, stored_shards


class Killed(BaseException):
    """Raised where a process is killed, as nothing else of it."""


def do_share(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, share: str, *words: str
) -> dict[str, Any]:
    """Execute a command for a share in this process; returns its summary."""
    with monkeypatch.context() as patch:
        patch.setenv("AGE_SHARE", share)
        capsys.readouterr()
        assert main([*words]) == 0
    summary: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return summary


def do_at_once(shares: Iterable[str], *words: str) -> list[dict[str, Any]]:
    """Execute a command for several shares at once, each in a process of its own; returns their summaries."""
    workers = [start_share(share, *words) for share in shares]
    ended = [(*worker.communicate(timeout=300), worker.returncode) for worker in workers]
    assert [code for _, _, code in ended] == [0] * len(workers), ended
    return [json.loads(out.splitlines()[-1]) for out, _, _ in ended]


def start_share(share: str, *words: str) -> "subprocess.Popen[str]":
    """Start a command for a share in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "age_tasks", *words],
        env={**os.environ, "AGE_SHARE": share},
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stored_features(cache: Path) -> dict[str, dict[str, np.ndarray]]:
    """All rows of features by prefix and key; none may be stored twice."""
    keys: dict[Path, list[str]] = {}
    for shard in stored_shards(cache):
        keys.setdefault(shard.index.parent, []).extend(shard.keys)
    assert all(len(set(each)) == len(each) for each in keys.values())
    return {folder.name: dict(zip(each, FeatureCache(folder).rows(each), strict=True)) for folder, each in keys.items()}
