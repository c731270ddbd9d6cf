"""Drawn faces whose appearance depends on age, for demos and tests; on request with every fault of real data sets."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from age_tasks.data.parallel import in_order
from age_tasks.errors import SettingsError
from age_tasks.store.base import atomic_write

SIDE = 200
SCALE = 2  # faces are drawn larger and then scaled down, for smooth edges
THREADS, AHEAD = 2, 8  # that finish drawn faces; faces that wait for them or are finished

SKINS = ((255, 224, 196), (241, 194, 155), (224, 172, 125), (198, 134, 86), (141, 85, 54), (96, 60, 42))
HAIRS = ((28, 22, 20), (64, 40, 24), (112, 72, 36), (176, 124, 60), (214, 176, 100), (140, 52, 28))
IRISES = ((70, 44, 24), (90, 110, 60), (60, 96, 140), (40, 30, 24))

_T = np.linspace(0, 1, 16)[:, None]
BEZIER = ((1 - _T) ** 2, 2 * _T * (1 - _T), _T**2)  # the weights of start, control point and end along a curve

Colour = tuple[int, ...]
Point = tuple[float, float]


@dataclass(frozen=True)
class Sample:
    """A drawn data set.

    Args:
        labels: the labels file.
        images: the images folder.
        rows: of the labels file.
        faults: kind of fault → number of rows that have it; kinds that begin with `good: ` are unusual but valid.
    """

    labels: Path
    images: Path
    rows: int
    faults: dict[str, int] = field(default_factory=dict)


def draw_sample(out: Path, count: int, seed: int, faults: bool = False) -> Sample:
    """Draw `count` faces of 200 x 200 pixels into `out/images`, and write their `out/labels.csv`.

    Ages are distributed like those of the published set: 1 to 100, mean about 31 years, quartiles about 20, 29 and 41.

    Args:
        seed: the same seed draws the same faces.
        faults: add rows with every fault that occurs in real labels, and images that are unusual but valid.

    Raises:
        SettingsError: `count` is below 1, or `out` has labels or images already.
    """
    if count < 1:
        raise SettingsError(f"--count {count}: draw at least 1 face")
    labels, images = out / "labels.csv", out / "images"
    if labels.exists():
        raise SettingsError(f"{labels} exists; choose another --out, or remove {out} first")
    if images.exists() and any(images.iterdir()):
        raise SettingsError(f"{images} has images already; choose another --out, or remove {out} first")
    images.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    ages = _ages(count, rng)
    rows = [(f"{number:05d}.jpg", f"{age:g}") for number, age in enumerate(ages)]

    def drawings() -> Iterator[tuple[_Drawing, Path]]:
        for (name, _), age in zip(rows, ages, strict=True):
            yield _Drawing.of(age, rng), images / name

    def save(drawn: tuple[_Drawing, Path]) -> None:
        drawing, path = drawn
        drawing.finished().save(path, quality=90)

    for _ in in_order(save, drawings(), THREADS, AHEAD):
        pass
    added = _add_faults(images, rows, rng) if faults else {}
    with atomic_write(labels) as temporary:
        temporary.write_text("file_name,real_age\n" + "".join(f"{name},{age}\n" for name, age in rows), newline="")
    return Sample(labels, images, len(rows), added)


def draw_face(age: float, rng: np.random.Generator) -> Image.Image:
    """One face of the given age in years, 200 x 200 RGB; everything but the signs of age is random."""
    return _Drawing.of(age, rng).finished()


@dataclass(frozen=True)
class _Drawing:
    """A face at `SCALE` times its size, and all else that is random in the image; another thread may finish it."""

    canvas: Image.Image
    tilt: float  # degrees
    zoom: float  # pixels cut off at each side
    blur: float  # pixels
    light: np.ndarray  # a factor for each column
    noise: np.ndarray

    @classmethod
    def of(cls, age: float, rng: np.random.Generator) -> "_Drawing":
        # The apparent age: people of one age differ by a few years.
        apparent = float(np.clip(age + rng.normal(0, 2.0 + 0.04 * age), 0.5, 100))
        side = SIDE * SCALE
        canvas = _background(side, rng)
        _Face(canvas, apparent, rng).draw()
        tilt, zoom, blur = rng.normal(0, 4), side * rng.uniform(0.0, 0.05), rng.uniform(0, 0.7)
        gradient = 1 + rng.uniform(-0.18, 0.18) * np.linspace(-1, 1, SIDE)[None, :, None]
        return cls(canvas, tilt, zoom, blur, gradient * rng.uniform(0.85, 1.1), rng.normal(0, 3, (SIDE, SIDE, 3)))

    def finished(self) -> Image.Image:
        """The image: tilted, scaled, blurred, lit from a side, with noise."""
        side, canvas = SIDE * SCALE, self.canvas
        canvas = canvas.rotate(self.tilt, Image.Resampling.BICUBIC, fillcolor=canvas.getpixel((2, 2)))
        inner = (self.zoom, self.zoom, side - self.zoom, side - self.zoom)
        canvas = canvas.resize((SIDE, SIDE), Image.Resampling.LANCZOS, inner)
        sharp = np.asarray(canvas.filter(ImageFilter.GaussianBlur(self.blur)), dtype=np.float32)
        return Image.fromarray((sharp * self.light + self.noise).clip(0, 255).astype(np.uint8))


class _Face:
    """Draws onto a canvas. Coordinates are fractions of the side; `_at` turns them into pixels."""

    def __init__(self, canvas: Image.Image, age: float, rng: np.random.Generator) -> None:
        self._pen, self._age, self._rng = ImageDraw.Draw(canvas), age, rng
        self._youth = float(np.exp(-age / 9))  # 1 for a newborn, near 0 for adults
        self._old = float(np.clip((age - 25) / 60, 0, 1.1))  # wrinkles, sag
        self._skin = np.array(SKINS[rng.integers(len(SKINS))], float) + rng.normal(0, 8)
        grey = float(np.clip((age - 38 + rng.normal(0, 6)) / 32, 0, 1))
        self._hair = np.array(HAIRS[rng.integers(len(HAIRS))], float) * (1 - grey) + np.array((222, 222, 224)) * grey
        self._balding = rng.random() < 0.5
        self._long = rng.random() < 0.4 and not self._balding
        self._middle = 0.5 + rng.normal(0, 0.01)
        self._width = 0.27 + 0.03 * self._youth + rng.normal(0, 0.008)
        self._top, self._chin = 0.16, 0.87 - 0.09 * self._youth + rng.normal(0, 0.008)
        # A child's features sit low under a large forehead; they rise as the lower face grows.
        self._eye_line = self._top + (self._chin - self._top) * (0.46 + 0.14 * self._youth)
        self._mouth_line = self._top + (self._chin - self._top) * (0.79 + 0.04 * self._youth)
        self._apart = self._width * (0.47 + 0.03 * self._youth)

    def draw(self) -> None:
        self._back_hair()
        self._neck_and_ears()
        self._head()
        self._folds()
        self._nose_and_mouth()
        for side in (-1, 1):
            self._eye(side)
        self._front_hair()
        self._forehead_lines()
        self._spots()
        if self._rng.random() < 0.08 + 0.5 * self._old:
            self._glasses()

    def _back_hair(self) -> None:
        if self._long and self._age > 3:
            self._oval(self._middle, 0.52, self._width + 0.09, 0.42, _tone(self._hair, 0.85))

    def _neck_and_ears(self) -> None:
        x, neck = self._middle, self._width * (0.5 - 0.12 * self._youth)
        self._pen.rectangle(_at(x - neck, self._chin - 0.1, x + neck, 1.0), fill=_tone(self._skin, 0.86))
        self._oval(x, 1.06, 0.42 - 0.1 * self._youth, 0.14, tuple(self._rng.integers(40, 220, 3).tolist()))
        for side in (-1, 1):
            self._oval(
                x + side * self._width, self._eye_line + 0.05, 0.035, 0.06 + 0.022 * self._old, _tone(self._skin, 0.9)
            )

    def _head(self) -> None:
        x, w, skin = self._middle, self._width, _tone(self._skin)
        self._oval(x, (self._top + self._chin) / 2, w, (self._chin - self._top) / 2, skin)
        jaw = w * (0.78 + 0.12 * self._youth + 0.1 * self._old)
        self._oval(x, self._chin - 0.17, jaw, 0.16 + 0.01 * self._old, skin)
        rosy = (min(skin[0] + 12, 255), int(skin[1] * (0.97 - 0.08 * self._youth)), int(skin[2] * 0.95))
        for side in (-1, 1):
            self._oval(x + side * w * 0.55, self._eye_line + 0.14, 0.07, 0.055, rosy)

    def _eye(self, side: int) -> None:
        size = 0.034 + 0.022 * self._youth - 0.008 * self._old
        x, y = self._middle + side * self._apart, self._eye_line
        self._oval(x, y, size * 1.35, size * (0.85 - 0.18 * self._old), (250, 248, 245))
        self._oval(x, y, size * 0.72, size * 0.72, IRISES[int(self._skin.sum()) % len(IRISES)])
        self._oval(x, y, size * 0.36, size * 0.36, (12, 10, 10))
        self._oval(x - size * 0.2, y - size * 0.25, size * 0.14, size * 0.14, (255, 255, 255))
        droop = size * 0.5 * self._old
        lid = ((x - size * 1.4, y), (x, y - size * (1.5 - 0.4 * self._old)), (x + size * 1.4, y + droop))
        self._curve(lid, _tone(self._skin, 0.55), 0.008)
        brow = y - 0.055 - 0.02 * self._youth
        tail = (x + side * 0.06, brow + 0.01 + 0.015 * self._old)
        points = ((x - side * 0.055, brow + 0.008), (x, brow - 0.016), tail)
        self._curve(points, _tone(self._hair, 0.8), 0.018 - 0.010 * self._youth)

    def _nose_and_mouth(self) -> None:
        x, nose = self._middle, self._eye_line + 0.13 - 0.05 * self._youth
        wide = 0.024 + 0.016 * (1 - self._youth) + 0.010 * self._old
        self._curve(((x - wide, nose), (x, nose + 0.03), (x + wide, nose)), _tone(self._skin, 0.68), 0.009)
        if self._youth < 0.4:
            bridge = ((x + 0.01, self._eye_line), (x + 0.025, nose - 0.04), (x + wide, nose))
            self._curve(bridge, _tone(self._skin, 0.84), 0.006)
        smile, wide, y = self._rng.uniform(-0.005, 0.035), 0.06 + 0.035 * (1 - self._youth), self._mouth_line
        lips = ((x - wide, y - smile / 3), (x, y + smile), (x + wide, y - smile / 3))
        self._curve(lips, _tone(self._skin * (0.78, 0.5, 0.5)), 0.016 * (1 - 0.75 * self._old) + 0.004)

    def _folds(self) -> None:
        """Crow's feet, bags under the eyes and the folds beside the mouth deepen with age."""
        depth = self._old * self._rng.uniform(0.75, 1.25)
        if depth < 0.08:
            return
        shade, width = _tone(self._skin, 1 - 0.36 * min(depth, 1)), 0.003 + 0.006 * depth
        eye, mouth = self._eye_line, self._mouth_line
        for side in (-1, 1):

            def beside(*points: Point, side: int = side) -> list[Point]:
                return [(self._middle + side * x, y) for x, y in points]

            outer = self._apart + 0.065
            for number in range(round(3.4 * depth)):
                rise = (number - 1) * 0.02
                foot = beside((outer, eye + rise / 3), (outer + 0.02, eye + rise), (outer + 0.04, eye + rise * 1.8))
                self._curve(foot, shade, width)
            bag = ((self._apart - 0.045, eye + 0.045), (self._apart, eye + 0.06 + 0.02 * depth))
            self._curve(beside(*bag, (self._apart + 0.05, eye + 0.042)), shade, width)
            fold = ((0.055, mouth - 0.13), (0.11, mouth - 0.06), (0.105 + 0.01 * depth, mouth + 0.015))
            self._curve(beside(*fold), shade, width * 1.2)
            if depth > 0.55:
                self._curve(beside((0.1, mouth + 0.03), (0.12, mouth + 0.07), (0.09, self._chin - 0.03)), shade, width)

    def _front_hair(self) -> None:
        """A fringe or cap above the forehead: wispy for babies, receding for some with age."""
        x, w, fill = self._middle, self._width, _tone(self._hair)
        if self._age < 2.5:
            for start in self._rng.uniform(-0.08, 0.08, 7):
                wisp = ((x + start, self._top + 0.03), (x + start * 1.4, self._top - 0.01))
                self._curve((*wisp, (x + start * 2, self._top + 0.02)), fill, 0.008)
            return
        balding = np.clip((self._age - 24 + self._rng.normal(0, 6)) / 45, 0, 1)
        receding = balding if self._balding else 0.12 * self._old
        crown, line = self._top - 0.05, self._top + 0.13 - 0.15 * receding
        if receding < 0.4:
            self._pen.pieslice(_at(x - w - 0.03, crown, x + w + 0.03, 2 * line - crown + 0.14), 180, 360, fill=fill)
        forehead = w * (0.82 + 0.1 * receding), 0.1 + 0.08 * receding
        self._oval(x, line + 0.09 + 0.02 * receding, *forehead, _tone(self._skin))
        for side in (-1, 1):
            self._oval(x + side * (w + 0.005), self._eye_line - 0.05, 0.035, 0.12 - 0.02 * receding, fill)

    def _forehead_lines(self) -> None:
        shade = _tone(self._skin, 1 - 0.34 * min(self._old, 1))
        for number in range(round(4 * self._old * self._rng.uniform(0.75, 1.25))):
            y, reach = self._eye_line - 0.115 - 0.03 * number, self._width * self._rng.uniform(0.45, 0.58)
            line = ((self._middle - reach, y), (self._middle, y - 0.012), (self._middle + reach, y))
            self._curve(line, shade, 0.003 + 0.005 * self._old)

    def _spots(self) -> None:
        for _ in range(self._rng.poisson(9 * self._old**2)):
            x = self._rng.normal(self._middle, self._width * 0.4)
            y, radius = self._rng.uniform(self._top + 0.1, self._chin - 0.05), self._rng.uniform(0.004, 0.009)
            self._oval(x, y, radius, radius, _tone(self._skin, 0.78))

    def _glasses(self) -> None:
        colour, radius = tuple(self._rng.integers(10, 90, 3).tolist()), 0.085
        width, y = int(0.009 * SIDE * SCALE), self._eye_line
        for side in (-1, 1):
            x = self._middle + side * self._apart
            lens = _at(x - radius, y - radius * 0.8, x + radius, y + radius * 0.9)
            self._pen.ellipse(lens, outline=colour, width=width)
        gap = self._apart - radius
        self._pen.line(_at(self._middle - gap, y, self._middle + gap, y), fill=colour, width=width)

    def _oval(self, x: float, y: float, rx: float, ry: float, fill: Colour) -> None:
        self._pen.ellipse(_at(x - rx, y - ry, x + rx, y + ry), fill=fill)

    def _curve(self, points: tuple[Point, ...] | list[Point], fill: Colour, width: float) -> None:
        """A quadratic Bézier curve through start, control point and end."""
        start, control, end = np.array(points)
        line = (BEZIER[0] * start + BEZIER[1] * control + BEZIER[2] * end) * (SIDE * SCALE)
        self._pen.line(line.ravel().tolist(), fill, max(int(width * SIDE * SCALE), 1), joint="curve")


