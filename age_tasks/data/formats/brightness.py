"""Brightness of images with more than 8 bits: scaled to 0–255, or refused where the scale can't be known.

A camera's 12 bits are often stored in samples of 16, and floats range from 0 to 1, to 255 or to 65,535; no header says
which. The largest value tells the depths apart: a photograph uses nearly its whole range.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin

_DEPTHS = (8, 10, 12, 14, 16)  # bits in which photographs are taken
_FULL = ("PPM", "JPEG2000")  # formats that Pillow scales to 16 bits by what their header says
_ROWS = 512  # that are converted at once: floats take much memory
_OVERSHOOT = 0.02  # of the range: what sharpening and scaling of floats leave below 0 and above the brightest
_DARK = 64  # a byte that no 16 bit image of 14 bits reaches


class UnknownScaleError(ValueError):
    """What number is white can't be known."""


def is_deep(image: Image.Image) -> bool:
    """Whether the image has one channel of more than 8 bits."""
    return image.mode == "F" or image.mode.startswith("I")


def to_8_bits(image: Image.Image, file_format: str | None = None) -> Image.Image:
    """A greyscale image of 8 bits.

    Args:
        image: with one channel of integers or floats.
        file_format: Pillow's name of the format it was read from.

    Raises:
        UnknownScaleError: the values fit no usual range.
    """
    values = np.asarray(image)
    low, high = values.min(initial=0), values.max(initial=0)
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UnknownScaleError("some of its brightness values are no numbers (NaN or infinite); save it with 8 bits")
    white = 65_535.0 if file_format in _FULL and image.mode != "F" else _white(float(low), float(high), image)
    result = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), _ROWS):
        rows = values[start : start + _ROWS].astype(np.float64)
        if _white_is_zero(image):
            rows = white - rows
        result[start : start + _ROWS] = (rows / (white / 255)).clip(0, 255).astype(np.uint8)
    return Image.fromarray(result)


def combined(high: Image.Image, low: Image.Image | None) -> Image.Image | None:
    """The image in RGB from the high and low bytes of its samples of 16 bits, of which fewer are used.

    Args:
        high: as Pillow decodes it.
        low: the same image of its low bytes; None if they can't be had.

    Returns:
        None if the high bytes alone are right: all 16 bits are used.

    Raises:
        UnknownScaleError: the low bytes would be needed.
    """
    top = np.asarray(high.convert("RGB"))
    if int(top.max(initial=0)) >= _DARK:
        return None
    if low is None:
        raise UnknownScaleError("its samples of 16 bits hold fewer; save it with 8 bits")
    values = top.astype(np.uint16) * 256 + np.asarray(low.convert("RGB"))
    if _filled(values):
        return None
    white = 2 ** _bits(float(values.max())) - 1
    return Image.fromarray((values / (white / 255)).clip(0, 255).astype(np.uint8))


def _white(low: float, high: float, image: Image.Image) -> float:
    """The value that stands for white."""
    seen = f"its brightness values range from {low:g} to {high:g}"
    floats = image.mode == "F"
    if low < (-_OVERSHOOT * high if floats else 0):
        raise UnknownScaleError(f"{seen}; expected none below 0; save it with 8 bits")
    if floats and 0 < high <= 1 + 4 * _OVERSHOOT:
        return 1.0
    if high > 65_535 * (1 + _OVERSHOOT * floats):
        raise UnknownScaleError(f"{seen}; expected at most 65535 (16 bits); save it with 8 bits")
    if floats and high <= 255 * (1 + _OVERSHOOT):
        return 255.0
    if (declared := _declared_bits(image)) and high <= 2**declared - 1:
        return 2.0**declared - 1
    if high > 2**14 - 1 and high <= 2**15 - 1 and _signed(image):
        return 2.0**15 - 1
    if high > 2**12 - 1 and _filled(np.asarray(image)):
        return 65_535.0
    return 2.0 ** _bits(min(high, 65_535)) - 1


def _bits(high: float) -> int:
    return next(bits for bits in _DEPTHS if high <= 2**bits - 1)


def _filled(values: npt.NDArray[Any]) -> bool:
    """Whether the samples were made of 8 bits (multiples of 256 or 257): dark, but of the full range."""
    whole = values.astype(np.uint32)
    return bool((whole % 257 == 0).all() or (whole % 256 == 0).all())


def _declared_bits(image: Image.Image) -> int:
    """The bits of each sample as a TIFF's header says, where they are fewer than 16; 0 if it doesn't say."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(TiffImagePlugin.BITSPERSAMPLE, ())
    return int(bits[0]) if isinstance(bits, tuple) and len(bits) == 1 and 8 < bits[0] < 16 else 0


def _signed(image: Image.Image) -> bool:
    """Whether a TIFF's samples have a sign, which leaves 15 bits of 16."""
    return 2 in getattr(image, "tag_v2", {}).get(TiffImagePlugin.SAMPLEFORMAT, ())


def _white_is_zero(image: Image.Image) -> bool:
    """Whether a TIFF counts from white to black; Pillow turns only samples of up to 8 bits."""
    return getattr(image, "tag_v2", {}).get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0
