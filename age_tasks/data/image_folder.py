"""Images: where they are, what is in them, and their pixels."""

import hashlib
import sqlite3
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import astuple, dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from age_tasks.data.near_duplicates import difference_hash
from age_tasks.errors import LabelsError
from age_tasks.store import open_store
from age_tasks.store.addresses import local_path
from age_tasks.store.base import Entry, Store, file_sha256

MAX_PIXELS = 50_000_000
MAX_BYTES = 100_000_000
# What people keep photographs in; others of Pillow's decoders start programs (EPS), or few have ever looked at them.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "PPM", "JPEG2000")
READERS = 8


# Pillow only warns at its own bound; every opening here goes through `_open`, which refuses at ours.
Image.MAX_IMAGE_PIXELS = None


class TooManyPixels(LabelsError):
    def __init__(self, size: tuple[int, int]):
        super().__init__(
            f"{size[0] * size[1] / 1e6:,.0f} million pixels; at most {MAX_PIXELS / 1e6:.0f} (decompression bomb)"
        )
        self.size = size


@dataclass(frozen=True)
class Probe:
    """What is in a file: sha256 of its content, upright size in pixels and `difference_hash`, or what is wrong."""

    sha256: str = ""
    width: int = 0
    height: int = 0
    bytes: int = 0
    problem: str = ""
    dhash: str = ""


class ImageFolder:
    """The images folder: a path, or an `s3://` address whose files are fetched once into the cache."""

    def __init__(self, location: str, cache: Path):
        self.location = location
        self._remote: Store | None = open_store(location) if location.startswith("s3://") else None
        self._entries: dict[str, Entry] = {}
        if self._remote:
            self._root = cache / "images" / hashlib.sha256(self._remote.url.encode()).hexdigest()[:16]
            self._entries = {entry.key: entry for entry in self._remote.entries("")}
            return
        self._root = local_path(location)
        try:
            there = self._root.is_dir()
        except OSError:  # such as a name that is too long
            there = False
        if not there:
            raise LabelsError(f"no images folder at {location}; set AGE_IMAGES to the folder that holds the pictures")

    def path(self, name: str) -> Path:
        """The local file of an image; fetched if it is remote.

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

    def state(self, name: str) -> str | None:
        """What changes when the file does (size and time, or etag), known without reading it; None without one."""
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
        return self._remote.url if self._remote else str(self._root)


def name_problem(name: str) -> str:
    """Why a file name from the labels can't be looked up in the images folder; empty if it can."""
    if not name:
        return "no file name"
    if not name.isprintable():
        return "the file name has control characters"
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        return "the file name leaves the images folder"
    return ""


def probe_file(path: Path) -> Probe:
    """Read and decode one image file entirely. Never raises for what the file holds."""
    if (size := path.stat().st_size) > MAX_BYTES:
        return Probe(bytes=size, problem=f"{size / 1e6:,.0f} MB; a picture may have {MAX_BYTES / 1e6:.0f}")
    data = path.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    if not data:
        return Probe(problem="empty file (0 bytes)")
    try:
        with _open(path) as image:
            image.load()
            upright = ImageOps.exif_transpose(image)
            return Probe(sha256, *upright.size, len(data), dhash=difference_hash(_to_rgb(upright)))
    except TooManyPixels as bomb:
        return Probe(sha256, *bomb.size, len(data), str(bomb))
    except UnidentifiedImageError:
        return Probe(sha256, bytes=len(data), problem=f"not an image: {_looks_like(data)}")
    except Exception as error:  # decoders raise anything on damaged input: OSError, SyntaxError, struct.error, ...
        return Probe(sha256, bytes=len(data), problem=_damage(error))


