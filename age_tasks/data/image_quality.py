"""Quality of images, measured while they are decoded: brightness, sharpness, size, colour; and slices by it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from age_tasks.config import BRIGHTNESS, COLOUR, IMAGE_SLICES, SHARPNESS, SIZE, SLICE

MEASURED_SIDE = 128  # pixels; images are measured at one size, so that the numbers compare
COLOUR_SIDE = 32  # enough to see whether there is any
GREY_LEVELS = 4.0  # by which the channels of a greyscale image may differ: what JPEG makes of them


@dataclass(frozen=True)
class ImageQuality:
    """What is measured of an image.

    Args:
        brightness: the mean of its grey levels, from 0 (black) to 1 (white).
        sharpness: as the function `sharpness` gives it, at `MEASURED_SIDE`.
        colour: `greyscale` where the largest channel of a pixel is at most `GREY_LEVELS` above the smallest, in the
            mean over all pixels.
    """

    brightness: float
    sharpness: float
    colour: Literal["colour", "greyscale"]


def measure_quality(image: Image.Image) -> ImageQuality:
    """Measure an RGB image that is upright."""
    grey = np.asarray(_square(image.convert("L"), MEASURED_SIDE), "float32")
    spread = np.ptp(np.asarray(_square(image, COLOUR_SIDE), "int16"), axis=2).mean()
    return ImageQuality(
        brightness=round(float(grey.mean()) / 255, 2),
        sharpness=round(sharpness(grey), 1),
        colour="greyscale" if spread <= GREY_LEVELS else "colour",
    )


def sharpness(grey: npt.NDArray[np.float32]) -> float:
    """The standard deviation of the Laplacian (Pech-Pacheco et al. 2000), in grey levels; blur lowers it.

    Args:
        grey: levels from 0 to 255, shape (size, size), the image scaled to a square; numbers of one size compare.
    """
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((around - 4 * grey[1:-1, 1:-1]).std())


def image_slices(images: pd.DataFrame) -> pd.DataFrame:
    """By what test images can be sliced without a column of the labels: a column for each of `IMAGE_SLICES`, as text.

    Args:
        images: of `accepted.csv`. Version 0.1 measured width and height only; what is not known has no column.
    """
    found = {SHARPNESS: "sharpness", BRIGHTNESS: "brightness", COLOUR: "colour"}
    known = {name: images[column] for name, column in found.items() if column in images}
    known[SIZE] = images[["width", "height"]].min(axis=1)
    return pd.DataFrame({SLICE + name: known[name].astype("str") for name in IMAGE_SLICES if name in known})


def _square(image: Image.Image, side: int) -> Image.Image:
    return image.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
