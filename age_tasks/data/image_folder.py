"""The folder of images, local or in a bucket: names, paths, change stamps and digests of its files."""

import contextlib
import logging
import os
import posixpath
import re
import stat
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, partial
from itertools import dropwhile, islice
from pathlib import Path
from urllib.parse import unquote

from age_tasks.data.decoding import MAX_BYTES, kind_of, read_problem
from age_tasks.data.image_copies import ImageCopies
from age_tasks.data.image_shards import ImageShards, Place
from age_tasks.data.parallel import in_order
from age_tasks.environment import CacheVariables
from age_tasks.errors import LabelsError, NotFoundError, StoreError
from age_tasks.store import open_store
from age_tasks.store.addresses import local_path, tar_files
from age_tasks.store.base import TEMPORARY, Entry, Store, file_sha256, is_key

log = logging.getLogger(__name__)

BLANKS = " \t\r\n"  # around a file name; other blanks may belong to it
READERS = 8  # threads that read files
FETCHERS = 32  # threads that fetch files from a bucket: most of the time, they wait for its answer
READ_AHEAD = 64  # files that are read before they are wanted
FETCHED_AHEAD = 256  # files that are fetched before they are read
_LISTED_FILES = 200_000  # that are compared with a name that no file has
# Controls, line and paragraph separators, what turns the direction of text, a byte-order mark, half a character.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202d\u202e\ufeff\ud800-\udfff]")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_DRIVE = re.compile(r"[A-Za-z]:")
_BELOW = "write the path below the images folder"