def _at(*fractions: float) -> list[float]:
    return [fraction * SIDE * SCALE for fraction in fractions]


def _tone(colour: np.ndarray, factor: float = 1.0) -> Colour:
    return tuple(int(value) for value in (colour * factor).clip(0, 255))


def _background(side: int, rng: np.random.Generator) -> Image.Image:
    top, bottom = rng.uniform(120, 225) + rng.uniform(-24, 24, (2, 3))
    t = np.linspace(0, 1, side)[:, None, None]
    room = Image.fromarray(np.broadcast_to((1 - t) * top + t * bottom, (side, side, 3)).astype(np.uint8))
    pen = ImageDraw.Draw(room)
    for _ in range(14):  # a background out of focus; without it, all drawings would be near duplicates
        (x, y), (width, height) = rng.uniform(0, side, 2), rng.uniform(0.05, 0.3, 2) * side
        colour = tuple(int(value) for value in rng.uniform(60, 235, 3))
        pen.ellipse((x - width, y - height, x + width, y + height), fill=colour)
    return room.filter(ImageFilter.GaussianBlur(side / 60))


def _ages(count: int, rng: np.random.Generator) -> list[float]:
    """Evenly spaced quantiles of the published distribution, shuffled; one in ten has a fraction of a year."""
    levels = (0, 0.01, 0.05, 0.12, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1)
    years = (1, 2, 5, 13, 20, 29, 41, 55, 63, 80, 100)
    ages = np.round(np.interp((np.arange(count) + 0.5) / count, levels, years))
    ages[rng.random(count) < 0.1] += 0.5
    return [float(age) for age in rng.permutation(ages.clip(1, 100))]


