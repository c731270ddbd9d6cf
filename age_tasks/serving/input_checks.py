"""Is an image like those that a model was trained on: large enough, and not blurred?"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from age_tasks.data.decoding import load_accepted, upright_size

PERCENTILE = 1.0  # of the training images; an image below it is warned of


def sharpness(pixels: npt.NDArray[np.uint8]) -> float:
    """The standard deviation of the Laplacian (Pech-Pacheco et al. 2000), in grey levels; blur lowers it.

    Args:
        pixels: shape (size, size, 3), scaled to the model's input size; numbers of one size compare.
    """
    grey = pixels.astype("float32").mean(axis=2)
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((around - 4 * grey[1:-1, 1:-1]).std())


def training_floor(paths: Iterable[Path], size: int) -> dict[str, float]:
    """What nearly all training images reach.

    Args:
        paths: of training images, at least one.
        size: side of the model's input in pixels.

    Returns:
        `side` (of the shorter side, pixels) and `sharpness` (grey levels); a version's manifest has it as `usual`.
    """
    found = [(min(upright_size(path)), sharpness(load_accepted(path, size))) for path in paths]
    side, detail = np.percentile(np.array(found), PERCENTILE, axis=0)
    return {"side": float(np.floor(side)), "sharpness": round(float(detail), 2)}


def warnings_for(path: Path, pixels: npt.NDArray[np.uint8], floor: Mapping[str, float]) -> str:
    """How an image falls below the training images, for a person; empty if it does not.

    Args:
        path: of the image.
        pixels: of the same image, as for `sharpness`.
        floor: as `training_floor` returns it.
    """
    width, height = upright_size(path)
    warnings = []
    if min(width, height) < floor["side"]:
        warnings.append(f"{width} x {height} pixels, smaller than the training images ({floor['side']:.0f} or more)")
    if (detail := sharpness(pixels)) < floor["sharpness"]:
        warnings.append(f"blurred (sharpness {detail:.1f}; training images have {floor['sharpness']:.1f} or more)")
    return "; ".join(warnings)
