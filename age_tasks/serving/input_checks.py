"""Is an image like those that a model was trained on: large enough, and not blurred?"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from age_tasks.data.decoding import load_accepted, upright_size
from age_tasks.data.image_quality import sharpness

PERCENTILE = 1.0  # of the training images; an image below it is warned of


def training_floor(paths: Iterable[Path], size: int) -> dict[str, float]:
    """What nearly all training images reach.

    Args:
        paths: of training images, at least one.
        size: side of the model's input in pixels.

    Returns:
        `side` (of the shorter side, pixels) and `sharpness` (grey levels); a version's manifest has it as `usual`.
    """
    found = [(min(upright_size(path)), _sharpness(load_accepted(path, size))) for path in paths]
    side, detail = np.percentile(np.array(found), PERCENTILE, axis=0)
    return {"side": float(np.floor(side)), "sharpness": round(float(detail), 2)}


def warnings_for(path: Path, pixels: npt.NDArray[np.uint8], floor: Mapping[str, float]) -> str:
    """How an image falls below the training images, for a person; empty if it does not.

    Args:
        path: of the image.
        pixels: of the same image, scaled to the model's input size.
        floor: as `training_floor` returns it.
    """
    width, height = upright_size(path)
    warnings = []
    if min(width, height) < floor["side"]:
        warnings.append(f"{width} x {height} pixels, smaller than the training images ({floor['side']:.0f} or more)")
    if (detail := _sharpness(pixels)) < floor["sharpness"]:
        warnings.append(f"blurred (sharpness {detail:.1f}; training images have {floor['sharpness']:.1f} or more)")
    return "; ".join(warnings)


def _sharpness(pixels: npt.NDArray[np.uint8]) -> float:
    return sharpness(pixels.astype("float32").mean(axis=2))
