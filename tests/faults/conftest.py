"""Every test here says how often it tried a fault and what survived.

`make test-faults` writes the sums to benchmarks/faults.json.
"""

import json
import os
import time
from pathlib import Path

import pytest

ROWS: list[dict] = []
BEGAN = time.time()


@pytest.fixture
def tally(record_property):
    """`tally("kills", tried=60, survived=60)`: what a test tried of one kind; further keywords are kept beside it."""

    def say(kind: str, *, tried: int, survived: int, **facts) -> None:
        record_property("faults", {"kind": kind, "tried": tried, "survived": survived, **facts})

    return say


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call":
        ROWS.extend(row for name, row in report.user_properties if name == "faults")


def pytest_sessionfinish(session: pytest.Session) -> None:
    where = os.environ.get("FAULTS_JSON")
    if where and not hasattr(session.config, "workerinput"):
        Path(where).write_text(json.dumps(sums(ROWS), indent=2) + "\n")


def sums(rows: list[dict]) -> dict:
    """Rows of one kind added up: tried, survived, lost, and whatever else they say, one kind a key."""
    kinds: dict[str, dict] = {}
    for row in rows:
        kind = kinds.setdefault(row["kind"], {"tried": 0, "survived": 0, "lost": 0})
        kind["tried"] += row["tried"]
        kind["survived"] += row["survived"]
        kind["lost"] += row["tried"] - row["survived"]
        kind.update({name: value for name, value in row.items() if name not in ("kind", "tried", "survived")})
    return {"command": "make test-faults", "seconds": round(time.time() - BEGAN), **kinds}
