"""The folder of images, local or in a bucket: paths, change stamps and digests of its files."""

import hashlib
import stat
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from age_tasks.errors import LabelsError
from age_tasks.store import open_store
from age_tasks.store.addresses import local_path
from age_tasks.store.base import Entry, Store, file_sha256

READERS = 8  # threads that read files


class ImageFolder:
    """The images folder: a path, or an `s3://` address whose files are fetched once into the cache.

    Args:
        location: a path, a `file:///` or an `s3://` address.
        cache: the root of the local cache.

    Raises:
        LabelsError: there is no such folder.
        SettingsError: another kind of address.
        StoreError: the bucket can't be listed.
    """

    def __init__(self, location: str, cache: Path) -> None:
        self.location = location
        self._remote: Store | None = open_store(location) if location.startswith("s3://") else None
        self._entries: dict[str, Entry] = {}
        if self._remote:
            self._root = cache / "images" / hashlib.sha256(self._remote.url.encode()).hexdigest()[:16]
            self._entries = {entry.key: entry for entry in self._remote.entries("")}
            return
        self._root = local_path(location)
        try:
            exists = self._root.is_dir()
        except OSError:  # such as a name that is too long
            exists = False
        if not exists:
            raise LabelsError(f"no images folder at {location}; set AGE_IMAGES to the folder that holds the images")

    def path(self, name: str) -> Path:
        """The local file of an image; fetched from the bucket if necessary.

        Raises:
            LabelsError: the name would leave the folder, or there is no such file.
        """
        if problem := name_problem(name):
            raise LabelsError(f"{name!r} in {self.location}: {problem}")
        if not self._remote:
            path = self._root / name
        else:
            if name not in self._entries:
                raise LabelsError(f"no {name} in {self.location}")
            path = self._root / hashlib.sha256(f"{name}\n{self._entries[name].etag}".encode()).hexdigest()
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                self._remote.fetch(name, path)
        if not path.is_file():
            raise LabelsError(f"no {name} in {self.location}")
        return path

    def stamp(self, name: str) -> str | None:
        """A text that changes when the file does (size and time, or etag), without reading it; None without a file."""
        if self._remote:
            entry = self._entries.get(name)
            return f"{entry.size} {entry.etag}" if entry else None
        try:
            found = (self._root / name).stat()
        except (OSError, ValueError):
            return None
        return f"{found.st_size} {found.st_mtime_ns}" if stat.S_ISREG(found.st_mode) else None

    @property
    def identity(self) -> str:
        """The folder's address, under which probes are stored."""
        return self._remote.url if self._remote else str(self._root)


def name_problem(name: str) -> str:
    """Why a file name from the labels is not valid in the images folder; empty if it is."""
    if not name:
        return "no file name"
    if not name.isprintable():
        return "the file name has control characters"
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        return "the file name leaves the images folder"
    return ""


def require_unchanged(folder: ImageFolder, sha256s: Mapping[str, str]) -> None:
    """Check that the files still have the content that the snapshot read.

    Args:
        sha256s: file name → sha256 of its content in the snapshot.

    Raises:
        LabelsError: a file is missing or was replaced; names the first.
    """
    with ThreadPoolExecutor(READERS) as pool:
        found = pool.map(lambda name: file_sha256(folder.path(name)), sha256s)
        replaced = [name for name, sha256 in zip(sha256s, found, strict=True) if sha256 != sha256s[name]]
    if replaced:
        others = f" and {len(replaced) - 1} more were" if replaced[1:] else " was"
        raise LabelsError(
            f"{replaced[0]}{others} replaced in {folder.location} after the snapshot (sha256 differs); run snapshot "
            "again, which reads the present images"
        )
