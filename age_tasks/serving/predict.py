"""Ages of new images by a published version, with intervals and warnings."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from age_tasks.config import ComputeSettings
from age_tasks.data.decoding import UnreadableImageError, decoding_errors, load_rgb
from age_tasks.errors import LabelsError, NotFoundError
from age_tasks.evaluation.conformal import bounds, possible_ages
from age_tasks.evaluation.results import IntervalGroup
from age_tasks.progress import Progress
from age_tasks.registry.promotions import fetch_version, find, history
from age_tasks.serving.found_images import FoundImage
from age_tasks.serving.input_checks import warnings_for
from age_tasks.store.base import Store

BATCH = 64
COLUMNS = ["file", "age", "low", "high", "warning", "problem"]


@dataclass(frozen=True)
class LoadedImage:
    """A found image with its pixels, uint8 of shape (size, size, 3), or the problem that makes it unreadable."""

    shown: str
    path: Path | None
    pixels: npt.NDArray[np.uint8] | None
    problem: str = ""


def predict(
    images: Sequence[FoundImage], store: Store, cache: Path, version: str | None = None
) -> tuple[str, pd.DataFrame]:
    """Predict the ages of images by a version, by default the champion.

    Args:
        cache: the root of the local cache; the version's files are checked by their sha256 when they are loaded.
        version: a number as in the history (`v12` or `12`).

    Returns:
        The version's short name, and a row per image: `file`, `age` and the 90 % interval `low` to `high` in years, not
        below 0, `warning` if it falls below the training images, and `problem` if it can't be read.

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
    from age_tasks.training.prefix_engine import FrozenNetwork

    model = load_saved(folder / "model.keras")
    network = FrozenNetwork(model, ComputeSettings(), len(images))
    groups = [IntervalGroup.model_validate(group) for group in manifest.interval]
    rows: list[dict[str, Any]] = []
    progress = Progress("images")
    for batch in _batches(images, model.input_shape[1]):
        pixels = [image.pixels for image in batch if image.pixels is not None]
        ages = possible_ages(network(np.stack(pixels).astype("float32"))[0].ravel()) if pixels else np.empty(0)
        intervals = zip(ages, *bounds(ages, groups), strict=True)
        for image in batch:
            row: dict[str, Any] = dict.fromkeys(COLUMNS) | {"file": image.shown, "problem": image.problem}
            if image.pixels is None or image.path is None:
                row["warning"] = ""
            else:
                row["age"], row["low"], row["high"] = (round(float(years), 1) for years in next(intervals))
                row["warning"] = warnings_for(image.path, image.pixels, manifest.usual)
            rows.append(row)
        progress(len(rows), len(images))
    return entry.name, pd.DataFrame(rows, columns=COLUMNS)


def _batches(images: Sequence[FoundImage], size: int) -> Iterator[list[LoadedImage]]:
    """The images in batches, fetched and decoded in parallel."""
    with ThreadPoolExecutor(4) as pool:
        for start in range(0, len(images), BATCH):
            yield list(pool.map(lambda image: _load(image, size), images[start : start + BATCH]))


def _load(image: FoundImage, size: int) -> LoadedImage:
    try:
        path = image.file()
        with decoding_errors(path):
            return LoadedImage(image.shown, path, load_rgb(path, size))
    except (LabelsError, UnreadableImageError) as error:
        return LoadedImage(image.shown, None, None, str(error))
