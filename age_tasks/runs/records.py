"""The record of a stage, and what describes an error in it."""

from datetime import UTC, datetime
from typing import Any

Summary = dict[str, Any]


Record = dict[str, Any]


RECORD = "stage.json"


def reused_from(record: Record | None) -> str | None:
    """The key of the run whose result a reused stage stands for; None for one that was carried out."""
    return (record or {}).get("reused_from")


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
