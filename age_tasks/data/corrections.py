"""Ages that people give in a labelling tool, read from its export (Label Studio), or from a table."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from age_tasks.data.expectations import age_bounds
from age_tasks.data.labels import age_in_years
from age_tasks.data.tables import read_table
from age_tasks.errors import LabelsError
from age_tasks.store.base import from_json

AGE = "age"  # the name of the control in which a labeller writes the age; `reports.label_studio` writes it
UNLABELLED = "unlabelled"  # true of an image that had no label when it was listed
WHO, WHEN = "labelled_by", "labelled_at"  # columns of a table of corrections, and of merged labels
_IMPORT = "import the tasks that `age-tasks` writes, or add file_name to their data"


class _Annotation(BaseModel):
    """What is read of an annotation of a task; https://labelstud.io/guide/task_format."""

    result: list[dict[str, Any]] | None = None
    was_cancelled: bool = False
    completed_by: Any = None
    updated_at: str | None = None
    created_at: str | None = None


class _Task(BaseModel):
    """What is read of a task."""

    data: dict[str, Any]
    annotations: list[_Annotation] | None = None


@dataclass(frozen=True)
class Correction:
    """What one person said about one image.

    Args:
        file_name: as the labels write it.
        age: in years.
        before: the age in the labels when the person saw the image, in years; NaN if nobody knows; None if it had none.
        sha256: of the image that the person saw; empty if nobody knows.
        run: whose list of labels to look at the image was on; empty if it was on none.
        who: the person; empty if nobody knows.
        when: ISO time; empty if nobody knows.
        where: such as `line 3` or `task 12`, for messages.
    """

    file_name: str
    age: float
    before: float | None
    sha256: str
    run: str
    who: str
    when: str
    where: str


@dataclass(frozen=True)
class Corrections:
    """The corrections of a file, in its order, and how many of its tasks nobody has answered, or somebody skipped."""

    given: list[Correction]
    unanswered: int = 0
    skipped: int = 0


def read_corrections(data: bytes, name: str) -> Corrections:
    """Read an export of Label Studio (JSON, JSON-MIN or CSV), or a table with the columns file_name and real_age.

    Formats: https://labelstud.io/guide/export. The table may say who and when, in `labelled_by` and `labelled_at`.

    Args:
        name: the file's name in errors.

    Raises:
        LabelsError: another format, or an answer that is no age; names the line or the task.
    """
    if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"[", b"{")):
        return _from_tasks(_tasks(data, name), name)
    table = read_table(data, name, ("file_name",))
    rows = [dict(zip(table.header, cells, strict=True)) for cells in table.rows]
    places = [f"line {line}" for line in table.lines]
    if "annotation_id" in table.header:
        return _collected([_flat(row, place, name) for row, place in zip(rows, places, strict=True)])
    if "real_age" not in table.header:
        raise LabelsError(
            f"{name} has no column 'real_age'; corrections are a table with the columns file_name,real_age, or an "
            f"export of Label Studio (JSON, JSON-MIN or CSV). Its columns: {', '.join(table.header)}"
        )
    return _collected([_plain(row, place, name) for row, place in zip(rows, places, strict=True)])


def _tasks(data: bytes, name: str) -> list[dict[str, Any]]:
    try:
        return TypeAdapter(list[dict[str, Any]]).validate_python(from_json(data))
    except ValidationError:
        raise LabelsError(f"{name} is no list of tasks; export the project as JSON, JSON-MIN or CSV") from None
    except ValueError as error:
        raise LabelsError(f"{name} is not valid JSON ({error}); export it again") from None


def _from_tasks(tasks: Sequence[Mapping[str, Any]], name: str) -> Corrections:
    found: list[Correction | None] = []
    skipped = 0
    for at, task in enumerate(tasks, start=1):
        place = f"task {task.get('id', at)}"
        if "data" not in task:
            found.append(_flat(task, place, name))
            continue
        read = _read_task(task, place, name)
        answers = list(_annotated(read, place, name))
        cancelled = sum(each.was_cancelled for each in read.annotations or ())
        skipped += cancelled
        found += answers or ([] if cancelled else [None])
    return replace(_collected(found), skipped=skipped)