class ImageFolder:
    """The images folder: a path, or an `s3://` address whose files are copied into the cache; or tar files in either.

    Args:
        location: a path, a `file:///` or an `s3://` address; of tar files, with a pattern such as `*.tar` at its end.
        cache: the root of the local cache.

    Raises:
        LabelsError: there is no such folder, or a tar file is damaged.
        SettingsError: another kind of address.
        StoreError: the bucket can't be listed.
    """

    def __init__(self, location: str, cache: Path) -> None:
        self.location = location
        self._remote: Store | ImageShards | None = None
        self._entries: dict[str, Entry] = {}
        self._obstacles: Mapping[str, str] = {}
        if any(tar_files(location)):
            self._remote = ImageShards(location, cache, _bound())
            self._copies = self._remote.copies
            self._entries, _ = _usable(self._remote.entries(), name_problem, self._remote.url, "members")
            self._obstacles = self._remote.obstacles
            return
        if location.startswith("s3://"):
            self._remote = open_store(location)
            self._copies = ImageCopies(cache, self._remote.url, _bound())
            self._entries, self._obstacles = _usable(self._remote.entries(), _key_problem, self._remote.url, "objects")
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
        if self._remote:
            if name not in self._entries:
                raise self._vanished(name)
            return self._copies.get(name, self._entries[name].etag, partial(self._remote.fetch, name))
        path = self._root / name
        if not self._is_file(path):
            raise self._vanished(name)
        return path

    def fetched(self, names: Iterable[str]) -> Iterator[str]:
        """The names, each when `path` has its local file at hand; those of a bucket are fetched in parallel, ahead.

        A name without a file is none of its concern.

        Raises:
            StoreError: a file can't be fetched from the bucket.
        """
        return in_order(self._fetched, names, FETCHERS, FETCHED_AHEAD) if self._remote else iter(names)

    def fetch_all(self, names: Iterable[str]) -> None:
        """As `fetched`, for who uses the files later, and not in threads enough."""
        for _ in self.fetched(names):
            pass

    def _fetched(self, name: str) -> str:
        if self.size(name) <= MAX_BYTES:
            with contextlib.suppress(LabelsError, NotFoundError):  # `path` says why, to who uses it
                self.path(name)
        return name

    def size(self, name: str) -> int:
        """Bytes of a file, where they are known without a look at it: of the files of a local folder, 0."""
        return self._entries[name].size if name in self._entries else 0

    def fetch_again(self, names: Iterable[str]) -> None:
        """Forget the copies of these images: the next use fetches them anew. Nothing where the folder is local."""
        for name in self._entries.keys() & set(names):
            self._copies.path(name, self._entries[name].etag).unlink(missing_ok=True)

    def names(self) -> list[str]:
        """The names of all files in the folder and below it, sorted."""
        return sorted(self._entries if self._remote else _files_below(self._root))

    def require_readable(self) -> None:
        """Check that the folder itself can be read, where one of its files could not.

        Raises:
            StoreError: it can't; such as a mount that has gone.
        """
        if self._remote:
            return
        try:
            with os.scandir(self._root) as entries:
                next(entries, None)
        except OSError as error:
            reason = error.strerror or str(error)
            raise StoreError(
                f"the images folder {self.location} can't be read: {reason}; check the mount, then run it again"
            ) from None

    def place(self, name: str) -> tuple[Entry, Place] | None:
        """The tar file that holds an image, and where in it; None where the images are files, and without such one."""
        return self._remote.place(name) if isinstance(self._remote, ImageShards) else None

    @property
    def obstacles(self) -> Mapping[str, str]:
        """By the name of a member of tar files or an object that can't be used the reason; it is none of `names`."""
        return self._obstacles

    def obstacle(self, name: str) -> str:
        """What is there instead of a file that can be read, such as a folder of this name; empty if nothing is."""
        if self._remote:
            return self.obstacles.get(name, "")
        try:
            found = (self._root / name).stat()
        except (OSError, ValueError) as error:
            problem = read_problem(error) if isinstance(error, OSError) else ""
            return problem if problem.startswith("can't be read") else ""
        kind = kind_of(found.st_mode)
        return f"no such file in the images folder {self.location}: this is the name of {kind}" if kind else ""

    def stamp(self, name: str) -> str | None:
        """A text that changes when the file does (size and times, or etag), without reading it; None without a file."""
        if self._remote:
            entry = self._entries.get(name)
            return f"{entry.size} {entry.etag}" if entry else None
        try:
            found = (self._root / name).stat()
        except (OSError, ValueError):
            return None
        # The time of the last change too: programs that replace a file restore its other time, such as exiftool -P.
        times = f"{found.st_mtime_ns} {found.st_ctime_ns}"
        return f"{found.st_size} {times}" if stat.S_ISREG(found.st_mode) else None

    def _vanished(self, name: str) -> LabelsError:
        return LabelsError(f"{name!r}: {self.missing(name)}; put it there, or run snapshot again")

    @staticmethod
    def _is_file(path: Path) -> bool:
        try:
            return path.is_file()
        except OSError:  # no permission, or the disk fails: reading it tells
            return True

    def real_names(self, names: Iterable[str]) -> dict[str, str]:
        """How the folder itself writes names that are the same as those of its files; all others stay as they are.

        The same are: composed and decomposed characters (macOS writes the latter), blanks around a name, and the whole
        path of a file in the folder.
        """
        listings = _Listings()
        return {
            name: name if name.isascii() and name[0:1] != "/" and "://" not in name else self._real(name, listings)
            for name in names
        }

    def missing(self, name: str) -> str:
        """Why there is no file of this name: where was looked, and the likely cause."""
        return f"no such file in the images folder {self.location}{self._likely_cause(name)}"

    @property
    def identity(self) -> str:
        """The folder's address, under which probes are stored."""
        return self._remote.url if self._remote else str(self._root)

    def _real(self, name: str, listings: "_Listings") -> str:
        below = self._below(name)
        if name_problem(below) or below.isascii() or self.stamp(below) is not None:
            return below
        if self._remote:
            return self._keys_by_form.get(_form(below), below)
        return listings.real_path(self._root, below)

    def _below(self, name: str) -> str:
        """The path below the folder that an absolute path or an address names, if it does."""
        address = name
        if name.startswith("file:///"):
            name = unquote(name.removeprefix("file://"))
        roots = [self._remote.url] if self._remote else [str(self._root), os.path.realpath(self._root)]
        for root in roots:
            if name.startswith(f"{root.rstrip('/')}/"):
                return normal_name(name[len(root.rstrip("/")) + 1 :])
        return address

    @cached_property
    def _keys_by_form(self) -> dict[str, str]:
        return {_form(key): key for key in self._entries}

    @cached_property
    def _files_by_stem(self) -> dict[str, list[str]]:
        """The folder's files by `_loose` names, with and without their extension."""
        found: dict[str, list[str]] = {}
        for path in islice(self._entries if self._remote else _files_below(self._root), _LISTED_FILES):
            name = posixpath.basename(path)
            for key in {_loose(name), _loose(posixpath.splitext(name)[0])}:
                found.setdefault(key, []).append(path)
        return found

    def _likely_cause(self, name: str) -> str:
        if not self._files_by_stem:
            return "; it has no files" if not self._entries else ""
        base = posixpath.basename(name)
        found = self._files_by_stem.get(_loose(base)) or self._files_by_stem.get(_loose(posixpath.splitext(base)[0]))
        if not found:
            return ""
        causes = {path: _differences(name, path) for path in found}
        path = min(causes, key=lambda path: (len(causes[path]), path))
        others = sum(len(each) == len(causes[path]) for each in causes.values()) - 1
        more = f" (and {others} more such files)" if others else ""
        return f"; there is {path}{more}: {', '.join(causes[path])}" if causes[path] else ""


