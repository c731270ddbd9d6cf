"""Lists of images as tasks for Label Studio, with the age that a model gives as pre-annotation.

Format: https://labelstud.io/guide/predictions. The images are in the tasks, as data URIs: a project needs no access to
the images folder.
"""

from collections.abc import Mapping
from typing import Any

from age_tasks.data.corrections import AGE

IMAGE = "image"
# What a project is set up with, under Settings, Labeling Interface, Code.
INTERFACE = f"""<View>
  <Image name="{IMAGE}" value="${IMAGE}"/>
  <Number name="{AGE}" toName="{IMAGE}" min="0" max="120" step="0.5" required="true"/>
</View>"""


def task(image: str | None, age: float, model: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """One task.

    Args:
        image: a data URI; None where it could not be read.
        age: the pre-annotation, in years.
        model: what it comes from.
        data: further entries: `file_name`, and what `read_corrections` reads back.
    """
    answer = {"from_name": AGE, "to_name": IMAGE, "type": "number", "value": {"number": round(age, 1)}}
    return {
        "data": {IMAGE: image or "", **data},
        "predictions": [{"model_version": model, "result": [answer]}],
    }