def _add_faults(images: Path, rows: list[tuple[str, str]], rng: np.random.Generator) -> dict[str, int]:
    """Append rows of each kind to `rows`, and write their images; returns the number of rows of each kind."""
    first, second, third, fourth = (rows[i % len(rows)] for i in range(4))

    def face(name: str, age: float, keep: Callable[[Image.Image, Path], None]) -> tuple[str, str]:
        keep(draw_face(age, rng), images / name)
        return name, f"{age:g}"

    def data(name: str, content: bytes, age: str = "30") -> tuple[str, str]:
        (images / name).write_bytes(content)
        return name, age

    def jpeg() -> bytes:
        buffer = io.BytesIO()
        draw_face(30, rng).save(buffer, "JPEG")
        return buffer.getvalue()

    kinds = {
        "age is text": [data("f-text.jpg", jpeg(), "unknown")],
        "age is empty": [data("f-no-age.jpg", jpeg(), "")],
        "age is negative": [data("f-negative.jpg", jpeg(), "-3")],
        "age is 999": [data("f-999.jpg", jpeg(), "999")],
        "file name twice, same age": [first],
        "file name twice, two ages": [(second[0], f"{float(second[1]) + 20:g}")],
        "file name not valid": [data("../secret.jpg", jpeg()), ("/tmp/face.jpg", "30")],
        "file missing": [("f-missing.jpg", "41")],
        "file empty": [data("f-empty.jpg", b"")],
        "file truncated": [data("f-truncated.jpg", jpeg()[:2500])],
        "HTML named .jpg": [data("f-page.jpg", b"<!DOCTYPE html><html><body>Not found</body></html>")],
        "image tiny": [face("f-tiny.jpg", 30, lambda image, path: image.resize((12, 12)).save(path))],
        "decompression bomb": [data("f-bomb.jpg", _bomb())],
        "same content, two ages": [data("f-copy.jpg", (images / third[0]).read_bytes(), f"{float(third[1]) + 15:g}")],
        "good: PNG named .jpg": [face("g-png.jpg", 24, lambda image, path: image.save(path, "PNG"))],
        "good: greyscale": [face("g-grey.jpg", 33, lambda image, path: image.convert("L").save(path))],
        "good: CMYK": [face("g-cmyk.jpg", 45, lambda image, path: image.convert("CMYK").save(path))],
        "good: 16 bit": [face("g-16bit.jpg", 52, _save_16_bit)],
        "good: rotated by EXIF": [face("g-exif.jpg", 8, _save_rotated)],
        "good: same content, same age": [data("g-copy.jpg", (images / first[0]).read_bytes(), first[1])],
        "good: near duplicate": [face("g-near.jpg", float(fourth[1]), _recompressed(images / fourth[0]))],
    }
    for kind in kinds.values():
        rows.extend(kind)
    return {kind: len(kind_rows) for kind, kind_rows in kinds.items()}


def _bomb() -> bytes:
    """90 million pixels in 11 kB."""
    buffer = io.BytesIO()
    Image.new("1", (10_000, 9_000)).save(buffer, "PNG", compress_level=9)
    return buffer.getvalue()


def _recompressed(original: Path) -> Callable[[Image.Image, Path], None]:
    """A function that saves a smaller copy of `original` instead of the image that it is given."""
    return lambda _, path: Image.open(original).resize((160, 160)).save(path, "JPEG", quality=70)


def _save_16_bit(image: Image.Image, path: Path) -> None:
    grey = np.asarray(image.convert("L"), dtype=np.uint16) * 257
    Image.fromarray(grey).save(path, "PNG")


def _save_rotated(image: Image.Image, path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown upright after a turn by 90° clockwise
    image.rotate(90).save(path, "JPEG", exif=exif)
