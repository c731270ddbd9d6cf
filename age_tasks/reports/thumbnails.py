"""Small images for pages, as data URIs."""

import base64
import io
from pathlib import Path

from PIL import Image

from age_tasks.data.decoding import load_rgb
from age_tasks.data.image_folder import ImageFolder
from age_tasks.errors import LabelsError


def thumbnail(name: str, folder: ImageFolder, side: int) -> str | None:
    """An image as a JPEG data URI; None if it can't be read.

    Args:
        side: in pixels; the result is square.
    """
    try:
        return face_uri(folder.path(name), side)
    except LabelsError:
        return None


def face_uri(path: Path, side: int) -> str | None:
    """As `thumbnail`, of an image file."""
    try:
        pixels = load_rgb(path, side)
    except (LabelsError, OSError):
        return None
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
