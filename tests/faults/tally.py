"""Counts of faults that were tried, and of those that were survived: what `make test-faults` writes to its file."""

import contextlib
from collections.abc import Callable, Iterable, Iterator

import pytest

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
    """The rows of each kind added up: tried, survived, lost and the facts; and the tests that failed."""
    kinds: dict[str, dict] = {}
    for row in rows:
        kind = kinds.setdefault(row["kind"], {"tried": 0, "survived": 0, "lost": 0})
        kind["tried"] += row["tried"]
        kind["survived"] += row["survived"]
        kind["lost"] += row["tried"] - row["survived"]
        kind.update({name: value for name, value in row.items() if name not in ("kind", "tried", "survived")})
    return {"command": "make test-faults", "seconds": round(seconds), "failed_tests": sorted(set(failed)), **kinds}
