"""Views of a picture: itself, its mirror, and further ones that a crop, a small turn and other light make of it."""

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from age_tasks.data.decoding import load_rgb

PLAIN, MIRROR = 0, 1
VERSION = "1"  # raise when a view of a picture changes


def load_view(path: Path, size: int, view: int) -> np.ndarray:
    """The picture as `load_rgb` gives it, seen in one of many ways; the same for the same name and number everywhere.

    Args:
        size: side of the result in pixels.
        view: 0 the picture itself, 1 its mirror; others are drawn by lot, every second one mirrored.

    Returns:
        uint8 array of shape (size, size, 3), values 0–255.
    """
    if view == PLAIN:
        return load_rgb(path, size)
    if view == MIRROR:
        return load_rgb(path, size)[:, ::-1]
    seed = hashlib.sha256(f"{path.name} {view}".encode()).digest()
    return _varied(load_rgb(path, size * 5 // 4), size, np.random.default_rng(list(seed)), mirrored=view % 2 == 1)


def _varied(pixels: np.ndarray, size: int, rng: np.random.Generator, mirrored: bool) -> np.ndarray:
    image = Image.fromarray(pixels).rotate(rng.normal(0, 6), Image.Resampling.BILINEAR)
    side = image.width * rng.uniform(0.78, 1.0)
    left, top = rng.uniform(0, image.width - side, 2)
    image = image.resize((size, size), Image.Resampling.BILINEAR, (left, top, left + side, top + side))
    for enhance, spread in ((ImageEnhance.Brightness, 0.2), (ImageEnhance.Contrast, 0.2), (ImageEnhance.Color, 0.35)):
        image = enhance(image).enhance(rng.uniform(1 - spread, 1 + spread))
    return np.asarray(ImageOps.mirror(image) if mirrored else image)
