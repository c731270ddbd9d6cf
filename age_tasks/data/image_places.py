"""Where images are in tar files, as stages write it down for pages: these have no index, and show a few images each.

`places.csv`, beside a table of images, has a row for each of them. There is none where the images are no members of tar
files.
"""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from age_tasks.data.image_folder import ImageFolder

PLACES = "places.csv"


class ImagePlace(NamedTuple):
    """Where the content of an image is in a tar file."""

    tar: str  # its name in the folder of the tar files
    etag: str  # of the tar file, as its `Entry` has it
    offset: int  # from the beginning of the tar file, in bytes
    size: int  # in bytes
    sha256: str  # of the content, 64 hex digits


def write_places(folder: ImageFolder, names: Iterable[str], to: Path) -> None:
    """Write `places.csv` into the folder `to`, for those of these images that are members of tar files."""
    found = {name: place for name in dict.fromkeys(names) if (place := folder.place(name))}
    if found:
        rows = [
            (name, tar.key, tar.etag, place.offset, place.size, place.sha256) for name, (tar, place) in found.items()
        ]
        with (to / PLACES).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("file_name", *ImagePlace._fields), *rows])


def parse_places(content: bytes) -> dict[str, ImagePlace]:
    """The places of images by file name.

    Args:
        content: of a `places.csv`.
    """
    rows = csv.reader(io.StringIO(content.decode(), newline=""))
    next(rows, None)
    return {
        name: ImagePlace(tar, etag, int(offset), int(size), sha256) for name, tar, etag, offset, size, sha256 in rows
    }
