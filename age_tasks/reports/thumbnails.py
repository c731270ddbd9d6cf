"""Small images for pages, as data URIs."""

import base64
import contextlib
import io
import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from PIL import Image

from age_tasks.data.decoding import MAX_BYTES, load_rgb
from age_tasks.data.image_folder import ImageFolder, name_problem
from age_tasks.data.image_places import PLACES, ImagePlace, parse_places
from age_tasks.errors import AgeTasksError, LabelsError, MissingInputError, NotFoundError, StoreError, StoreRefusedError
from age_tasks.runs.run import StoredRun
from age_tasks.store import open_store
from age_tasks.store.addresses import local_path, tar_files
from age_tasks.store.base import Entry, Store, file_sha256

_MOST_FAILURES = 3  # of a store to answer, after which a page asks it for no more faces


def thumbnail(name: str, folder: ImageFolder, side: int) -> str | None:
    """An image as a JPEG data URI; None if it can't be read, or is larger than `MAX_BYTES`.

    Args:
        side: in pixels; the result is square.
    """
    try:
        return face_uri(folder.path(name), side) if folder.size(name) <= MAX_BYTES else None
    except LabelsError:
        return None


class Faces:
    """The faces of a run's images, where a page is made: a bucket is not listed for some of them, nor a tar file read.

    Args:
        images: the folder, bucket or tar files of the images.
        places: of images in tar files, see `data.image_places`; of others, the folder or bucket tells.
    """

    def __init__(self, images: str, places: Mapping[str, ImagePlace]) -> None:
        self._images, self._places = images, places
        self._tars = bool(images) and any(tar_files(images))
        self._failures = 0

    def uri(self, name: str, side: int, sha256: str = "") -> str | None:
        """As `thumbnail`; None also if the name is not valid, or the images are out of reach.

        Args:
            sha256: what the file must contain; empty: anything.
        """
        if not self._images or name_problem(name) or self._failures == _MOST_FAILURES:
            return None
        with tempfile.TemporaryDirectory(prefix="age-") as scratch:
            try:
                path = self._file(name, Path(scratch, "image"))
                face = face_uri(path, side) if path else None  # before the digest: it is not taken of a huge file
                return face if path and face and sha256 in {"", file_sha256(path)} else None
            except StoreError as error:
                self._failures += not isinstance(error, NotFoundError | StoreRefusedError)  # those are answers
            except (AgeTasksError, OSError):
                pass
        return None

    def _file(self, name: str, scratch: Path) -> Path | None:
        """A local file with the image: its own, or one that is written to `scratch`."""
        if self._tars:
            place = self._places.get(name)
            if place is None or place.offset < 0 or not 0 < place.size <= MAX_BYTES:
                return None
            tar = Entry(place.tar, 0, place.etag)
            scratch.write_bytes(self._store.get_part(tar, place.offset, place.size, place.sha256))
            return scratch
        if self._images.startswith("s3://"):
            self._store.fetch(name, scratch, MAX_BYTES)
            return scratch
        return local_path(self._images) / name

    @cached_property
    def _store(self) -> Store:
        return open_store(tar_files(self._images)[0] or self._images, attempts=1)


def faces_of(run: StoredRun, stage: str) -> Faces:
    """The faces of the images in the tables of a stage, such as `validate`."""
    images, places = "", dict[str, ImagePlace]()
    with contextlib.suppress(MissingInputError):
        images = run.settings().images
    with contextlib.suppress(NotFoundError, ValueError):
        places = parse_places(run.read(stage, PLACES))
    return Faces(images, places)


def face_uri(path: Path, side: int) -> str | None:
    """As `thumbnail`, of an image file."""
    try:
        pixels = load_rgb(path, side)
    except (LabelsError, OSError):
        return None
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
