"""An export of Label Studio, as its format is documented: https://labelstud.io/guide/task_format."""

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any


def answered(task: Mapping[str, Any], age: float, number: int = 1, **changed: object) -> dict[str, Any]:
    """A task of a project, annotated with an age in years by ann.

    Args:
        task: as it was imported.
        changed: fields of the annotation.
    """
    task = copy.deepcopy(dict(task))
    answer = {"id": "x1", "from_name": "age", "to_name": "image", "type": "number", "origin": "manual"}
    annotation = {
        "id": 1000 + number,
        "completed_by": {"id": 1, "email": "ann@example.org"},
        "result": [answer | {"value": {"number": age}}],
        "was_cancelled": False,
        "created_at": "2026-11-01T10:00:00Z",
        "updated_at": "2026-11-02T10:00:00Z",
        "lead_time": 4.2,
    }
    return task | {"id": number, "project": 7, "annotations": [annotation | changed]}


def exported(tasks: Sequence[object]) -> bytes:
    """The file that Label Studio exports."""
    return json.dumps(tasks).encode()
