"""The images that a person means: files, folders, tar files and tables, local or on S3."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from age_tasks.data.image_folder import ImageFolder, name_problem
from age_tasks.data.image_shards import NO_IMAGES
from age_tasks.data.labels import file_names
from age_tasks.data.tables import read_table
from age_tasks.errors import LabelsError, NotFoundError
from age_tasks.store import open_store
from age_tasks.store.addresses import TABLES, tar_files


@dataclass(frozen=True)
class FoundImage:
    """An image to predict.

    Args:
        shown: what it is called in the result: a path or an address.
        folder: where it is read from; None for a local file, whose path is `shown`.
        name: its name in the folder.
    """

    shown: str
    folder: ImageFolder | None = None
    name: str = ""

    def file(self) -> Path:
        """Its local file; fetched from the bucket if necessary.

        Raises:
            LabelsError: the folder has no such file; the message has the likely cause.
            StoreError: the bucket can't be read.
        """
        if self.folder is None:
            return Path(self.shown)
        if self.folder.stamp(self.name) is None:
            raise LabelsError(self.folder.obstacle(self.name) or self.folder.missing(self.name))
        return self.folder.path(self.name)


def find_images(places: Sequence[str | Path], cache: Path) -> list[FoundImage]:
    """The image files that a person means.

    Args:
        places: images, folders (all files below them, except hidden ones), tar files (`…/*.tar`; all members but
            hidden ones and what WebDataset has beside images), or tables with a column `file_name`: paths or `s3://`
            addresses.
        cache: the root of the local cache, for images on S3 or in tar files.

    Raises:
        LabelsError: no such file or folder, a folder without files, a damaged tar file, or a table that can't be read,
            lacks that column, or has a name that leaves its folder.
        StoreError: a bucket can't be read.
    """
    found: list[FoundImage] = []
    for place in places:
        if any(tar_files(str(place))):
            found += _in_tar_files(str(place), cache)
        elif str(place).startswith("s3://"):
            found += _on_s3(str(place), cache)
        else:
            found += _in_files(Path(place), cache)
    return found


def images_below(place: str, cache: Path) -> tuple[ImageFolder, list[str]]:
    """The folder that a person means, or that a table lists images of, and the names of these images in it.

    Args:
        place: a folder, tar files, an image or a table with a column `file_name`: a path or an `s3://` address.
        cache: the root of the local cache, for images on S3 or in tar files.

    Raises:
        LabelsError, StoreError: as `find_images`.
    """
    found = find_images([place], cache)
    if found[0].folder:
        return found[0].folder, [image.name for image in found]
    root = Path(place) if Path(place).is_dir() else Path(place).parent
    names = [Path(image.shown).relative_to(root).as_posix() for image in found]
    return ImageFolder(str(root.absolute()), cache), names


def _in_files(place: Path, cache: Path) -> list[FoundImage]:
    try:
        is_folder, is_file = place.is_dir(), place.is_file()
    except OSError as error:  # such as a name that is too long
        raise LabelsError(f"{place}: {error.strerror}; check the path and its permissions") from None
    if is_folder:
        images = sorted(path for path in place.rglob("*") if path.is_file() and not path.name.startswith("."))
        if not images:
            raise LabelsError(f"{place}: no image in this folder or below it; name a folder that holds images")
        return [FoundImage(str(path)) for path in images]
    if is_file and place.suffix.lower() in TABLES:
        try:
            data = place.read_bytes()
        except OSError as error:
            raise LabelsError(f"{place}: {error.strerror}; check the file and its permissions") from None
        return _listed(str(place), data, str(place.parent), ImageFolder(str(place.parent.absolute()), cache))
    if is_file:
        return [FoundImage(str(place))]
    raise LabelsError(f"{place}: no such image, folder or table (.csv, .xlsx, …); check the path")


def _in_tar_files(address: str, cache: Path) -> list[FoundImage]:
    """The members of tar files; those that can't be used too: their files say why."""
    folder = ImageFolder(address, cache)
    names = sorted(
        name
        for name in {*folder.names(), *folder.obstacles}
        if not PurePosixPath(name).name.startswith(".") and not name.lower().endswith(NO_IMAGES)
    )
    if not names:
        raise LabelsError(f"{address}: no image in these tar files; name others, whose members are images")
    return [FoundImage(_shown(folder, address, name), folder, name) for name in names]


def _shown(folder: ImageFolder, address: str, name: str) -> str:
    """A member's name behind that of its tar file; behind the pattern where several or none have it."""
    found = folder.place(name)
    return f"{tar_files(address)[0]}/{found[0].key}/{name}" if found else f"{address}/{name}"


def _on_s3(address: str, cache: Path) -> list[FoundImage]:
    parent, _, name = address.rstrip("/").rpartition("/")
    if PurePosixPath(name).suffix.lower() in TABLES:
        try:
            data = open_store(parent).get(name)
        except NotFoundError:
            raise LabelsError(f"{address}: no such table; check the address") from None
        return _listed(address, data, parent, ImageFolder(parent, cache))
    folder = ImageFolder(address, cache)
    names = [each for each in folder.names() if not PurePosixPath(each).name.startswith(".")]
    if not names:
        raise LabelsError(f"{address}: no image under this address; name a prefix that holds images, or a table")
    return [FoundImage(f"{address.rstrip('/')}/{each}", folder, each) for each in names]


def _listed(table: str, data: bytes, parent: str, folder: ImageFolder) -> list[FoundImage]:
    """The images in the column `file_name` of a table, beside it or below it."""
    rows = read_table(data, table, ("file_name",))
    names = file_names(rows)
    real_names = folder.real_names(names)
    for line, name in zip(rows.lines, names, strict=True):
        if problem := name_problem(real_names[name]):
            raise LabelsError(f"{table} line {line}: {name!r}: {problem}; list images beside the table, or below it")
    return [FoundImage(f"{parent}/{real_names[name]}", folder, real_names[name]) for name in names]
