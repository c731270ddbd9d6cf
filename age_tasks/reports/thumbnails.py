"""Small images for pages, as data URIs."""

import base64
import io
import tempfile
from pathlib import Path

from PIL import Image

from age_tasks.data.decoding import load_rgb
from age_tasks.data.image_folder import ImageFolder, name_problem
from age_tasks.errors import AgeTasksError, LabelsError
from age_tasks.store import open_store
from age_tasks.store.addresses import local_path, tar_files
from age_tasks.store.base import file_sha256


def thumbnail(name: str, folder: ImageFolder, side: int) -> str | None:
    """An image as a JPEG data URI; None if it can't be read.

    Args:
        side: in pixels; the result is square.
    """
    try:
        return face_uri(folder.path(name), side)
    except LabelsError:
        return None


def face_from(images: str, name: str, side: int, sha256: str = "") -> str | None:
    """As `thumbnail`, where an `s3://` bucket shall not be listed for some images.

    None also if the name is not valid, and of images in tar files: where they are in these is known to stages only.

    Args:
        images: the folder or bucket of the images.
        sha256: what the file must contain; empty: anything.
    """
    if name_problem(name) or any(tar_files(images)):  # without an index, a member is not found
        return None
    with tempfile.TemporaryDirectory(prefix="age-") as scratch:
        try:
            if images.startswith("s3://"):
                path = Path(scratch, "image")
                open_store(images, attempts=1).fetch(name, path)
            else:
                path = local_path(images) / name
            return face_uri(path, side) if sha256 in {"", file_sha256(path)} else None
        except (AgeTasksError, OSError):
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
