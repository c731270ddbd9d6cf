"""Ages of new pictures by a published version, with intervals and warnings."""

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from age_tasks.data.decoding import UnreadableImageError, decoding_errors, load_rgb
from age_tasks.data.image_folder import name_problem
from age_tasks.errors import LabelsError, NotFoundError
from age_tasks.evaluation.conformal import bounds
from age_tasks.evaluation.results import IntervalGroup
from age_tasks.progress import Progress
from age_tasks.registry.promotions import fetch_version, find, history
from age_tasks.serving.input_checks import unlike
from age_tasks.store.base import Store

log = logging.getLogger(__name__)

BATCH = 32
COLUMNS = ["file", "age", "low", "high", "warning", "problem"]


def pictures_in(places: Sequence[Path]) -> list[Path]:
    """The files that are meant: pictures themselves, all files of a folder, or the `file_name` column of a CSV file.

    Raises:
        LabelsError: no such file or folder, or a CSV file without that column or with a name that leaves its folder.
    """
    found: list[Path] = []
    for place in places:
        if place.is_dir():
            found += sorted(path for path in place.rglob("*") if path.is_file() and not path.name.startswith("."))
        elif place.suffix == ".csv":
            found += _listed(place)
        elif place.is_file():
            found.append(place)
        else:
            raise LabelsError(f"{place}: no such picture, folder or CSV file")
    return found


def predict(paths: Sequence[Path], store: Store, cache: Path, version: str | None = None) -> tuple[str, pd.DataFrame]:
    """The ages that a version, by default the champion, gives to the pictures.

    Args:
        cache: where the version's files are kept, each checked by its sha256 when it is loaded.
        version: a number as in the history (`v12` or `12`).

    Returns:
        The version's short name, and a row a picture: `file`, `age` and the 90 % interval `low` to `high` in years,
        `warning` where it is unlike the training pictures, and `problem` where it can't be read at all.

    Raises:
        NotFoundError: no model has been promoted.
        SettingsError: no such version.
        StoreError: a file of the version was changed.
        WeightsError: the model is refused.
    """
    promotions = history(store)
    if not promotions:
        raise NotFoundError(f"no model has been promoted yet in {store.url}; `python -m age_tasks run` trains one")
    entry = find(promotions, version) if version else promotions[-1]
    folder = cache / "versions" / entry.version
    manifest = fetch_version(store, entry.version, folder)
    # Brings TensorFlow, which those who only mistyped a version need not wait for.
    from age_tasks.training.network import load_saved

    model = load_saved(folder / "model.keras")
    groups = [IntervalGroup.model_validate(group) for group in manifest.interval]
    rows: list[dict] = []
    progress = Progress("pictures")
    for batch, loaded in _batches(paths, model.input_shape[1]):
        pixels = [each for each, _ in loaded if each is not None]
        ages = model.predict_on_batch(np.stack(pixels).astype("float32")).ravel() if pixels else np.empty(0)
        found = zip(ages, *bounds(ages, groups), strict=True)
        for path, (each, problem) in zip(batch, loaded, strict=True):
            rows.append(_unreadable(path, problem) if each is None else _row(path, each, next(found), manifest.usual))
        progress(len(rows), len(paths))
    return entry.name, pd.DataFrame(rows, columns=COLUMNS)


def _listed(file: Path) -> list[Path]:
    table = pd.read_csv(file, dtype="str", keep_default_na=False)
    if "file_name" not in table:
        raise LabelsError(f"{file}: no column file_name; its columns are {', '.join(table.columns)}")
    for row, name in enumerate(table["file_name"], start=1):
        if problem := name_problem(name):
            raise LabelsError(f"{file} row {row}: {name!r}: {problem}; name pictures beside the CSV file, or below it")
    return [file.parent / name for name in table["file_name"]]


def _batches(paths: Sequence[Path], size: int) -> Iterator[tuple[Sequence[Path], list[tuple[np.ndarray | None, str]]]]:
    """Images in batches, decoded in parallel: the pixels of each, or None and why it can't be read."""
    with ThreadPoolExecutor(4) as pool:
        for start in range(0, len(paths), BATCH):
            batch = paths[start : start + BATCH]
            yield batch, list(pool.map(lambda path: _load(path, size), batch))


def _load(path: Path, size: int) -> tuple[np.ndarray | None, str]:
    try:
        with decoding_errors(path):
            return load_rgb(path, size), ""
    except UnreadableImageError as error:
        return None, str(error)


def _unreadable(path: Path, problem: str) -> dict:
    return {"file": str(path), "age": None, "low": None, "high": None, "warning": "", "problem": problem}


def _row(path: Path, pixels: np.ndarray, found: tuple, usual: dict[str, float]) -> dict:
    age, low, high = (round(float(each), 1) for each in found)
    return {
        "file": str(path),
        "age": age,
        "low": low,
        "high": high,
        "warning": unlike(path, pixels, usual),
        "problem": "",
    }
