"""The record of a stage, and what describes an error in it."""

import json
from datetime import UTC, datetime
from typing import Any

from age_tasks.errors import SettingsError

Summary = dict[str, Any]


Record = dict[str, Any]


RECORD = "stage.json"


def reused_from(record: Record | None) -> str | None:
    """The key of the run whose result a reused stage stands for; None for one that was carried out."""
    return (record or {}).get("reused_from")


def to_json(value: dict) -> bytes:
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError as error:  # half a character: of a setting, or of an address that is not UTF-8
        raise SettingsError(f"{text[max(error.start - 40, 0) : error.end]!r}: this can't be written as UTF-8") from None


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
