"""An image that is to be erased, and what files look like without it: tables, JSON, pages."""

import csv
import html
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import markupsafe

from age_tasks.reports.safe_csv import as_written

FORGOTTEN = "(forgotten)"


@dataclass(frozen=True)
class ErasedImage:
    """An image and everything that identifies it.

    Args:
        name: its file name in the labels; its sha256 if no name is known.
        names: this name and those of its copies; none if no name is known.
        sha256s: of every decodable image that the name has stood for.
        stored_sha256s: these, and of files that could not be decoded, which may stand for many images.
        near_duplicates: file names of other images that are nearly the same; they are not erased with it.
    """

    name: str
    names: frozenset[str]
    sha256s: frozenset[str]
    stored_sha256s: frozenset[str]
    near_duplicates: frozenset[str]

    @cached_property
    def mentions(self) -> re.Pattern[str]:
        """Its names in running text; without names that could be mistaken for a word or a number."""
        forms = [
            form for name in self.names if re.search(r"[^\W\d]\.|\.[^\W\d]", name) for form in _written_forms(name)
        ]
        return re.compile(rf"(?<![\w./-])(?:{_any_of(forms)})(?![\w/-]|\.\w)")

    @cached_property
    def page_lines(self) -> re.Pattern[str]:
        """The lines of an HTML page about it: a row of a table, or a figure."""
        forms = [form for name in self.names for form in _written_forms(name)]
        return re.compile(rf"^.*<(?:td|br)>(?:{_any_of(forms)})<.*\n", re.MULTILINE)


def table_without(image: ErasedImage, content: bytes, keep_line_numbers: bool) -> bytes:
    """A CSV file without the image's rows; all other rows stay byte for byte, except for mentions of its names.

    Args:
        keep_line_numbers: put empty lines in place of the rows, and leave mentions.
    """
    lines = io.StringIO(content.decode(errors="surrogateescape"), newline="").readlines()
    reader = csv.reader(lines)
    header = [cell.strip("\ufeff ") for cell in next(reader, [])]
    identifiers = {
        at: image.sha256s if name == "sha256" else image.names
        for at, name in enumerate(header)
        if name == "sha256" or name.endswith("file_name")
    }
    kept, start = lines[: reader.line_num], reader.line_num
    for cells in reader:
        row, start = lines[start : reader.line_num], reader.line_num
        own = {at: cells[at] for at in identifiers if at < len(cells)}
        if any({cell.strip(), as_written(cell)} & identifiers[at] for at, cell in own.items()):
            kept += ["\n"] * len(row) if keep_line_numbers else []
        elif keep_line_numbers or any(image.mentions.search(cell) for cell in own.values()):  # of a similar name
            kept += row
        else:
            kept += [image.mentions.sub(FORGOTTEN, line) for line in row]
    return "".join(kept).encode(errors="surrogateescape")


def json_without(image: ErasedImage, value: Any) -> Any:
    """A JSON value without the entries of lists that are about the image, and without mentions of it; keys stay."""
    match value:
        case str():
            return image.mentions.sub(FORGOTTEN, value)
        case list():
            return [json_without(image, each) for each in value if not _is_about(image, each)]
        case dict():
            return {key: json_without(image, each) for key, each in value.items()}
    return value


def page_without(image: ErasedImage, page: str) -> str:
    """An HTML page without the lines about the image and without mentions of it."""
    return image.mentions.sub(FORGOTTEN, image.page_lines.sub("", page))


def _is_about(image: ErasedImage, value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    data = value.get("data")  # of a task for Label Studio
    own = value.get("file_name") in image.names or value.get("sha256") in image.sha256s
    return own or (isinstance(data, dict) and _is_about(image, data))


def _written_forms(name: str) -> set[str]:
    """A name as it is, and as HTML pages write it."""
    return {name, html.escape(name), str(markupsafe.escape(name))}


def _any_of(texts: Iterable[str]) -> str:
    """A pattern of any of the texts, the longest first; of none, one that never matches."""
    return "|".join(map(re.escape, sorted(texts, key=len, reverse=True))) or "(?!)"