def probe_images(
    folder: ImageFolder, names: Iterable[str], cache: Path, progress: Callable[[int, int], None] | None = None
) -> tuple[dict[str, Probe], int]:
    """What is in each of the named files. Files that have not changed since they were last read are not read again.

    Args:
        cache: folder of the index that remembers probes between runs.
        progress: called with (files read, files to read).

    Returns:
        A probe for each distinct name, and how many files were read.
    """
    names = sorted(set(names))
    probes = {name: Probe(problem=problem) for name in names if (problem := name_problem(name))}
    states = {name: folder.state(name) for name in names if name not in probes}
    probes |= {name: Probe(problem="no such file in the images folder") for name, state in states.items() if not state}
    with closing(_open_index(cache)) as index:
        probes |= _remembered(index, folder.identity, states)
        unread = [name for name in names if name not in probes]
        rows: list[tuple] = []
        for count, (name, probe) in enumerate(_read(folder, unread), start=1):
            probes[name] = probe
            rows.append((folder.identity, name, states[name], *astuple(probe)))
            if count % 500 == 0 or count == len(unread):
                with index:  # a short transaction: other runs write to the index too
                    index.executemany("REPLACE INTO probes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
                rows = []
            if progress:
                progress(count, len(unread))
    return probes, len(unread)


def remembered_probes(cache: Path) -> list[tuple[str, str, str]]:
    """What the index of probes remembers: of each file its name, sha256, and what is wrong with it."""
    with closing(_open_index(cache)) as index:
        return index.execute("SELECT name, sha256, problem FROM probes").fetchall()


def forget_probes(cache: Path, names: Iterable[str]) -> None:
    """Take files out of the index, also from the pages of its file that would keep them until they are used again."""
    with closing(_open_index(cache)) as index, index:
        index.execute("PRAGMA secure_delete = ON")
        index.executemany("DELETE FROM probes WHERE name = ?", [(name,) for name in names])


def require_unchanged(folder: ImageFolder, sha256s: Mapping[str, str]) -> None:
    """Go on only if the files still hold what the snapshot read.

    Args:
        sha256s: of each file's content, by its name.

    Raises:
        LabelsError: a file is gone or was replaced; names the first.
    """
    with ThreadPoolExecutor(READERS) as pool:
        found = pool.map(lambda name: file_sha256(folder.path(name)), sha256s)
        replaced = [name for name, sha256 in zip(sha256s, found, strict=True) if sha256 != sha256s[name]]
    if replaced:
        others = f" and {len(replaced) - 1} more were" if replaced[1:] else " was"
        raise LabelsError(
            f"{replaced[0]}{others} replaced in {folder.location} after the snapshot (sha256 differs); begin again "
            "with snapshot, which takes the pictures as they are now"
        )


def load_rgb(path: Path, size: int) -> np.ndarray:
    """The picture, upright, in RGB, scaled to a square.

    Args:
        path: of one of the `FORMATS`; greyscale, CMYK, palette, 16 bit and EXIF rotation are put right.
        size: side of the result in pixels; the aspect ratio is not kept, as Keras' own loader does.

    Returns:
        uint8 array of shape (size, size, 3), values 0–255.
    """
    with _open(path) as image:
        image.draft("RGB", (size, size))  # JPEG only: decodes at 1/2, 1/4 or 1/8 where that is still large enough
        upright = ImageOps.exif_transpose(image)
        rgb = _to_rgb(upright)
        if rgb.size != (size, size):
            rgb = rgb.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=2.0)
        return np.asarray(rgb)


def load_or_problem(path: Path, size: int) -> np.ndarray | str:
    """As `load_rgb`, or what is wrong with the file, for a person. Never raises for what the file holds."""
    try:
        return load_rgb(path, size)
    except TooManyPixels as bomb:
        return str(bomb)
    except FileNotFoundError:
        return "no such file"
    except UnidentifiedImageError:
        with path.open("rb") as file:
            return f"not an image: {_looks_like(file.read(200))}"
    except Exception as error:  # as in `probe_file`
        return _damage(error)


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels, upright; reads the header only."""
    with _open(path) as image:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5  # by a quarter
        return image.size[::-1] if turned else image.size


def _damage(error: Exception) -> str:
    truncated = "truncated" in str(error).lower() or "broken" in str(error).lower()
    return "truncated or damaged: the picture does not decode to its end" if truncated else f"does not decode: {error}"


def _open(path: Path) -> Image.Image:
    """Read the header only; a picture beyond the bound is refused before its pixels take memory."""
    image = Image.open(path, formats=FORMATS)
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise TooManyPixels(image.size)
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":  # 16 bit: keep the high byte; Pillow's own conversion clips
        values = np.asarray(image, dtype=np.float64)
        scale = 257.0 if values.max(initial=0) > 255 else 1.0
        image = Image.fromarray((values / scale).clip(0, 255).astype(np.uint8))
    return image.convert("RGB")


def _looks_like(data: bytes) -> str:
    start = data[:200].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if start.startswith((b"<?xml", b"<svg")):
        return "an XML file"
    return "its first bytes are " + data[:8].hex(" ")


def _open_index(cache: Path) -> sqlite3.Connection:
    cache.mkdir(parents=True, exist_ok=True)
    index = sqlite3.connect(cache / "probes-2.sqlite", timeout=60)  # the number changes with the columns
    index.execute(
        "CREATE TABLE IF NOT EXISTS probes (folder, name, state, sha256, width, height, bytes, problem, dhash,"
        " PRIMARY KEY (folder, name))"
    )
    return index


def _remembered(index: sqlite3.Connection, folder: str, states: dict[str, str | None]) -> dict[str, Probe]:
    rows = index.execute(
        "SELECT name, state, sha256, width, height, bytes, problem, dhash FROM probes WHERE folder = ?", (folder,)
    )
    return {name: Probe(*values) for name, state, *values in rows if state == states.get(name, "")}


def _read(folder: ImageFolder, names: list[str]) -> Iterator[tuple[str, Probe]]:
    """Probe in parallel (the decoders release the interpreter lock), a bounded number ahead."""
    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(names), 1024):
            block = names[start : start + 1024]
            yield from zip(block, pool.map(lambda name: probe_file(folder.path(name)), block), strict=True)
