"""Ages of new images by a published version, with intervals and warnings."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from age_tasks.data.decoding import UnreadableImageError, decoding_errors, load_rgb
from age_tasks.data.image_folder import ImageFolder, name_problem
from age_tasks.data.labels import file_names
from age_tasks.data.tables import read_table
from age_tasks.errors import LabelsError, NotFoundError
from age_tasks.evaluation.conformal import bounds
from age_tasks.evaluation.results import IntervalGroup
from age_tasks.progress import Progress
from age_tasks.registry.promotions import fetch_version, find, history
from age_tasks.serving.input_checks import warnings_for
from age_tasks.store.base import Store

BATCH = 32
TABLES = {".csv", ".tsv", ".txt", ".xlsx", ".parquet"}  # file names that end so are tables; others are images
COLUMNS = ["file", "age", "low", "high", "warning", "problem"]


@dataclass(frozen=True)
class LoadedImage:
    """An image to predict: its pixels, uint8 of shape (size, size, 3), or the problem that makes it unreadable."""

    path: Path
    pixels: npt.NDArray[np.uint8] | None
    problem: str = ""
    missing: bool = False


def find_images(places: Sequence[Path]) -> list[Path]:
    """The image files that a person means.

    Args:
        places: images, folders (all files below them, except hidden ones), or tables with a column `file_name`.

    Raises:
        LabelsError: no such file or folder, a folder without files, or a table that can't be read, lacks that column,
            or has a name that leaves its folder.
    """
    found: list[Path] = []
    for place in places:
        try:
            is_folder, is_file = place.is_dir(), place.is_file()
        except OSError as error:  # such as a name that is too long
            raise LabelsError(f"{place}: {error.strerror}; check the path and its permissions") from None
        if is_folder:
            images = sorted(path for path in place.rglob("*") if path.is_file() and not path.name.startswith("."))
            if not images:
                raise LabelsError(f"{place}: no image in this folder or below it; name a folder that holds images")
            found += images
        elif is_file and place.suffix.lower() in TABLES:
            found += _listed_images(place)
        elif is_file:
            found.append(place)
        else:
            raise LabelsError(f"{place}: no such image, folder or table (.csv, .xlsx, …); check the path")
    return found


def predict(paths: Sequence[Path], store: Store, cache: Path, version: str | None = None) -> tuple[str, pd.DataFrame]:
    """Predict the ages of images by a version, by default the champion.

    Args:
        cache: the root of the local cache; the version's files are checked by their sha256 when they are loaded.
        version: a number as in the history (`v12` or `12`).

    Returns:
        The version's short name, and a row per image: `file`, `age` and the 90 % interval `low` to `high` in years,
        `warning` if it falls below the training images, and `problem` if it can't be read.

    Raises:
        NotFoundError: no model has been promoted.
        SettingsError: no such version.
        StoreError: a file of the version was changed.
        WeightsError: the model can't be loaded safely.
    """
    promotions = history(store)
    if not promotions:
        raise NotFoundError(f"no model has been promoted yet in {store.url}; `python -m age_tasks run` trains one")
    entry = find(promotions, version) if version else promotions[-1]
    folder = cache / "versions" / entry.version
    manifest = fetch_version(store, entry.version, folder)
    # Imports TensorFlow, which takes seconds: a mistyped version is reported before.
    from age_tasks.training.network import load_saved

    model = load_saved(folder / "model.keras")
    groups = [IntervalGroup.model_validate(group) for group in manifest.interval]
    rows: list[dict[str, Any]] = []
    folders: dict[Path, ImageFolder] = {}
    progress = Progress("images")
    for images in _batches(paths, model.input_shape[1]):
        pixels = [image.pixels for image in images if image.pixels is not None]
        ages = model.predict_on_batch(np.stack(pixels).astype("float32")).ravel() if pixels else np.empty(0)
        intervals = zip(ages, *bounds(ages, groups), strict=True)
        for image in images:
            problem = _why_missing(image.path, folders) if image.missing else image.problem
            row: dict[str, Any] = dict.fromkeys(COLUMNS) | {"file": str(image.path), "problem": problem}
            if image.pixels is None:
                row["warning"] = ""
            else:
                row["age"], row["low"], row["high"] = (round(float(years), 1) for years in next(intervals))
                row["warning"] = warnings_for(image.path, image.pixels, manifest.usual)
            rows.append(row)
        progress(len(rows), len(paths))
    return entry.name, pd.DataFrame(rows, columns=COLUMNS)


def _listed_images(file: Path) -> list[Path]:
    """The images in the column `file_name` of a table, beside it or below it."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise LabelsError(f"{file}: {error.strerror}; check the file and its permissions") from None
    table = read_table(data, str(file), ("file_name",))
    names = file_names(table)
    real_names = ImageFolder(str(file.parent.absolute()), file.parent).real_names(names)
    for line, name in zip(table.lines, names, strict=True):
        if problem := name_problem(real_names[name]):
            raise LabelsError(f"{file} line {line}: {name!r}: {problem}; list images beside the table, or below it")
    return [file.parent / real_names[name] for name in names]


def _batches(paths: Sequence[Path], size: int) -> Iterator[list[LoadedImage]]:
    """The images in batches, decoded in parallel."""
    with ThreadPoolExecutor(4) as pool:
        for start in range(0, len(paths), BATCH):
            yield list(pool.map(lambda path: _load(path, size), paths[start : start + BATCH]))


def _load(path: Path, size: int) -> LoadedImage:
    try:
        with decoding_errors(path):
            return LoadedImage(path, load_rgb(path, size))
    except UnreadableImageError as error:
        return LoadedImage(path, None, str(error), missing=not os.path.lexists(path))


def _why_missing(path: Path, folders: dict[Path, ImageFolder]) -> str:
    """Why there is no such file, which a table lists: where was looked, and the likely cause.

    Args:
        folders: those that were read before; each is read once.
    """
    path = path.absolute()
    folder = next(each for each in path.parents if each.is_dir())
    if folder not in folders:
        folders[folder] = ImageFolder(str(folder), folder)
    return folders[folder].missing(path.relative_to(folder).as_posix())
