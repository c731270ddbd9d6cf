"""Metadata of images: how an image must be turned, and the same file without metadata that a decoder trips over.

Metadata never decides whether an image is used. Where it can't be read, the pixels are taken as they are stored.
"""

import re
import struct
import zlib
from fractions import Fraction
from typing import Any

from PIL import ExifTags, Image

# Orientations as exiftool and others write them in words.
_WORDS = {
    "horizontal (normal)": 1,
    "mirror horizontal": 2,
    "rotate 180": 3,
    "mirror vertical": 4,
    "mirror horizontal and rotate 270 cw": 5,
    "rotate 90 cw": 6,
    "mirror horizontal and rotate 90 cw": 7,
    "rotate 270 cw": 8,
    "top-left": 1,
    "top-right": 2,
    "bottom-right": 3,
    "bottom-left": 4,
    "left-top": 5,
    "right-top": 6,
    "right-bottom": 7,
    "left-bottom": 8,
}
_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS")  # of a PNG
_EXIF_ITEM = re.compile(rb"(infe.{8}(?:..)?)Exif", re.DOTALL)  # in the list of items of AVIF and HEIC
# Tags of a TIFF that say how its pixels are stored.
_PIXEL_TAGS = {254, *range(256, 260), 262, 266, 273, *range(277, 280), 284, 317, 320, *range(322, 326), 338, 339, 347}
_PIXEL_TAGS |= set(range(512, 533))
_WEBP_METADATA = (b"EXIF", b"XMP ", b"ICCP")


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none, or none that can be understood."""
    try:
        return as_orientation(image.getexif().get(ExifTags.Base.Orientation, 1))
    except MemoryError:
        raise
    except Exception:  # Pillow's reader raises anything on damaged EXIF
        return 1


def as_orientation(value: Any) -> int:
    """A value of the tag Orientation, of whatever type a camera or a program gave it, as 1 to 8; 1 if it is no use."""
    if isinstance(value, (tuple, list)) and value:
        value = value[0]
    if isinstance(value, bytes):
        value = value[0] if len(value) == 1 else value.decode("latin-1")
    if isinstance(value, str):
        value = value.strip("\0 \t\r\n").lower()
        value = _WORDS.get(value, value)
    try:
        number = Fraction(value) if isinstance(value, str) else float(value)
    except (TypeError, ValueError, ArithmeticError):
        return 1
    return int(number) if number in range(1, 9) else 1


def orientation_in(exif: bytes) -> int:
    """The orientation in a block of EXIF; 1 where there is none, or the block can't be read."""
    found = Image.Exif()
    try:
        found.load(exif)
        return as_orientation(found.get(ExifTags.Base.Orientation, 1))
    except MemoryError:
        raise
    except Exception:  # as above
        return 1


def without_metadata(data: bytes) -> tuple[bytes, int | None] | None:
    """The same image without metadata, and the orientation that its EXIF gave; None where the pixels' data tells it.

    Returns:
        None if the format is another, nothing was left out, or the file's structure is damaged.
    """
    if data.startswith(b"\xff\xd8"):
        kept, exif = _bare_jpeg(data)
    elif data.startswith(b"\x89PNG\r\n\x1a\n"):
        kept, exif = _bare_png(data)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        kept, exif = _bare_webp(data)
    elif data[:4] in (b"II*\0", b"MM\0*"):
        kept, exif = _bare_tiff(data), data
    elif data[4:8] == b"ftyp":
        kept = _EXIF_ITEM.sub(rb"\1none", data)  # of unknown type, and so ignored
        return (kept, None) if kept != data else None
    else:
        return None
    return (kept, orientation_in(exif)) if kept and kept != data else None


def _bare_jpeg(data: bytes) -> tuple[bytes, bytes]:
    """Without application segments other than JFIF's and Adobe's, which say how colours are stored."""
    kept, exif, at = [data[:2]], b"", 2
    while data[at : at + 1] == b"\xff" and at + 4 <= len(data):
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == 0xDA:  # the pixels begin
            return b"".join([*kept, data[at:]]), exif
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xE1 and data[at + 4 : at + 8] == b"Exif" and not exif:
            exif = data[at + 4 : end]
        if marker in (0xE0, 0xEE) or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            kept.append(data[at:end])
        at = end
    return b"", b""


def _bare_png(data: bytes) -> tuple[bytes, bytes]:
    """Without chunks that are no part of the pixels; the checksums of others are left as they are."""
    kept, exif, at = [data[:8]], b"", 8
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        if (
            kind == b"eXIf"
            and not exif
            and zlib.crc32(data[at + 4 : end - 4]) == int.from_bytes(data[end - 4 : end], "big")
        ):
            exif = data[at + 8 : end - 4]
        if kind in _PIXEL_CHUNKS:
            kept.append(data[at:end])
        if kind == b"IEND":
            break
        at = end
    return b"".join(kept), exif


def _bare_webp(data: bytes) -> tuple[bytes, bytes]:
    kept, exif, at = [], b"", 12
    while at + 8 <= len(data):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        chunk = data[at : at + 8 + size + size % 2]
        if kind == b"EXIF" and not exif:
            exif = chunk[8 : 8 + size]
        if kind == b"VP8X" and size >= 1:
            chunk = chunk[:8] + bytes([chunk[8] & ~0b101100]) + chunk[9:]  # no colour profile, EXIF, XMP
        if kind not in _WEBP_METADATA:
            kept.append(chunk)
        at += 8 + size + size % 2
    body = b"WEBP" + b"".join(kept)
    return b"RIFF" + len(body).to_bytes(4, "little") + body, exif


def _bare_tiff(data: bytes) -> bytes:
    """With an unknown tag in place of each tag that is no part of the pixels."""
    order = "<" if data[:1] == b"I" else ">"
    result = bytearray(data)
    try:
        (start,) = struct.unpack_from(order + "L", data, 4)
        (count,) = struct.unpack_from(order + "H", data, start)
        for at in range(start + 2, start + 2 + 12 * count, 12):
            if struct.unpack_from(order + "H", data, at)[0] not in _PIXEL_TAGS:
                struct.pack_into(order + "HHLL", result, at, 65_000, 1, 1, 0)
    except struct.error:
        return b""
    return bytes(result)
