"""Decoding of image files: upright RGB pixels, or why a file can't be decoded.

The one opener of images for the snapshot, training and prediction. What a file is, is told by its content, never by its
name; metadata never decides whether it is used.
"""

import contextlib
import errno
import importlib
import io
import stat
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image, ImageFile, JpegImagePlugin, TiffImagePlugin, UnidentifiedImageError

from age_tasks.data.formats import brightness, content, metadata
from age_tasks.errors import LabelsError
from age_tasks.stopwatch import timed

# Of an image that is decoded whole, 4 bytes each: 64 million fit a phone's 9,248 x 6,936 and 8,192 x 8,192.
MAX_PIXELS = 8_192 * 8_192
# Of a JPEG that is decoded at a half, quarter or eighth of its size: the largest that phones take.
MAX_SCALED_PIXELS = 16_384 * 12_288
MAX_BYTES = 100_000_000
# Formats that photographs are kept in. Pillow's other decoders start programs (EPS) or are little tested.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "PPM", "JPEG2000")

_SCALED_SIDE = 1_024  # pixels that each side of a scaled JPEG keeps at least
_SUBFILE_TYPE, _SUB_FILES = 254, 330  # tags of a TIFF: 1 is a reduced image; where the full one is
_NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
)


class UnreadableImageError(LabelsError):
    """The file can't be decoded as an image. The message says why, without the file's name."""


class PassingProblemError(UnreadableImageError):
    """The file can't be read or decoded now; it may be whole. The message says why, without the file's name."""


class TooManyPixelsError(UnreadableImageError):
    """The image has more pixels than are decoded.

    Args:
        size: width and height in pixels.
        bound: the most that are decoded of this kind.
        kind: what it is, such as `a PNG`.
    """

    def __init__(self, size: tuple[int, int], bound: int, kind: str) -> None:
        width, height = size
        super().__init__(
            f"{width} x {height} = {width * height:,} pixels; at most {bound:,} are read of {kind}: scale it down"
        )


def load_rgb(path: Path, size: int) -> npt.NDArray[np.uint8]:
    """The image, upright, in RGB, scaled to a square.

    Args:
        path: of a file in one of the `FORMATS`, or HEIC where pillow-heif is installed; greyscale, CMYK, palette,
            10 to 16 bits, floats and EXIF rotation are converted.
        size: side of the result in pixels; the aspect ratio is not kept, as in Keras' own loader.

    Returns:
        uint8 array of shape (size, size, 3), values 0–255.

    Raises:
        UnreadableImageError: whatever the reason.
    """
    with decoding_errors(path):
        rgb = decoded(path, size)[0]
        if rgb.size != (size, size):
            rgb = rgb.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=2.0)
        return np.asarray(rgb)


@timed("input")
def load_accepted(path: Path, size: int) -> npt.NDArray[np.uint8]:
    """As `load_rgb`, of an image that the snapshot could read.

    Raises:
        LabelsError: it can't be read any more; the message names the file.
    """
    try:
        return load_rgb(path, size)
    except PassingProblemError as error:
        raise LabelsError(f"{path}: {error}") from None
    except UnreadableImageError as error:
        raise LabelsError(f"{path}: {error}; run snapshot with --again, which reads every image anew") from None


def decoded(source: Path | bytes, side: int | None = None) -> tuple[Image.Image, tuple[int, int]]:
    """The image, decoded to its end, upright and in RGB; and its width and height, also where it was scaled.

    Args:
        source: a file, or its content.
        side: that is wanted of the result, in pixels: a JPEG may be decoded at a half, a quarter or an eighth, where
            that is still large enough. By default nothing is scaled, but JPEG of more than `MAX_PIXELS`.

    Raises:
        TooManyPixelsError: the image is larger than is read.
        Exception: any, if the file is damaged or no image; see `decoding_errors`.
    """
    data = source if isinstance(source, bytes) else _read(source)
    try:
        return _decoded(data, side)
    except (UnreadableImageError, MemoryError, brightness.UnknownScaleError):
        raise
    except Exception as error:
        exploding = "Decompressed data too large" in str(error)
        bare = None if exploding else metadata.without_metadata(data)
        if bare is None:
            raise
        try:
            return _decoded(bare[0], side, bare[1])
        except MemoryError:
            raise
        except Exception:  # the pixels are damaged too: the first reason counts
            raise error from None


