"""Labels with the corrections of people merged in: what changes, and what contradicts."""

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from age_tasks.data.corrections import WHEN, WHO, Correction
from age_tasks.data.image_folder import name_key
from age_tasks.data.labels import Labels, age_in_years
from age_tasks.data.tables import row_writer
from age_tasks.errors import LabelsError

# `reports.safe_csv` puts an apostrophe before a name that a spreadsheet would take for a formula.
_ESCAPED = re.compile(r"'(?=[=+\-@＝＋－＠])")
_OUT = "leave this one out of the corrections, or correct the labels by hand"


@dataclass(frozen=True)
class Change:
    """A row with another age: its line in the labels, and the age as it was written before."""

    line: int
    before: str
    correction: Correction


@dataclass(frozen=True)
class MergedLabels:
    """The outcome of a merge.

    Args:
        content: the labels as CSV in UTF-8, with the columns `labelled_by` and `labelled_at` for rows that changed.
        changed: rows with another age than before.
        added: images that the labels did not list.
        unchanged: images whose age is said to be what it was.
    """

    content: bytes
    changed: list[Change]
    added: list[Correction]
    unchanged: list[Correction]


def merge(labels: Labels, corrections: Sequence[Correction], name: str, source: str) -> MergedLabels:
    """Merge corrections into labels; rows that nobody corrected stay as they are.

    Args:
        name: of the labels file, in errors.
        source: of the corrections, in errors.

    Raises:
        LabelsError: two corrections, two rows, or a correction and a later change of the labels contradict.
    """
    lines, names, ages, texts = (labels.rows[column].tolist() for column in labels.rows)
    rows_of: dict[str, list[int]] = {}
    for at, file_name in enumerate(names):
        rows_of.setdefault(name_key(file_name), []).append(at)
    changed: list[Change] = []
    added: list[Correction] = []
    unchanged: list[Correction] = []
    said: dict[int, Correction] = {}
    meant = [_unescaped(each) if name_key(each.file_name) not in rows_of else each for each in corrections]
    for key, correction in _one_each(meant, source).items():
        places = rows_of.get(key, [])
        _require_agreement(labels, places, correction, name, source)
        if not places:
            added.append(correction)
        elif ages[places[0]] == correction.age:
            unchanged.append(correction)
        else:
            changed += [Change(lines[at], texts[at], correction) for at in places]
            said |= dict.fromkeys(places, correction)
    return MergedLabels(_written(labels, said, added), changed, added, unchanged)


def _unescaped(correction: Correction) -> Correction:
    return replace(correction, file_name=_ESCAPED.sub("", correction.file_name, count=1))


def _one_each(corrections: Sequence[Correction], source: str) -> dict[str, Correction]:
    """The corrections by `name_key`; of several that say the same, the last."""
    found: dict[str, Correction] = {}
    for each in corrections:
        key = name_key(each.file_name)
        other = found.get(key, each)
        if other.age != each.age:
            raise LabelsError(
                f"{source}: two ages for {each.file_name}: {other.age:g} ({_said(other)}) and {each.age:g} "
                f"({_said(each)}); keep one of them"
            )
        found[key] = each
    return found


def _require_agreement(labels: Labels, places: Sequence[int], correction: Correction, name: str, source: str) -> None:
    """Refuse a correction of an image with several ages, or of an age that has changed since a person saw it."""
    if not places:
        return
    rows = labels.rows.iloc[list(places)]
    said = f"{source} {correction.where}: {correction.file_name} is {correction.age:g} ({_said(correction)})"
    if rows["age_text"].nunique() > 1 and rows["real_age"].nunique(dropna=False) > 1:
        listed = " and ".join(
            f"{text} on line {line}" for text, line in zip(rows["age_text"], rows["line"], strict=True)
        )
        raise LabelsError(f"{said}, and {name} lists it as {listed}; which row is meant can't be known: {_OUT}")
    now, line, text = rows["real_age"].tolist()[0], rows["line"].iat[0], rows["age_text"].iat[0]
    if correction.before is None and now != correction.age:
        raise LabelsError(
            f"{said}, an image without a label, but line {line} of {name} lists this name with {text!r}; if it is "
            f"another image, give the file another name; else {_OUT}"
        )
    if correction.before is None or math.isnan(correction.before) or now in (correction.before, correction.age):
        return
    raise LabelsError(
        f"{said}, in place of {correction.before:g}, but line {line} of {name} says {text!r} by now; {_OUT}"
    )


def _written(labels: Labels, said: Mapping[int, Correction], added: Sequence[Correction]) -> bytes:
    """The table as CSV, with the corrections of these rows, and further rows.

    An age with a decimal comma gets a point: between commas, it could not be read any more.
    """
    table = labels.table
    header = [*table.header, *(column for column in (WHO, WHEN) if (said or added) and column not in table.header)]
    columns = {column: at for at, column in enumerate(header)}
    rows = [[*cells, *[""] * (len(header) - len(cells))] for cells in [*table.rows, *([] for _ in added)]]
    for cells, age, text in zip(rows, labels.rows["real_age"].tolist(), labels.rows["age_text"], strict=False):
        if not math.isnan(age) and age_in_years(text) != age:
            cells[columns["real_age"]] = f"{age:.10g}"
    for at, correction in (dict(said) | dict(enumerate(added, start=len(table.rows)))).items():
        answer = {"real_age": f"{correction.age:.10g}", WHO: correction.who, WHEN: correction.when}
        if at >= len(table.rows):
            answer["file_name"] = correction.file_name
        for column, text in answer.items():
            rows[at][columns[column]] = text
    out = io.StringIO()
    write = row_writer(out, rows)
    for cells in (header, *rows):
        write(cells)
    return out.getvalue().encode()


def _said(correction: Correction) -> str:
    return ", ".join(text for text in (correction.who, correction.when, correction.where) if text)


def with_defaults(corrections: Sequence[Correction], who: str, when: str) -> list[Correction]:
    """The corrections, with this person and time where theirs are not known."""
    return [replace(each, who=each.who or who, when=each.when or when) for each in corrections]
