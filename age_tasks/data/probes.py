"""What is in each image file, remembered between runs."""

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import astuple, dataclass
from pathlib import Path

from PIL import ImageOps, UnidentifiedImageError

from age_tasks.data.decoding import MAX_BYTES, TooManyPixels, damage, looks_like, open_image, to_rgb
from age_tasks.data.image_folder import READERS, ImageFolder, name_problem
from age_tasks.data.near_duplicates import difference_hash


@dataclass(frozen=True)
class Probe:
    """What is in a file: sha256 of its content, upright size in pixels and `difference_hash`, or what is wrong."""

    sha256: str = ""
    width: int = 0
    height: int = 0
    bytes: int = 0
    problem: str = ""
    dhash: str = ""


def probe_file(path: Path) -> Probe:
    """Read and decode one image file entirely. Never raises for what the file holds."""
    if (size := path.stat().st_size) > MAX_BYTES:
        return Probe(bytes=size, problem=f"{size / 1e6:,.0f} MB; a picture may have {MAX_BYTES / 1e6:.0f}")
    data = path.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    if not data:
        return Probe(problem="empty file (0 bytes)")
    try:
        with open_image(path) as image:
            image.load()
            upright = ImageOps.exif_transpose(image)
            return Probe(sha256, *upright.size, len(data), dhash=difference_hash(to_rgb(upright)))
    except TooManyPixels as bomb:
        return Probe(sha256, *bomb.size, len(data), str(bomb))
    except UnidentifiedImageError:
        return Probe(sha256, bytes=len(data), problem=f"not an image: {looks_like(data)}")
    except Exception as error:  # decoders raise anything on damaged input: OSError, SyntaxError, struct.error, ...
        return Probe(sha256, bytes=len(data), problem=damage(error))


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