@contextlib.contextmanager
def decoding_errors(path: Path) -> Iterator[None]:
    """Raise whatever a missing, damaged or hostile file makes the decoder raise as UnreadableImageError.

    What may pass without a change of the file, such as too little memory, is raised as PassingProblemError.

    Args:
        path: of the file that is read inside.
    """
    try:
        yield
    except UnreadableImageError:
        raise
    except UnidentifiedImageError:
        raise UnreadableImageError(_no_image(path)) from None
    except Exception as error:  # decoders raise anything on damaged input: OSError, SyntaxError, struct.error, ...
        if isinstance(error, MemoryError) or str(error).startswith("out of memory"):  # as Pillow's decoders say it
            raise PassingProblemError(
                "can't be read: not enough memory to decode it; end other programs, or raise AGE_MEMORY, then run it "
                "again"
            ) from None
        if isinstance(error, OSError) and error.errno:
            raise _file_error(error) from None
        raise UnreadableImageError(_raw_file(path) or _damage(error)) from error


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels after EXIF rotation; reads the header only, if that is whole.

    Raises:
        UnreadableImageError: whatever the reason.
    """
    try:
        with open_image(path) as image:
            return _upright_size(image, metadata.orientation(image))
    except UnreadableImageError:
        raise
    except Exception:  # odd metadata, or damage
        with decoding_errors(path):
            return decoded(path)[1]


def open_image(source: Path | bytes) -> ImageFile.ImageFile:
    """Read the header only.

    Raises:
        TooManyPixelsError: refused before the pixels take memory.
        UnreadableImageError: no ordinary file, or one of more than `MAX_BYTES`.
        UnidentifiedImageError: none of the formats.
        Exception: others, if the file is damaged.
    """
    file: IO[bytes] = io.BytesIO(source) if isinstance(source, bytes) else _open_file(source)
    try:
        image = _identified(file)
        if image is None:
            raise UnidentifiedImageError(f"no image: {source!r:.100}")
        if isinstance(image, TiffImagePlugin.TiffImageFile) and _is_preview(image):
            raise UnreadableImageError(f"not an image: {content.RAW}")
        if (pixels := image.width * image.height) > MAX_PIXELS:
            scaled = isinstance(image, JpegImagePlugin.JpegImageFile) and _in_one_scan(image)
            bound = MAX_SCALED_PIXELS if scaled else MAX_PIXELS
            if pixels > bound:
                raise TooManyPixelsError(image.size, bound, _kind(image))
    except BaseException:
        file.close()
        raise
    image._exclusive_fp = True  # as Image.open does: the image closes the file
    return image


def kind_of(mode: int) -> str:
    """What is no ordinary file, by its mode; empty for a file."""
    return next((name for test, name in _KINDS if test(mode)), "")


def read_problem(error: OSError) -> str:
    """Why a file can't be read, for people."""
    if error.errno in _NO_FILE:
        return "no such file; check its name"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "can't be read: permission denied; let the user that runs the stages read it (chmod a+r)"
    return f"can't be read: {error.strerror or error}; check the disk or the mount, and copy the file again"


@cache
def decoders() -> str:
    """What decodes images here, with versions: a file that one version refuses, another may read."""
    heif = _plugin("pillow_heif")
    return f"Pillow {PIL.__version__}, pillow-heif {heif.__version__ if heif else 'none'}"


def _decoded(data: bytes, side: int | None, orientation: int | None = None) -> tuple[Image.Image, tuple[int, int]]:
    with open_image(data) as image:
        kind, full = image.format, image.size
        scaled = image.width * image.height > MAX_PIXELS
        if side or scaled:
            wanted = side or _SCALED_SIDE
            image.draft("RGB", (wanted, wanted))  # JPEG only: decodes at 1/2, 1/4 or 1/8 where that is large enough
        wide = [tile.args for tile in image.tile if ";16" in str(tile.args)] if image.mode in ("RGB", "RGBA") else []
        for key in ("xmp", "XML:com.adobe.xmp"):  # a TIFF is turned while it is loaded, and trips over numbers here
            if isinstance(image, TiffImagePlugin.TiffImageFile) and not isinstance(
                image.info.get(key, ""), (str, bytes)
            ):
                del image.info[key]
        image.load()
        if orientation is None:
            orientation = metadata.orientation(image)  # a PNG's may stand behind the pixels; a TIFF is turned by now
        if image.size != full and isinstance(image, TiffImagePlugin.TiffImageFile):
            full = image.size
        deep: Image.Image = image
        if brightness.is_deep(image):
            deep = brightness.to_8_bits(image, kind)
        elif wide:
            deep = brightness.combined(image, _low_bytes(data)) or image
        turn = _TURNS.get(orientation)
        upright = deep.transpose(turn) if turn is not None else deep
        rgb = upright if upright.mode == "RGB" else upright.convert("RGB")
        return rgb, full[::-1] if orientation >= 5 else full


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _upright_size(image: ImageFile.ImageFile, orientation: int) -> tuple[int, int]:
    turned = False
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        turned = image.size != image._tile_size  # Pillow gives the size as it will be
    return image.size[::-1] if orientation >= 5 and not turned else image.size


def _read(path: Path) -> bytes:
    with _open_file(path) as file:
        return file.read()


