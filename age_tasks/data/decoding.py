"""Decoding of image files: upright RGB pixels, or why a file can't be decoded."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from age_tasks.errors import LabelsError

MAX_PIXELS = 50_000_000
MAX_BYTES = 100_000_000
# Formats that photographs are kept in. Pillow's other decoders start programs (EPS) or are little tested.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "PPM", "JPEG2000")


class UnreadableImageError(LabelsError):
    """The file can't be decoded as an image. The message says why, without the file's name."""


class TooManyPixelsError(UnreadableImageError):
    """The image has more than `MAX_PIXELS`."""

    def __init__(self, pixels: int) -> None:
        super().__init__(f"{pixels / 1e6:,.0f} million pixels; at most {MAX_PIXELS / 1e6:.0f} (decompression bomb)")


def load_rgb(path: Path, size: int) -> npt.NDArray[np.uint8]:
    """The image, upright, in RGB, scaled to a square.

    Args:
        path: of a file in one of the `FORMATS`; greyscale, CMYK, palette, 16 bit and EXIF rotation are converted.
        size: side of the result in pixels; the aspect ratio is not kept, as in Keras' own loader.

    Returns:
        uint8 array of shape (size, size, 3), values 0–255.

    Raises:
        TooManyPixelsError: the image is larger than `MAX_PIXELS`.
        Exception: any, if the file is damaged or no image; see `decoding_errors`.
    """
    with open_image(path) as image:
        image.draft("RGB", (size, size))  # JPEG only: decodes at 1/2, 1/4 or 1/8 where that is still large enough
        upright = ImageOps.exif_transpose(image)
        rgb = to_rgb(upright)
        if rgb.size != (size, size):
            rgb = rgb.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=2.0)
        return np.asarray(rgb)


@contextlib.contextmanager
def decoding_errors(path: Path) -> Iterator[None]:
    """Raise whatever a missing, damaged or hostile file makes the decoder raise as UnreadableImageError.

    Args:
        path: of the file that is read inside.
    """
    try:
        yield
    except UnreadableImageError:
        raise
    except FileNotFoundError:
        raise UnreadableImageError("no such file") from None
    except UnidentifiedImageError:
        raise UnreadableImageError(f"not an image: {_content_type(path)}") from None
    except Exception as error:  # decoders raise anything on damaged input: OSError, SyntaxError, struct.error, ...
        raise UnreadableImageError(_damage(error)) from error


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels after EXIF rotation; reads the header only."""
    with open_image(path) as image:
        quarter_turn = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
        return image.size[::-1] if quarter_turn else image.size


def open_image(path: Path) -> Image.Image:
    """Read the header only.

    Raises:
        TooManyPixelsError: refused before the pixels take memory.
    """
    try:
        image = Image.open(path, formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:  # beyond Pillow's own bounds
        raise TooManyPixelsError(_pixels_in(error)) from None
    if (pixels := image.width * image.height) > MAX_PIXELS:
        image.close()
        raise TooManyPixelsError(pixels)
    return image


def to_rgb(image: Image.Image) -> Image.Image:
    """The image in RGB; 16 bit images keep their high byte, where Pillow's own conversion clips."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        scale = 257.0 if values.max(initial=0) > 255 else 1.0
        image = Image.fromarray((values / scale).clip(0, 255).astype(np.uint8))
    return image.convert("RGB")


def _damage(error: Exception) -> str:
    truncated = "truncated" in str(error).lower() or "broken" in str(error).lower()
    return "truncated or damaged: the image does not decode to its end" if truncated else f"does not decode: {error}"


def _content_type(path: Path) -> str:
    """What a file that is no image seems to be, for people."""
    with path.open("rb") as file:
        data = file.read(200)
    start = data.lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if start.startswith((b"<?xml", b"<svg")):
        return "an XML file"
    return "its first bytes are " + data[:8].hex(" ")


def _pixels_in(error: Exception) -> int:
    """The number of pixels that a message of Pillow's guard gives, "Image size (178956972 pixels) exceeds ..."."""
    found = re.search(r"\((\d+) pixels\)", str(error))
    return int(found[1]) if found else 2 * MAX_PIXELS
