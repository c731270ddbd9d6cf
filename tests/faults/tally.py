"""Counts of faults that were tried, and of those that were survived: what `make test-faults` writes to its file."""

import contextlib
from collections.abc import Callable, Iterable, Iterator

import pytest

# What users can give, by kind; tests draw as many inputs of each as its number in benchmarks/faults.json.
GENERATED = (
    "labels_bytes",
    "predict_tables",
    "image_bytes",
    "file_names",
    "recipes",
    "set_texts",
    "json_settings",
    "trigger_conf",
    "variables",
    "client_variables",
    "s3_answers",
    "run_ids",
    "approvals",
    "rollbacks",
    "stored_documents",
    "commands",
)

Row = dict[str, object]
"""`kind`, `tried` and `survived` of one test, and the facts that it notes."""


class Tally:
    """What one test tried. A fault counts as survived only when everything that was expected after it came true.

    with tally.attempt("kills"):
        ...  # do it, and assert what must hold afterwards
    """

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}

    @contextlib.contextmanager
    def attempt(self, kind: str, count: int | Callable[[], int] = 1) -> Iterator[None]:
        """Count faults as tried, and as survived unless an error leaves the context; a skip counts as neither.

        Args:
            count: how many faults; a function where only the end of the context knows.
        """
        try:
            yield
        except pytest.skip.Exception:
            raise
        except BaseException:
            self._count(kind, count, survived=False)
            raise
        self._count(kind, count, survived=True)

    def note(self, kind: str, **facts: object) -> None:
        """Keep facts beside the counts of a kind."""
        self._row(kind).update(facts)

    def rows(self) -> list[Row]:
        """A row for each kind."""
        return list(self._rows.values())

    def _count(self, kind: str, count: int | Callable[[], int], survived: bool) -> None:
        number, row = count() if callable(count) else count, self._row(kind)
        row["tried"] += number
        row["survived"] += number if survived else 0

    def _row(self, kind: str) -> Row:
        return self._rows.setdefault(kind, {"kind": kind, "tried": 0, "survived": 0})


def sums(rows: Iterable[Row], failed: Iterable[str], seconds: float) -> dict[str, object]:
    """The rows of each kind added up, and of the generated inputs all; the facts; the tests that failed."""
    kinds: dict[str, dict] = {}
    for row in rows:
        kind = kinds.setdefault(row["kind"], {"tried": 0, "survived": 0, "lost": 0})
        kind["tried"] += row["tried"]
        kind["survived"] += row["survived"]
        kind["lost"] += row["tried"] - row["survived"]
        kind.update({name: value for name, value in row.items() if name not in ("kind", "tried", "survived")})
    generated = [kinds[kind] for kind in GENERATED if kind in kinds]
    total = {
        "generated_inputs": {name: sum(kind[name] for kind in generated) for name in ("tried", "survived", "lost")}
    }
    found = {"command": "make test-faults", "seconds": round(seconds), "failed_tests": sorted(set(failed))}
    return found | (total if generated else {}) | kinds