def _bound() -> float:
    """Bytes that the local copies of images may have."""
    return CacheVariables.from_env().image_copies_gb * 1e9


def _usable(
    entries: Iterable[Entry], problem_of: Callable[[str], str], where: str, what: str
) -> tuple[dict[str, Entry], dict[str, str]]:
    """The members of tar files or objects of a bucket that can be used, by name; and why the others can't.

    Says in the log that there are others.

    Args:
        problem_of: why a name can't be used; empty if it can.
        where: the tar files or the bucket, for the log.
        what: `members` or `objects`.
    """
    usable: dict[str, Entry] = {}
    unusable: dict[str, str] = {}
    for entry in entries:
        if problem := problem_of(entry.key):
            unusable[entry.key] = problem
        else:
            usable[entry.key] = entry
    if unusable:
        name, problem = next(iter(unusable.items()))
        log.warning("%s: %d %s are left out, such as %r: %s", where, len(unusable), what, name, problem)
    return usable, unusable


def _key_problem(key: str) -> str:
    """Why an object of a bucket can't be used as an image; empty if it can."""
    if (problem := name_problem(key)) or is_key(key):
        return problem
    return f"a part of this name is empty or '.', or begins with {TEMPORARY}; rename the object"


def normal_name(name: str) -> str:
    """A file name without blanks around it, `./`, doubled slashes and a slash at the end, so each file has one name.

    Addresses stay as they are.
    """
    name = name.strip(BLANKS)
    if "//" not in name and "./" not in name and not name.endswith(("/", "/.")):
        return name
    if _ADDRESS.match(name):
        return name
    parts = [part for part in name.split("/") if part not in {"", "."}]
    while parts and parts[-1].strip(BLANKS) in {"", "."}:
        parts.pop()
    if name.startswith("/"):
        return "/" + "/".join(parts).rstrip(BLANKS)
    parts = list(dropwhile(lambda part: part.strip(BLANKS) in {"", "."}, parts))
    return "/".join(parts).strip(BLANKS) or "."


def same_file(first: str, second: str) -> bool:
    """Whether two file names differ only in how they are written."""
    return name_key(first) == name_key(second)


def name_key(name: str) -> str:
    """The same text for all ways to write a file name."""
    return _form(normal_name(name))


def name_problem(name: str) -> str:
    """Why a file name from the labels, as `normal_name` gives it, is not valid in the images folder; empty if it is."""
    if not name:
        return "no file name; write one, or remove the row"
    if control := _CONTROLS.search(name):
        return f"the file name has control characters (U+{ord(control[0]):04X}); rename the file"
    if "/" not in name and "\\" not in name and ":" not in name and name != "..":
        return ""
    if _ADDRESS.match(name):
        return f"the file name leaves the images folder: it is an address; {_BELOW}"
    if _DRIVE.match(name):
        return f"the file name leaves the images folder: it begins with a drive of Windows; {_BELOW}"
    path = posixpath.normpath(name.replace("\\", "/"))
    if path.startswith("/"):
        return f"the file name leaves the images folder: it is an absolute path; {_BELOW}"
    if path.split("/")[0] == "..":
        return f"the file name leaves the images folder by '..'; {_BELOW}"
    if "\\" in name:
        return f"the file name has a backslash; write {path}, with / between folders"
    if ".." in name.split("/"):
        return f"the file name has '..'; write {path}"
    return ""


