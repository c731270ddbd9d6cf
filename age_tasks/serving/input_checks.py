"""Is a picture like those that a model was trained on: large enough, and not blurred?"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from age_tasks.data.decoding import load_rgb, upright_size

LIKE_FEW = 1.0  # per cent: what is smaller or more blurred than all but so many training pictures is warned of


def sharpness(pixels: np.ndarray) -> float:
    """How much detail a picture has: the standard deviation of its Laplacian (Pech-Pacheco et al. 2000), grey levels.

    Args:
        pixels: uint8 of shape (size, size, 3), as a model takes it: one size, so that numbers compare.
    """
    grey = pixels.astype("float32").mean(axis=2)
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((around - 4 * grey[1:-1, 1:-1]).std())


def usual(paths: Iterable[Path], size: int) -> dict[str, float]:
    """What nearly all of these pictures reach: `side` (of the smaller side, pixels) and `sharpness` (grey levels)."""
    found = [(min(upright_size(path)), sharpness(load_rgb(path, size))) for path in paths]
    side, detail = np.percentile(np.array(found), LIKE_FEW, axis=0)
    return {"side": float(np.floor(side)), "sharpness": round(float(detail), 2)}


def unlike(path: Path, pixels: np.ndarray, usual: dict[str, float]) -> str:
    """What sets a picture apart from those the model was trained on; empty if nothing does."""
    width, height = upright_size(path)
    said = []
    if min(width, height) < usual["side"]:
        said.append(f"{width} x {height} pixels, smaller than the training pictures ({usual['side']:.0f} and more)")
    if (detail := sharpness(pixels)) < usual["sharpness"]:
        said.append(f"blurred (sharpness {detail:.1f}; training pictures have {usual['sharpness']:.1f} and more)")
    return "; ".join(said)
