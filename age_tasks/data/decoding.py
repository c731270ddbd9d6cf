"""Decoding image files: upright RGB pixels, or what is wrong with the file."""

from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from age_tasks.errors import LabelsError

MAX_PIXELS = 50_000_000


MAX_BYTES = 100_000_000


# What people keep photographs in; others of Pillow's decoders start programs (EPS), or few have ever looked at them.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "PPM", "JPEG2000")

# Pillow only warns at its own bound; every opening here goes through `open_image`, which refuses at ours.
Image.MAX_IMAGE_PIXELS = None


class TooManyPixels(LabelsError):
    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__(
            f"{size[0] * size[1] / 1e6:,.0f} million pixels; at most {MAX_PIXELS / 1e6:.0f} (decompression bomb)"
        )
        self.size = size


def load_rgb(path: Path, size: int) -> np.ndarray:
    """The picture, upright, in RGB, scaled to a square.

    Args:
        path: of one of the `FORMATS`; greyscale, CMYK, palette, 16 bit and EXIF rotation are put right.
        size: side of the result in pixels; the aspect ratio is not kept, as Keras' own loader does.

    Returns:
        uint8 array of shape (size, size, 3), values 0–255.
    """
    with open_image(path) as image:
        image.draft("RGB", (size, size))  # JPEG only: decodes at 1/2, 1/4 or 1/8 where that is still large enough
        upright = ImageOps.exif_transpose(image)
        rgb = to_rgb(upright)
        if rgb.size != (size, size):
            rgb = rgb.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=2.0)
        return np.asarray(rgb)


def load_or_problem(path: Path, size: int) -> np.ndarray | str:
    """As `load_rgb`, or what is wrong with the file, for a person. Never raises for what the file holds."""
    try:
        return load_rgb(path, size)
    except TooManyPixels as bomb:
        return str(bomb)
    except FileNotFoundError:
        return "no such file"
    except UnidentifiedImageError:
        with path.open("rb") as file:
            return f"not an image: {looks_like(file.read(200))}"
    except Exception as error:  # as in `probe_file`
        return damage(error)


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels, upright; reads the header only."""
    with open_image(path) as image:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5  # by a quarter
        return image.size[::-1] if turned else image.size


def damage(error: Exception) -> str:
    truncated = "truncated" in str(error).lower() or "broken" in str(error).lower()
    return "truncated or damaged: the picture does not decode to its end" if truncated else f"does not decode: {error}"


def open_image(path: Path) -> Image.Image:
    """Read the header only; a picture beyond the bound is refused before its pixels take memory."""
    image = Image.open(path, formats=FORMATS)
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise TooManyPixels(image.size)
    return image


def to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":  # 16 bit: keep the high byte; Pillow's own conversion clips
        values = np.asarray(image, dtype=np.float64)
        scale = 257.0 if values.max(initial=0) > 255 else 1.0
        image = Image.fromarray((values / scale).clip(0, 255).astype(np.uint8))
    return image.convert("RGB")


def looks_like(data: bytes) -> str:
    start = data[:200].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if start.startswith((b"<?xml", b"<svg")):
        return "an XML file"
    return "its first bytes are " + data[:8].hex(" ")