class _Listings:
    """How folders write the names of what is in them. Each folder is listed once, when it is first asked."""

    def __init__(self) -> None:
        self._names: dict[Path, dict[str, str]] = {}  # of each folder: form → the smallest name of this form

    def real_path(self, root: Path, name: str) -> str:
        """How the folder `root` writes the name of a file below it, whatever its characters' form; else the name."""
        parts: list[str] = []
        for part in name.split("/"):
            folder = root.joinpath(*parts)
            try:
                found = part if (folder / part).exists() else self._names_in(folder).get(_form(part), "")
            except (OSError, ValueError):
                return name
            if not found:
                return name
            parts.append(found)
        return "/".join(parts)

    def _names_in(self, folder: Path) -> dict[str, str]:
        if folder not in self._names:
            self._names[folder] = {}  # also of a folder that can't be listed
            with os.scandir(folder) as entries:
                for name in sorted((entry.name for entry in entries), reverse=True):
                    self._names[folder][_form(name)] = name
        return self._names[folder]


def _files_below(root: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        folders.sort()
        below = os.path.relpath(folder, root).replace(os.sep, "/")
        for file in sorted(files):
            yield file if below == "." else f"{below}/{file}"


def _form(name: str) -> str:
    """The same for names that differ only in the form of their characters or in blanks around them."""
    return unicodedata.normalize("NFC", name).strip()


def _loose(name: str) -> str:
    """The same for names that people and programs take for one another: case, leading zeros, `%20`."""
    if not name.isascii() or "%" in name:
        name = _form(unquote(name))
    name = name.casefold()
    return (name.lstrip("0") or "0") if name[0:1] == "0" else name


def _differences(name: str, path: str) -> list[str]:
    """What to change in a name so that it becomes the path of a file with nearly the same name."""
    *folders, base = name.split("/")
    *real_folders, real_base = path.split("/")
    causes = []
    wanted, real = ([_form(folder).casefold() for folder in each] for each in (folders, real_folders))
    if wanted != real:
        front = len(folders) - len(real)
        if front > 0 and wanted[front:] == real:
            causes.append(f"leave out {'/'.join(folders[:front])}/")
        elif front < 0 and real[-front:] == wanted:
            causes.append(f"write {'/'.join(real_folders[:-front])}/ before it")
        else:
            causes.append("it is in another folder")
    (stem, extension), (real_stem, real_extension) = posixpath.splitext(base), posixpath.splitext(real_base)
    if extension.casefold() != real_extension.casefold():
        causes.append(f"its extension is {real_extension}" if real_extension else "it has no extension")
    if _form(stem) != _form(real_stem):
        if _form(unquote(stem)) == _form(real_stem):
            causes.append("it has no % codes")
        elif (
            stem.casefold().lstrip("0") == real_stem.casefold().lstrip("0") and stem.casefold() != real_stem.casefold()
        ):
            causes.append("leading zeros differ")
        else:
            causes.append("upper and lower case differ")
    elif (extension != real_extension and extension.casefold() == real_extension.casefold()) or (
        not causes and folders != real_folders
    ):
        causes.append("upper and lower case differ")
    return causes


def require_unchanged(
    folder: ImageFolder, sha256s: Mapping[str, str], forget: Callable[[list[str]], None] | None = None
) -> None:
    """Check that the files still have the content that the snapshot read.

    Args:
        sha256s: file name → sha256 of its content in the snapshot.
        forget: called with the names of the replaced files: what is stored of them must not be used again, even where
            size and times are as they were.

    Raises:
        LabelsError: a file is missing, can't be read or was replaced; names the first.
    """
    found = in_order(partial(_sha256, folder), folder.fetched(sha256s), READERS, READ_AHEAD)
    replaced = [name for name, sha256 in zip(sha256s, found, strict=True) if sha256 != sha256s[name]]
    if replaced:
        folder.fetch_again(replaced)
        if forget:
            forget(replaced)
        others = f" and {len(replaced) - 1} more were" if replaced[1:] else " was"
        raise LabelsError(
            f"{replaced[0]}{others} replaced in {folder.location} after the snapshot (sha256 differs); run snapshot "
            "again, which reads the present images"
        )


def _sha256(folder: ImageFolder, name: str) -> str:
    path = folder.path(name)
    try:
        return file_sha256(path)
    except OSError as error:
        folder.require_readable()
        raise LabelsError(f"{name} in {folder.location}: {read_problem(error)}") from None