def _read_task(task: Mapping[str, Any], place: str, name: str) -> _Task:
    try:
        return _Task.model_validate(task)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(map(str, problem["loc"]))
        raise LabelsError(
            f"{name} {place} is no task of Label Studio: {field}: {problem['msg']}; export it again"
        ) from None


def _annotated(task: _Task, place: str, name: str) -> Iterator[Correction]:
    """The answers in the annotations of one task; those that a person cancelled are none."""
    for each in task.annotations or ():
        answers = [answer for result in each.result or () if (answer := _number(result.get("value")))]
        if each.was_cancelled or not answers:
            continue
        if len(answers) > 1:
            raise LabelsError(f"{name} {place} has {len(answers)} numbers in one annotation; keep one, the age")
        when = each.updated_at or each.created_at
        yield _correction(task.data, answers[0], _person(each.completed_by), when, place, name)


def _flat(row: Mapping[str, Any], place: str, name: str) -> Correction | None:
    """The answer of a task in JSON-MIN or CSV; None if there is none."""
    if not (answer := _number(row.get(AGE))):
        return None
    when = row.get("updated_at") or row.get("created_at")
    return _correction(row, answer, _person(row.get("annotator")), when, place, name)


def _plain(row: Mapping[str, Any], place: str, name: str) -> Correction | None:
    """The row of a table with the columns file_name and real_age; None if it has no age."""
    if not (answer := row["real_age"].strip()):
        return None
    data = {"file_name": row["file_name"], UNLABELLED: row.get(UNLABELLED)}
    return _correction(data, answer, row.get(WHO, ""), row.get(WHEN, ""), place, name)


def _correction(data: Mapping[str, Any], answer: str, who: str, when: object, place: str, name: str) -> Correction:
    file_name = str(data.get("file_name") or "").strip()
    if not file_name:
        raise LabelsError(f"{name} {place} has no file_name; {_IMPORT}")
    age, (low, high) = age_in_years(answer), age_bounds()
    if not low <= age <= high:
        raise LabelsError(
            f"{name} {place}: {answer!r} for {file_name} is not an age from {low:g} to {high:g} years; correct it there"
        )
    unlabelled = str(data.get(UNLABELLED) or "").lower() == "true"
    before = age_in_years(str(data.get("real_age") if data.get("real_age") is not None else ""))
    return Correction(
        file_name=file_name,
        age=age,
        before=None if unlabelled else before,
        sha256=str(data.get("sha256") or ""),
        run=str(data.get("run") or ""),
        who=" ".join(who.split()),
        when=str(when or "").strip(),
        where=place,
    )


def _number(value: Any) -> str:
    """The number that an answer holds, as text: 34, "34", {"number": 34}, [{"number": 34}], or such JSON as text."""
    match value:
        case bool():
            return ""
        case int() | float():
            return "" if math.isnan(value) else f"{value:.10g}"
        case {"number": number}:
            return _number(number)
        case {"text": text} | [text]:
            return _number(text)
        case str() if value.strip().startswith(("[", "{")):
            try:
                return _number(from_json(value))
            except ValueError:
                return value.strip()
        case str():
            return value.strip()
    return ""


def _person(value: Any) -> str:
    """Who annotated: Label Studio writes a number, a name, an address, or an object with these."""
    if isinstance(value, dict):
        value = value.get("email") or value.get("username") or value.get("id")
    return f"Label Studio user {value}" if isinstance(value, int) else str(value or "")


def _collected(found: Sequence[Correction | None]) -> Corrections:
    given = [each for each in found if each]
    return Corrections(given, unanswered=len(found) - len(given))