def _open_file(path: Path) -> IO[bytes]:
    found = path.stat()  # opening a pipe would wait for ever
    if kind := kind_of(found.st_mode):
        raise UnreadableImageError(f"{kind}, no file; put the image in its place")
    if found.st_size > MAX_BYTES:
        raise UnreadableImageError(size_problem(found.st_size))
    return path.open("rb")


def size_problem(size: int) -> str:
    """That a file is larger than `MAX_BYTES`."""
    return f"{size / 1e6:,.0f} MB; at most {MAX_BYTES / 1e6:.0f} MB are read: scale it down"


def _identified(file: IO[bytes]) -> ImageFile.ImageFile | None:
    """The image by the first format that fits; None if none does.

    `Image.open` without its guard against many pixels, which would refuse the JPEG of some phones and warns of others:
    here every image is measured before it is decoded.
    """
    head = file.read(64)
    if content.is_heic(head):
        return _heic(file)
    if not Image.OPEN.keys() >= set(FORMATS):
        Image.init()
    for name in FORMATS:
        factory, accept = Image.OPEN[name]
        accepted = accept is None or accept(head[:16])
        if accepted and not isinstance(accepted, str):  # a text says what is not installed
            file.seek(0)
            with contextlib.suppress(SyntaxError, IndexError, TypeError, struct.error):
                found: ImageFile.ImageFile = factory(file, "")
                return found
    return None


def _is_preview(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Whether this is the small preview that comes first in raw files of cameras (DNG, NEF), which look like a TIFF."""
    return image.tag_v2.get(_SUBFILE_TYPE) == 1 and _SUB_FILES in image.tag_v2


def _heic(file: IO[bytes]) -> ImageFile.ImageFile | None:
    """By pillow-heif, if it is installed: its wheel has an encoder under the GPL, so that not everybody wants it."""
    plugin = _plugin("pillow_heif.as_plugin")
    if plugin is None:
        return None
    file.seek(0)
    found: ImageFile.ImageFile = plugin.HeifImageFile(file, "")
    return found


def _plugin(name: str) -> Any:
    """A module of pillow-heif; None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _in_one_scan(image: ImageFile.ImageFile) -> bool:
    """Whether a JPEG has all colours in one scan: of others the decoder keeps every coefficient, whatever the scale."""
    file = image.fp
    if file is None:
        return False
    before, layers = file.tell(), 0
    try:
        file.seek(2)
        while (marker := file.read(2))[:1] == b"\xff":
            if marker == b"\xff\xff":  # a fill byte
                file.seek(-1, io.SEEK_CUR)
                continue
            body = file.read(int.from_bytes(file.read(2), "big") - 2)
            if marker in (b"\xff\xc0", b"\xff\xc1"):
                layers = body[5]
            elif marker == b"\xff\xda":
                return body[0] == layers
    finally:
        file.seek(before)
    return False


def _kind(image: ImageFile.ImageFile) -> str:
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return f"{image.format} images"
    return "JPEG images" if _in_one_scan(image) else "progressive JPEG images"


def _low_bytes(data: bytes) -> Image.Image | None:
    """The low bytes of samples of 16 bits, of which Pillow decodes the high ones; None where it can't."""
    other = {"B": "L", "L": "B", "N": "B" if np.little_endian else "L"}
    with open_image(data) as image:
        tiles = []
        for tile in image.tile:
            args = tile.args if isinstance(tile.args, tuple) else (tile.args,)
            raw = str(args[0]) if args else ""
            if raw[:-1] not in ("RGB;16", "RGBA;16"):
                return None
            swapped = (raw[:-1] + other[raw[-1]], *args[1:])
            tiles.append(tile._replace(args=swapped if isinstance(tile.args, tuple) else swapped[0]))
        image.tile = tiles
        image.load()
        return image.copy()


def _file_error(error: OSError) -> UnreadableImageError:
    kind = UnreadableImageError if error.errno in _NO_FILE else PassingProblemError
    return kind(read_problem(error))


def _damage(error: Exception) -> str:
    if isinstance(error, brightness.UnknownScaleError):
        return str(error)
    said = " ".join(str(error).split()) or type(error).__name__
    if "truncated" in said.lower() or "broken" in said.lower():
        return "truncated or damaged: the image does not decode to its end; copy it again"
    return f"does not decode: {said}; copy it again, or save it anew"


def _raw_file(path: Path) -> str:
    """That a file is a camera's raw file, many of which are nearly a TIFF; empty if it is none."""
    found = _no_image(path)
    return found if "raw camera file" in found else ""


def _no_image(path: Path) -> str:
    """That a file is no image, and what it seems to be instead.

    Raises:
        UnreadableImageError: its first bytes can't be read any more.
    """
    try:
        with path.open("rb") as file:
            head = file.read(content.HEAD)
    except OSError as error:
        raise _file_error(error) from None
    found = f"not an image: {content.describe(head)}" if head else content.describe(head)
    return found if "; " in found else f"{found}; put the image in its place"
