"""Every test here counts the faults that it tried and those that were survived.

`make test-faults` writes the sums to benchmarks/faults.json.
"""

import json
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.tally import Row, Tally, sums

ROWS: list[Row] = []
FAILED: list[str] = []
BEGAN = time.time()


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Iterator[Tally]:
    """Counts what the test tries; recorded whether it passes or fails."""
    tally = Tally()
    yield tally
    for row in tally.rows():
        record_property("faults", row)


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Random numbers of a printed seed, new in each run of a test marked `faults`; `SEED=… pytest …` repeats them."""
    new = random.SystemRandom().randrange(10**9) if request.node.get_closest_marker("faults") else 0
    seed = int(os.environ.get("SEED") or new)
    print(f"SEED={seed}")
    return random.Random(seed)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        FAILED.append(report.nodeid)
    if report.when == "teardown":  # the properties of all phases
        ROWS.extend(row for name, row in report.user_properties if name == "faults")


def pytest_sessionfinish(session: pytest.Session) -> None:
    target = os.environ.get("FAULTS_JSON")
    if target and not hasattr(session.config, "workerinput"):
        Path(target).write_text(json.dumps(sums(ROWS, FAILED, time.time() - BEGAN), indent=2) + "\n")
