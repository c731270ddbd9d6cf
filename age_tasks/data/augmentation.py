"""Augmentations of an image: the image itself, its mirror, and random variants in crop, rotation and colour.

An augmentation is a pure function of the image's content and the augmentation's number, so that features computed from
it can be cached under the two.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageOps

from age_tasks.data.decoding import load_accepted

Load = Callable[[int], npt.NDArray[np.uint8]]  # of an image, by the side of the result in pixels

PLAIN, MIRROR = 0, 1
VERSION = "2"  # of the random augmentations; increase it whenever one of them changes


def load_augmented(path: Path, size: int, number: int, sha256: str) -> npt.NDArray[np.uint8]:
    """One augmentation of an image, scaled to a square by `load_rgb`.

    Args:
        path: of the image file.
        size: side of the result in pixels.
        number: 0 the image itself, 1 its mirror; from 2 on random variants, the odd ones mirrored.
        sha256: of the file's content; seeds the random variants, whatever the file's name or store.

    Returns:
        uint8 array of shape (size, size, 3), values 0–255.
    """
    return _augmented(partial(load_accepted, path), size, number, sha256)


def load_augmentations(path: Path, size: int, numbers: Sequence[int], sha256: str) -> npt.NDArray[np.uint8]:
    """Several augmentations of an image, which is decoded once for all that need the same scale.

    Args:
        path, size, sha256: as for `load_augmented`.
        numbers: of the augmentations, at least one.

    Returns:
        uint8 array of shape (numbers, size, size, 3), values 0–255.
    """
    load = cache(partial(load_accepted, path))
    return np.stack([_augmented(load, size, number, sha256) for number in numbers])


def _augmented(load: Load, size: int, number: int, sha256: str) -> npt.NDArray[np.uint8]:
    if number in (PLAIN, MIRROR):
        return load(size) if number == PLAIN else load(size)[:, ::-1]
    seed = hashlib.sha256(f"{sha256} {number}".encode()).digest()
    return _vary(load(size * 5 // 4), size, np.random.default_rng(list(seed)), mirrored=number % 2 == 1)


def _vary(pixels: npt.NDArray[np.uint8], size: int, rng: np.random.Generator, mirrored: bool) -> npt.NDArray[np.uint8]:
    image = Image.fromarray(pixels).rotate(rng.normal(0, 6), Image.Resampling.BILINEAR)
    side = image.width * rng.uniform(0.78, 1.0)
    left, top = rng.uniform(0, image.width - side, 2)
    image = image.resize((size, size), Image.Resampling.BILINEAR, (left, top, left + side, top + side))
    for enhance, spread in ((ImageEnhance.Brightness, 0.2), (ImageEnhance.Contrast, 0.2), (ImageEnhance.Color, 0.35)):
        image = enhance(image).enhance(rng.uniform(1 - spread, 1 + spread))
    return np.asarray(ImageOps.mirror(image) if mirrored else image)
