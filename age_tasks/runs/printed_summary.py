"""The summary of a command as the line that it prints last, which Airflow reads back.

Kubernetes keeps only the end of what a pod prints. `AGE_SUMMARY_BYTES` then says how much: a longer summary is packed,
and shortened where even that is too long. The record of the stage in the store has the whole of it.
"""

import base64
import json
import zlib
from collections.abc import Iterator
from itertools import chain
from typing import Any

from age_tasks.environment import StageVariables
from age_tasks.runs.records import Summary

PACKED, SHORTENED = "packed", "shortened"
LONGEST_TEXTS = (1000, 100)  # characters that texts are cut to, before lists are shortened and after


def print_summary(summary: Summary) -> None:
    """Print the summary of a command, a line of JSON, at most as long as `AGE_SUMMARY_BYTES` says.

    Raises:
        SettingsError: `AGE_SUMMARY_BYTES` is invalid.
    """
    print(summary_line(summary, StageVariables.from_env().summary_bytes), flush=True)


def summary_line(summary: Summary, most_bytes: int | None = None) -> str:
    """A summary as a line of JSON.

    Args:
        summary: its values are plain JSON types.
        most_bytes: that the line may have, with its end. What does not fit is packed (zlib, base64). What does not fit
            then is shortened, and says so: texts are cut to 1000 characters, then the longest list is halved until it
            fits, then texts are cut to 100 characters.
    """
    line = json.dumps(summary, ensure_ascii=False)
    if most_bytes is None or _bytes(line) <= most_bytes:
        return line
    for each in chain([summary], _shortened(summary)):
        line = _packed(each)
        if _bytes(line) <= most_bytes:
            break
    return line


def read_summary_line(line: str | bytes) -> Any:
    """What `summary_line` has written.

    Raises:
        ValueError: the line is none, such as one that was cut.
    """
    said = json.loads(line)
    if not (isinstance(said, dict) and said.keys() == {PACKED}):
        return said
    try:
        return json.loads(zlib.decompress(base64.b64decode(said[PACKED], validate=True)))
    except (TypeError, zlib.error) as error:
        raise ValueError(f"no packed summary: {error}") from None


def _packed(summary: Summary) -> str:
    packed = zlib.compress(json.dumps(summary, ensure_ascii=False).encode(), 9)
    return json.dumps({PACKED: base64.b64encode(packed).decode()})


def _bytes(line: str) -> int:
    return len(line.encode()) + 1


def _shortened(summary: Summary) -> Iterator[Summary]:
    """The summary with less and less in it; each is good until the next is asked for."""
    first, last = LONGEST_TEXTS
    left = _with_texts(summary, first) | {SHORTENED: True}
    yield left
    while longest := max(_lists(left), key=lambda each: len(json.dumps(each)), default=[]):
        del longest[len(longest) // 2 :]
        yield left
    yield _with_texts(left, last)


def _with_texts(value: Any, longest: int) -> Any:
    """A copy whose texts have at most so many characters."""
    if isinstance(value, str) and len(value) > longest:
        return f"{value[: longest - 1]}…"
    if isinstance(value, dict):
        return {name: _with_texts(each, longest) for name, each in value.items()}
    return [_with_texts(each, longest) for each in value] if isinstance(value, list) else value


def _lists(value: Any) -> Iterator[list[Any]]:
    """Every list in it that is not empty."""
    if isinstance(value, list) and value:
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _lists(each)
