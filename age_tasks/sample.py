"""A sample data set: drawn faces whose looks depend on their age and, on demand, the faults that real sets have.

Nobody real is pictured. Face `n` of a seed is the same whatever the count, so a larger set extends a smaller one.
"""

import csv
import io
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from age_tasks.errors import SettingsError

SIDE = 200  # pixels of a picture
JPEG_QUALITY = 90
TINY_SIDE = 12  # pixels; too small to be a face
BOMB_SIDE = 30_000  # pixels; 113 MB once decoded at 1 bit, 109 KB on disk

# Quantiles of age in years in the set whose published statistics the sample follows (APPA-REAL, Agustsson et al. 2017).
AGE_QUANTILES = {0: 1, 0.05: 5, 0.1: 12, 0.25: 20, 0.5: 29, 0.75: 41, 0.9: 54, 0.95: 63, 0.99: 82, 1: 100}
FRACTIONAL_AGES = 0.05  # share of faces whose age isn't whole
GOLDEN_RATIO = (5**0.5 - 1) / 2

FACES, PLANTED, ORDER = range(3)  # what a random stream is for

Row = tuple[str, str]  # file name, age as written


@dataclass(frozen=True)
class SampleSummary:
    """What was drawn.

    `count` sound faces; `faults`: by kind, how many rows can't be used; `oddities`: by kind, how many only look odd.
    Rows of faults and oddities come on top of `count`.
    """

    labels: Path
    images: Path
    count: int
    faults: dict[str, int]
    oddities: dict[str, int]


def draw_sample(out: Path, count: int, seed: int, faults: bool = False) -> SampleSummary:
    """Write `labels.csv` (`file_name,real_age`) and `images/*.jpg` (200×200 pixels) into a folder.

    The ages, 1–100 years, follow `AGE_QUANTILES` for any count. Equal arguments give equal bytes.

    Args:
        out: made if missing.
        count: number of sound faces, at least 1.
        seed: at least 0; another seed draws other people.
        faults: plant faults and oddities too, each kind at least once; 6 % of the rows are faulty from 600 faces on.

    Raises:
        SettingsError: a number out of bounds, or the folder can't be made or holds a set already.
    """
    if count < 1:
        raise SettingsError(f"count is {count}; a sample has at least 1 face")
    if seed < 0:
        raise SettingsError(f"seed is {seed}; it must be 0 or more")
    for taken in (out / "labels.csv", out / "images"):
        if taken.exists():
            raise SettingsError(f"{taken} exists already; choose another folder or delete it first")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"can't make the folder {out}: {error.strerror}; choose another one") from None
    with tempfile.TemporaryDirectory(dir=out, prefix=".sample-") as scratch:
        images = Path(scratch) / "images"
        images.mkdir()
        rows = list(_draw_faces(images, count, seed))
        if faults:
            rows += [row for kind, plant in (FAULTS | ODDITIES).items() for row in _plant(images, kind, plant, count, seed)]
            np.random.default_rng([seed, ORDER]).shuffle(rows)
        for path in Path(scratch).iterdir():
            path.rename(out / path.name)
        _write_labels(Path(scratch) / "labels.csv", rows)
        (Path(scratch) / "labels.csv").rename(out / "labels.csv")
    return SampleSummary(
        labels=out / "labels.csv",
        images=out / "images",
        count=count,
        faults={kind: plant.number(count) * plant.counts for kind, plant in FAULTS.items() if faults},
        oddities={kind: plant.number(count) * plant.counts for kind, plant in ODDITIES.items() if faults},
    )


def _draw_faces(images: Path, count: int, seed: int) -> Iterator[Row]:
    """Multiples of the golden ratio cover the quantiles evenly however many there are."""
    start = np.random.default_rng(seed).random()
    for n in range(count):
        rng = np.random.default_rng([seed, FACES, n])
        age = _age_at((start + n * GOLDEN_RATIO) % 1, rng)
        name = f"{n:06d}.jpg"
        _write_jpeg(images / name, draw_face(age, rng))
        yield name, f"{age:g}"


def _age_at(quantile: float, rng: np.random.Generator) -> float:
    years = np.interp(quantile, list(AGE_QUANTILES), list(AGE_QUANTILES.values()))
    return round(float(years), 1 if rng.random() < FRACTIONAL_AGES else None)


def _write_labels(path: Path, rows: list[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("file_name", "real_age"), *rows])


def _jpeg(face: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    face.save(buffer, "JPEG", quality=JPEG_QUALITY, **options)
    return buffer.getvalue()


def _write_jpeg(path: Path, face: Image.Image) -> None:
    path.write_bytes(_jpeg(face))


def _write_twice(path: Path, face: Image.Image) -> None:
    _write_jpeg(path, face)
    shutil.copyfile(path, path.with_name(_copy_of(path.name)))


def _write_bomb(path: Path, face: Image.Image) -> None:
    """A valid PNG, black, 1 bit a pixel, packed row by row so that it never takes the memory that it asks of others."""
    packer, row = zlib.compressobj(9), bytes(1 + BOMB_SIDE // 8)
    pixels = b"".join(packer.compress(row) for _ in range(BOMB_SIDE)) + packer.flush()
    header = struct.pack(">IIBBBBB", BOMB_SIDE, BOMB_SIDE, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")]
    framed = [struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(framed))


def _write_16_bit(path: Path, face: Image.Image) -> None:
    Image.fromarray(np.asarray(face.convert("L")).astype(np.uint16) * 257).save(path, "PNG")


def _write_rotated(path: Path, face: Image.Image) -> None:
    """As phones do: the pixels lie on their side, and the EXIF orientation says how to turn them upright."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    path.write_bytes(_jpeg(face.transpose(Image.Transpose.ROTATE_90), exif=exif))


def _row(name: str, age: float) -> list[Row]:
    return [(name, f"{age:g}")]


def _copy_of(name: str) -> str:
    return name.replace(".jpg", "_copy.jpg")


def _other(age: float) -> float:
    """An age that the same face can't have too."""
    return age + 15 if age < 50 else age - 15


@dataclass(frozen=True)
class _Plant:
    """A kind of fault or oddity: how often, what becomes of a face's file, and what the labels say."""

    per_600: int  # to 600 faces
    write: Callable[[Path, Image.Image], object] = _write_jpeg
    rows: Callable[[str, float], list[Row]] = _row
    suffix: str = ".jpg"
    counts: int = 1  # rows that each makes faulty or odd

    def number(self, count: int) -> int:
        return max(1, round(self.per_600 * count / 600))


FAULTS = {
    "age_text": _Plant(3, rows=lambda name, age: [(name, "unknown")]),
    "age_empty": _Plant(3, rows=lambda name, age: [(name, "")]),
    "age_negative": _Plant(2, rows=lambda name, age: [(name, "-3")]),
    "age_impossible": _Plant(2, rows=lambda name, age: [(name, "999")]),
    "repeated_row": _Plant(3, rows=lambda name, age: 2 * _row(name, age)),
    "conflicting_rows": _Plant(2, rows=lambda name, age: _row(name, age) + _row(name, _other(age)), counts=2),
    "path_outside": _Plant(
        1,
        write=lambda path, face: _write_jpeg(path.parent.parent / path.name, face),  # there to be found by the careless
        rows=lambda name, age: _row(f"../{name}", age),
    ),
    "path_absolute": _Plant(1, write=lambda path, face: None, rows=lambda name, age: _row(f"/etc/{name}", age)),
    "missing_file": _Plant(4, write=lambda path, face: None),
    "empty_file": _Plant(3, write=lambda path, face: path.touch()),
    "truncated": _Plant(4, write=lambda path, face: path.write_bytes(_jpeg(face)[:3000])),
    "html": _Plant(3, write=lambda path, face: path.write_text("<!DOCTYPE html>\n<title>404 Not Found</title>\n")),
    "tiny": _Plant(3, write=lambda path, face: _write_jpeg(path, face.resize((TINY_SIDE, TINY_SIDE)))),
    "copy_other_age": _Plant(
        2, write=_write_twice, rows=lambda name, age: _row(name, age) + _row(_copy_of(name), _other(age)), counts=2
    ),
    "bomb": _Plant(1, write=_write_bomb, suffix=".png"),
}
ODDITIES = {
    "png_named_jpg": _Plant(3, write=lambda path, face: face.save(path, "PNG")),
    "greyscale": _Plant(4, write=lambda path, face: _write_jpeg(path, face.convert("L"))),
    "cmyk": _Plant(2, write=lambda path, face: _write_jpeg(path, face.convert("CMYK"))),
    "grey_16_bit": _Plant(2, write=_write_16_bit, suffix=".png"),
    "exif_rotated": _Plant(3, write=_write_rotated),
    "copy_same_age": _Plant(3, write=_write_twice, rows=lambda name, age: _row(name, age) + _row(_copy_of(name), age)),
}


def _plant(images: Path, kind: str, plant: _Plant, count: int, seed: int) -> Iterator[Row]:
    """Rows of one kind, on faces that no sound row shows."""
    for n in range(plant.number(count)):
        rng = np.random.default_rng([seed, PLANTED, zlib.crc32(kind.encode()), n])
        age = _age_at(rng.random(), rng)
        name = f"{kind}_{n:02d}{plant.suffix}"
        plant.write(images / name, draw_face(age, rng))
        yield from plant.rows(name, age)


# From here on: drawing one face.

SCALE = 2  # pictures are drawn this much larger, then reduced, because Pillow's polygons have hard edges
CANVAS = SIDE * SCALE
SOFT = 6  # soft shadows are drawn this much smaller than the canvas, which makes blurring them cheap

Colour = tuple[int, int, int]
Points = np.ndarray  # (n, 2) in face units: the head reaches from y = -1, the crown, to y = 1, the chin
Stain = tuple[Points, float]  # an outline and how strongly it is coloured, 0–1

SKINS = ((255, 224, 202), (247, 208, 178), (236, 188, 150), (214, 160, 118), (182, 124, 84), (140, 90, 60), (98, 62, 44))
HAIRS = ((28, 23, 22), (44, 32, 26), (74, 48, 32), (112, 74, 44), (164, 112, 62), (216, 176, 112), (158, 74, 38))
IRISES = ((70, 44, 28), (96, 62, 34), (112, 96, 50), (88, 116, 82), (84, 122, 156), (110, 130, 142))
CLOTHES = ((206, 92, 84), (236, 178, 84), (92, 148, 128), (78, 112, 160), (122, 98, 150), (228, 222, 210), (70, 76, 92))
WALLS = ((226, 214, 198), (190, 206, 210), (214, 190, 184), (176, 190, 168), (150, 164, 186), (232, 222, 172), (120, 124, 136))
FRAMES = ((44, 40, 44), (110, 60, 40), (150, 130, 90), (60, 80, 110))
LIPS, ROUGE = (196, 98, 92), (178, 76, 84)
WHITE_HAIR, DARK, PALE = (222, 220, 216), (20, 14, 14), (255, 245, 230)
HAIRCUTS = {"cropped": 0.30, "parted": 0.22, "fringe": 0.16, "curly": 0.16, "bun": 0.08, "pigtails": 0.08}


@dataclass(frozen=True)
class Looks:
    """Everything that is drawn of one face: lengths in face units, strengths 0–1."""

    masculine: bool
    # proportions
    width: float  # half the head's
    jaw: float  # share of the width
    chin: float  # share of the width
    eye_y: float
    eye_gap: float  # from the middle of the face to an eye's
    eye: float  # half an eye's width
    openness: float
    nose_y: float
    nose: float
    mouth_y: float
    mouth: float
    ear: float
    # marks of age
    lid: float  # how far the upper lid hangs
    lip: float
    brow: float
    forehead: float  # lines
    crow: float  # lines beside the eyes
    fold: float  # from nose to mouth
    bags: float
    sag: float
    spots: float
    blush: float
    fuzz: float  # how thin a baby's hair is
    recede: float
    grey: float
    # style
    haircut: str
    long: bool
    part: float  # where the hair parts
    beard: float
    lashes: float
    rouge: float
    glasses: str
    smile: float
    skin: Colour
    hair: Colour
    iris: Colour
    clothes: Colour
    wall: Colour
    frame: Colour
    # the photographer's part
    yaw: float
    tilt: float  # radians
    zoom: float  # half the head's height, as a share of the picture's
    shift: tuple[float, float]
    light: float  # -1 from the left, 1 from the right


class _Person:
    """Someone of an age, to whom chance gives the rest."""

    def __init__(self, age: float, rng: np.random.Generator):
        self.age, self.rng = age, rng
        self.masculine = bool(rng.random() < 0.5)
        # People look older or younger than they are, the more so the older they are. This and the noise of every trait
        # leave an age readable to some 3 years at best.
        self._seeming = age + rng.normal() * (0.5 + 0.085 * age)

    def seeming(self) -> float:
        """The age in years that one trait goes by."""
        return max(0.0, self._seeming + self.vary(0.4 + 0.10 * self.age))

    def worn(self, start: float, end: float) -> float:
        """How far a trait has aged that begins at one age and is complete at another."""
        return _progress(start, end, self.seeming())

    def vary(self, sd: float) -> float:
        return float(self.rng.normal() * sd)

    def chance(self, *knots: tuple[float, float]) -> bool:
        """True with a probability that depends on age: (age, probability), straight lines between."""
        return bool(self.rng.random() < np.interp(self.age, *zip(*knots, strict=True)))

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def colour(self, palette: tuple[Colour, ...]) -> Colour:
        one, other = self.rng.integers(len(palette), size=2)
        return _blend(palette[one], palette[other], self.between(0, 0.35))


def _progress(start: float, end: float, age: float) -> float:
    return float(np.clip((age - start) / (end - start), 0, 1.15))


def _blend(one: Colour, other: Colour, share: float) -> Colour:
    return tuple(round(a + (b - a) * share) for a, b in zip(one, other, strict=True))


def _looks(age: float, rng: np.random.Generator) -> Looks:
    person = _Person(age, rng)
    return Looks(
        masculine=person.masculine, **_proportions(person), **_marks_of_age(person), **_style(person), **_pose(person)
    )


def _proportions(person: _Person) -> dict[str, float]:
    """A baby's head is round, its eyes large and low; growing lengthens the lower face until about 20."""
    vary, worn = person.vary, person.worn
    grown = _progress(0, 20, min(20, person.seeming())) ** 0.7
    eye_y = 0.20 - 0.24 * grown + vary(0.02)
    long_nose = worn(20, 85)
    return {
        "width": 0.93 - 0.17 * grown + vary(0.025),
        "jaw": 0.86 - (0.08 if person.masculine else 0.13) * grown + 0.10 * worn(20, 85) + vary(0.025),
        "chin": 0.48 - (0.04 if person.masculine else 0.10) * grown + vary(0.03),
        "eye_y": eye_y,
        "eye_gap": 0.40 - 0.07 * grown + vary(0.012),
        "eye": 0.195 - 0.055 * grown - 0.02 * worn(20, 85) + vary(0.006),
        "openness": 0.86 - 0.22 * grown - 0.10 * worn(20, 85) + vary(0.05),
        "nose_y": eye_y + 0.24 + 0.15 * grown + 0.05 * long_nose + vary(0.02),
        "nose": 0.085 + 0.05 * grown + 0.03 * long_nose + vary(0.01),
        "mouth_y": eye_y + 0.46 + 0.17 * grown + 0.03 * long_nose + vary(0.02),
        "mouth": 0.17 + 0.09 * grown + vary(0.02),
        "ear": 0.17 + 0.05 * worn(20, 85) + vary(0.01),
    }


def _marks_of_age(person: _Person) -> dict[str, float]:
    vary, worn = person.vary, person.worn
    young = 1 - _progress(0, 20, person.seeming())
    balding = person.masculine and person.rng.random() < 0.6
    thick_brows = 1.25 if person.masculine else 0.8
    return {
        "lid": 0.75 * worn(20, 85) + abs(vary(0.06)),
        "lip": max(0.012, (0.074 - 0.022 * max(0, young)) * (1 - 0.62 * worn(20, 85)) + vary(0.006)),
        "brow": max(0.009, (0.044 - 0.024 * max(0, young)) * thick_brows * (1 - 0.25 * worn(20, 85)) + vary(0.004)),
        "forehead": max(0, 0.95 * worn(20, 85) + vary(0.05)),
        "crow": max(0, worn(23, 75) + vary(0.05)),
        "fold": max(0, worn(14, 72) + vary(0.05)),
        "bags": max(0, 0.9 * worn(18, 80) + vary(0.08)),
        "sag": worn(38, 92),
        "spots": max(0, worn(45, 95) + vary(0.1)),
        "blush": max(0, 0.15 + 0.6 * young**1.5 + vary(0.15)) if young > 0 else max(0, 0.15 + vary(0.15)),
        "fuzz": 1 - min(1, _progress(0.2, 3.5, person.age + abs(vary(0.5)))),
        "recede": (worn(18, 64) if balding else 0.25 * worn(30, 90)) + abs(vary(0.04)),
        "grey": float(1 / (1 + np.exp((51 + vary(5) - person.seeming()) / 5.5))),
    }


def _style(person: _Person) -> dict:
    rng, masculine, between, colour = person.rng, person.masculine, person.between, person.colour
    adult, child = person.age > 17, person.age < 13
    tone = int(rng.integers(len(SKINS)))
    darker = max(0, tone - 1)  # dark skin seldom comes with fair hair or light eyes
    suits = np.array([2.2 if masculine else 0.25, 1, 1, 1, not masculine, child and not masculine])
    odds = suits * list(HAIRCUTS.values())
    bearded = adult and masculine and rng.random() < 0.45
    made_up = adult and not masculine and rng.random() < 0.55
    return {
        "haircut": str(rng.choice(list(HAIRCUTS), p=odds / odds.sum())),
        "long": not masculine and person.chance((2, 0), (8, 0.75), (40, 0.6), (80, 0.1)),
        "part": float(rng.choice([-1, 1])) * between(0.1, 0.45),
        "beard": between(0.35, 1) if bearded else 0.0,
        "lashes": 0.2 if masculine else between(0.4, 1),
        "rouge": between(0.3, 1) if made_up else 0.0,
        "glasses": str(rng.choice(["round", "square"])) if person.chance((3, 0.01), (12, 0.1), (40, 0.22), (60, 0.5)) else "",
        "smile": between(-0.15, 1),
        "skin": _blend(SKINS[tone], SKINS[rng.integers(len(SKINS))], between(0, 0.3)),
        "hair": colour(HAIRS[: len(HAIRS) - darker]),
        "iris": colour(IRISES[: len(IRISES) - darker]),
        "clothes": colour(CLOTHES),
        "wall": colour(WALLS),
        "frame": colour(FRAMES),
    }


def _pose(person: _Person) -> dict:
    vary = person.vary
    return {
        "yaw": vary(0.05),
        "tilt": vary(0.055),
        "zoom": 0.35 + vary(0.012),
        "shift": (vary(0.012), 0.045 + vary(0.012)),
        "light": person.between(-1, 1),
    }


class _Canvas:
    """A large picture drawn on in face units, by filled shapes only; the pose is in the mapping to pixels."""

    def __init__(self, looks: Looks):
        size = (CANVAS, CANVAS)
        unit = CANVAS * looks.zoom
        cos, sin = np.cos(looks.tilt) * unit, np.sin(looks.tilt) * unit
        self._turn = np.array([[cos, sin], [-sin, cos]])
        self._origin = CANVAS * (0.5 + np.array(looks.shift))
        corners = np.array([_blend(looks.wall, tone, 0.3) for tone in ((255,) * 3, looks.wall, looks.wall, (60,) * 3)])
        small = Image.fromarray(corners.astype(np.uint8).reshape(2, 2, 3))
        self.image = small.resize(size, Image.Resampling.BICUBIC)
        self.draw = ImageDraw.Draw(self.image)

    def pixels(self, points: Points) -> list[float]:
        return (points @ self._turn + self._origin).ravel().tolist()

    def fill(self, points: Points, colour: Colour) -> None:
        self.draw.polygon(self.pixels(points), fill=colour)

    def mask(self, *shapes: Points) -> Image.Image:
        mask = Image.new("L", (CANVAS, CANVAS))
        draw = ImageDraw.Draw(mask)
        for points in shapes:
            draw.polygon(self.pixels(points), fill=255)
        return mask

    def shade(self, colour: Colour, shapes: list[Stain], blur: float, within: Image.Image) -> None:
        """Lay colour over soft-edged shapes, only inside the mask `within`; `blur` is in picture pixels."""
        self._lay(colour, shapes, SOFT, blur * SCALE / SOFT, within)

    def engrave(self, colour: Colour, shapes: list[Stain]) -> None:
        """Lay colour over sharp, fine shapes such as wrinkles."""
        self._lay(colour, shapes, 1, 0, None)

    def _lay(
        self, colour: Colour, shapes: list[Stain], coarse: int, blur: float, within: Image.Image | None
    ) -> None:
        outlines = [points @ self._turn + self._origin for points, _ in shapes]
        if not outlines:
            return
        margin = 3 * blur * coarse + 1
        low = np.floor((np.vstack(outlines).min(axis=0) - margin).clip(0, CANVAS) / coarse).astype(int)
        high = np.ceil((np.vstack(outlines).max(axis=0) + margin).clip(0, CANVAS) / coarse).astype(int)
        if (high <= low).any():
            return
        mask = Image.new("L", tuple(high - low))
        draw = ImageDraw.Draw(mask)
        for outline, (_, strength) in zip(outlines, shapes, strict=True):
            draw.polygon((outline / coarse - low).ravel().tolist(), fill=round(255 * min(1, max(0, strength))))
        box = (*(low * coarse).tolist(), *(high * coarse).tolist())
        if blur:
            mask = mask.filter(ImageFilter.GaussianBlur(blur)).resize(
                (box[2] - box[0], box[3] - box[1]), Image.Resampling.BILINEAR
            )
        if within:
            mask = ImageChops.multiply(mask, within.crop(box))
        self.image.paste(colour, box, mask)


CIRCLE = np.column_stack([np.cos(np.linspace(0, 2 * np.pi, 40)), np.sin(np.linspace(0, 2 * np.pi, 40))])
BETWEEN_KNOTS = np.linspace(0, 1, 8, endpoint=False)[:, None]


def _ellipse(x: float, y: float, rx: float, ry: float) -> Points:
    return CIRCLE * (rx, ry) + (x, y)


def _arc(x: float, y: float, rx: float, ry: float, start: float, end: float) -> Points:
    """Part of an ellipse; angles in degrees, clockwise from the right as y points down."""
    angle = np.radians(np.linspace(start, end, 40))
    return np.column_stack([x + rx * np.cos(angle), y + ry * np.sin(angle)])


def _curve(*points: tuple[float, float], closed: bool = False) -> Points:
    """A smooth line through the points (Catmull-Rom)."""
    padded = np.array([points[-1], *points, *points[:2]] if closed else [points[0], *points, points[-1]])
    p0, p1, p2, p3 = (padded[i : len(padded) - 3 + i, None] for i in range(4))
    t = BETWEEN_KNOTS
    line = p1 + 0.5 * t * (p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0)))
    return line.reshape(-1, 2) if closed else np.concatenate([line.reshape(-1, 2), [points[-1]]])


@cache
def _taper(n: int) -> np.ndarray:
    return np.sqrt(np.sin(np.linspace(0, np.pi, n)).clip(0))


def _ribbon(line: Points, width: float) -> Points:
    """A stroke along the line, `width` at its middle and pointed at its ends."""
    x, y = np.diff(line, axis=0, append=2 * line[-1:] - line[-2:-1]).T
    half = (width / 2 * _taper(len(line)) / (np.hypot(x, y) + 1e-9)) * np.stack([-y, x])
    return np.concatenate([line + half.T, (line - half.T)[::-1]])


def _mirrored(*right: tuple[float, float]) -> Points:
    """A closed smooth outline from its right half, top to bottom; the ends lie on the middle."""
    left = [(-x, y) for x, y in right[-2:0:-1]]
    return _curve(*right, *left, closed=True)


def draw_face(age: float, rng: np.random.Generator) -> Image.Image:
    """Draw somebody of that age.

    Args:
        age: years, 1–100.
        rng: decides everything else.

    Returns:
        RGB picture of 200×200 pixels, the head upright and filling about two thirds of the height.
    """
    looks = _looks(age, rng)
    canvas = _Canvas(looks)
    head = canvas.mask(_head(looks))
    _draw_back_hair(canvas, looks)
    _draw_body(canvas, looks)
    _draw_head(canvas, looks, head, rng)
    _draw_wrinkles(canvas, looks)
    _draw_eyes(canvas, looks)
    _draw_nose(canvas, looks, head)
    _draw_mouth(canvas, looks)
    if looks.beard:
        _draw_beard(canvas, looks, head)
    _draw_front_hair(canvas, looks, head, rng)
    if looks.glasses:
        _draw_glasses(canvas, looks)
    return _photograph(canvas.image, looks, rng)


def _head(looks: Looks) -> Points:
    w, jaw = looks.width, looks.width * looks.jaw
    return _mirrored(
        (0, -1), (w * 0.62, -0.86), (w * 0.96, -0.42), (w, 0), (w * 0.96, 0.32), (jaw, 0.66), (w * looks.chin, 0.93), (0, 1)
    )


def _shadow(looks: Looks, strength: float = 0.3) -> Colour:
    return _blend(looks.skin, (84, 28, 26), strength)


def _draw_body(canvas: _Canvas, looks: Looks) -> None:
    neck = 0.30 + 0.14 * (0.93 - looks.width) / 0.17
    canvas.fill(_mirrored((0, 0.5), (neck, 0.6), (neck, 1.05), (neck * 1.5, 1.4), (0, 1.5)), _shadow(looks, 0.16))
    shoulders = _mirrored((0, 1.22), (neck * 0.9, 1.16), (0.85, 1.36), (1.35, 1.8), (0, 2.2))
    canvas.fill(shoulders, looks.clothes)
    collar = _curve((-neck * 1.05, 1.13), (0, 1.36), (neck * 1.05, 1.13))
    canvas.fill(np.vstack([collar, [[0, 1.05]]]), _shadow(looks, 0.16))
    canvas.fill(_ribbon(collar, 0.05), _blend(looks.clothes, (30, 30, 40), 0.35))
    canvas.shade(_shadow(looks, 0.45), [(_ellipse(0, 0.98, neck * 1.1, 0.2), 0.8)], 4, canvas.mask(_ellipse(0, 1, neck, 0.3)))


def _draw_head(canvas: _Canvas, looks: Looks, head: Image.Image, rng: np.random.Generator) -> None:
    for side in (-1, 1):
        x, y = side * looks.width * 1.0, looks.eye_y + 0.14
        canvas.fill(_ellipse(x, y, looks.ear * 0.62, looks.ear), _shadow(looks, 0.10))
        canvas.fill(_ellipse(x + side * 0.01, y, looks.ear * 0.34, looks.ear * 0.66), _shadow(looks, 0.26))
    canvas.image.paste(looks.skin, mask=head)
    w, lit = looks.width, np.sign(looks.light) or 1.0
    dark, strength = _shadow(looks, 0.42), 0.3 + 0.35 * abs(looks.light)
    canvas.shade(dark, [(_ellipse(-lit * w * 1.15, 0.15, w * 0.42, 1.2), strength)], 14, head)
    canvas.shade(_blend(looks.skin, (255, 246, 232), 0.5), [
        (_ellipse(lit * w * 0.4, -0.5, w * 0.42, 0.24), 0.5), (_ellipse(lit * w * 0.55, 0.22, 0.16, 0.14), 0.35),
        (_ellipse(0, 0.86, 0.12, 0.07), 0.3),
    ], 9, head)  # fmt: skip
    blush = _blend(looks.skin, (226, 84, 84), 0.55)
    canvas.shade(blush, [(_ellipse(s * w * 0.58, looks.eye_y + 0.30, 0.2, 0.15), looks.blush) for s in (-1, 1)], 6, head)
    hollows, sag = [], looks.sag
    for side in (-1, 1):
        hollows += [
            (_ellipse(side * looks.eye_gap + looks.yaw, looks.eye_y + 0.02, looks.eye * 1.35, looks.eye * 1.15), 0.16 + 0.3 * sag),
            (_ellipse(side * w * 0.80, looks.mouth_y - 0.12, 0.10, 0.24), 0.7 * sag),
            (_ellipse(side * w * 0.52, looks.mouth_y + 0.18, 0.07, 0.12), 0.5 * sag),
            (_ellipse(side * w * 0.92, -0.32, 0.10, 0.22), 0.5 * sag),
        ]
    canvas.shade(_shadow(looks, 0.4), hollows, 5, head)
    spots = rng.uniform([-0.8 * w, -0.85, 0.012], [0.8 * w, 0.8, 0.035], (int(16 * looks.spots), 3))
    canvas.engrave(_shadow(looks, 0.5), [(_ellipse(x, y, r, r * 0.8), rng.uniform(0.25, 0.6)) for x, y, r in spots])


def _draw_wrinkles(canvas: _Canvas, looks: Looks) -> None:
    """Lines that deepen with age; the light beside each is what makes it look like a fold."""
    lines: list[tuple[Points, float, float]] = []  # line, width, strength
    brow_y, yaw = looks.eye_y - looks.eye * 1.2, looks.yaw
    for k, y in enumerate(np.linspace(-0.66, brow_y - 0.16, 4)):
        reach = looks.width * (0.52 + 0.05 * k)
        strength = looks.forehead * 1.25 - 0.12 * (k % 2)
        lines.append((_curve((-reach, y + 0.03), (-reach / 2, y - 0.015), (0, y + 0.012), (reach / 2, y - 0.015), (reach, y + 0.03)),
                      0.026, strength))  # fmt: skip
    for side in (-1, 1):
        x, y, eye = yaw + side * looks.eye_gap, looks.eye_y, looks.eye
        lines.append((_curve((yaw + side * 0.05, brow_y + 0.06), (yaw + side * 0.06, brow_y - 0.08)), 0.022, looks.forehead - 0.25))
        for angle in (-0.45, -0.05, 0.35, 0.7):
            start = np.array([x + side * eye * 1.12, y + 0.02 + angle * 0.05])
            end = start + (0.07 + 0.09 * looks.crow) * np.array([side * np.cos(angle), np.sin(angle)])
            lines.append((_curve(tuple(start), tuple((start + end) / 2 + [0, 0.008]), tuple(end)), 0.02, looks.crow))
        lines.append((_curve((x - eye * 0.9, y + eye * 0.62), (x, y + eye * (0.85 + 0.25 * looks.bags)), (x + eye * 0.9, y + eye * 0.6)),
                      0.028, looks.bags * 0.8))  # fmt: skip
        wing, corner = yaw * 1.3 + side * (looks.nose + 0.03), yaw + side * (looks.mouth + 0.07)
        lines.append((_curve((wing, looks.nose_y - 0.06), ((wing + corner) / 2 + side * 0.035, (looks.nose_y + looks.mouth_y) / 2),
                             (corner, looks.mouth_y + 0.02 + 0.06 * looks.fold)), 0.032, looks.fold))  # fmt: skip
        lines.append((_curve((corner - side * 0.04, looks.mouth_y + 0.05), (corner - side * 0.03, looks.mouth_y + 0.16)),
                      0.026, looks.sag * 0.8))  # fmt: skip
        lines.append((_curve((side * 0.30, 1.1), (side * 0.12, 1.14), (side * 0.02, 1.13)), 0.03, looks.sag))
    for k in (-2, -1, 0, 1, 2):
        x = yaw + k * looks.mouth * 0.35
        lines.append((_curve((x, looks.mouth_y - 0.045 - looks.lip), (x * 0.96, looks.mouth_y - 0.1 - looks.lip)),
                      0.014, (looks.sag - 0.35)))  # fmt: skip
    relief = np.array([0, 0.018])
    strokes = [(_ribbon(line, width), strength) for line, width, strength in lines if strength > 0.02]
    canvas.engrave(_blend(looks.skin, (255, 244, 228), 0.4), [(stroke + relief, 0.5 * s) for stroke, s in strokes])
    canvas.engrave(_shadow(looks, 0.5), [(stroke, 0.75 * s) for stroke, s in strokes])


def _draw_eyes(canvas: _Canvas, looks: Looks) -> None:
    ink = _blend(_blend(looks.hair, GREY, 0.5 * looks.grey), (30, 20, 20), 0.45)
    brow = _blend(_blend(looks.hair, (40, 28, 24), 0.35), GREY, 0.85 * looks.grey)
    brow = _blend(brow, looks.skin, 0.15 + 0.4 * looks.fuzz)
    for side in (-1, 1):
        def at(*points: tuple[float, float], side: int = side) -> list[tuple[float, float]]:
            return [(looks.yaw + side * (looks.eye_gap + looks.eye * x), looks.eye_y + looks.eye * y) for x, y in points]

        top, low = looks.openness * (1 - 0.42 * looks.lid), looks.openness * 0.72
        upper = _curve(*at((-1, 0.15), (-0.5, -0.72 * top), (0.1, -top), (0.65, -0.66 * top), (1.05, -0.05 + 0.2 * looks.lid)))
        lower = _curve(*at((1.05, -0.05 + 0.2 * looks.lid), (0.5, low * 0.8), (0, low), (-0.5, low * 0.8), (-1, 0.15)))
        canvas.fill(np.vstack([upper, lower]), _blend((252, 250, 248), (236, 222, 200), 0.7 * looks.sag))
        (x, y), r = at((0, -0.06))[0], looks.eye * 0.56
        ceiling, floor = looks.eye_y - looks.eye * top * 0.95, looks.eye_y + looks.eye * low * 0.95
        for radius, colour in ((r, _blend(looks.iris, (10, 10, 14), 0.45)), (r * 0.86, looks.iris), (r * 0.46, (18, 14, 16))):
            canvas.fill(_ellipse(x, y, radius, radius).clip([-2, ceiling], [2, floor]), colour)
        canvas.fill(_ellipse(x + r * 0.32, max(y - r * 0.34, ceiling + r * 0.2), r * 0.2, r * 0.2), (255, 255, 255))
        canvas.fill(_ribbon(upper, looks.eye * (0.16 + 0.16 * looks.lashes)), ink)
        crease = upper - [0, looks.eye * (0.22 + 0.10 * looks.lid)]
        canvas.engrave(_shadow(looks, 0.5), [(_ribbon(crease, 0.024), 0.45 + 0.5 * looks.lid), (_ribbon(lower, 0.014), 0.5)])
        arch = _curve(*at((-1.05, -1.42), (-0.2, -1.72), (0.6, -1.68 + 0.1 * looks.lid), (1.3, -1.25 + 0.25 * looks.lid)))
        canvas.fill(_ribbon(arch, max(0.018, looks.brow * 2)), brow)


def _draw_nose(canvas: _Canvas, looks: Looks, head: Image.Image) -> None:
    x, y, r = looks.yaw * 1.8, looks.nose_y, looks.nose
    lit = np.sign(looks.light) or 1.0
    bridge = _curve((x * 0.6 - lit * 0.05, looks.eye_y), (x - lit * 0.07, (looks.eye_y + y) / 2), (x - lit * r * 0.9, y - 0.02))
    canvas.shade(_shadow(looks, 0.4), [(_ribbon(bridge, 0.09), 0.55), (_ellipse(x, y + 0.05, r * 0.9, 0.035), 0.6)], 2, head)
    canvas.shade(_blend(looks.skin, (255, 246, 232), 0.55), [(_ellipse(x + lit * 0.012, y - 0.05, r * 0.4, 0.05), 0.7)], 2, head)
    base = _curve((x - r, y - 0.05), (x - r * 0.9, y + 0.02), (x - r * 0.35, y + 0.015), (x, y + 0.035),
                  (x + r * 0.35, y + 0.015), (x + r * 0.9, y + 0.02), (x + r, y - 0.05))  # fmt: skip
    nostrils = [(_ellipse(x + s * r * 0.45, y + 0.012, r * 0.2, 0.016), 0.85) for s in (-1, 1)]
    canvas.engrave(_shadow(looks, 0.62), [(_ribbon(base, 0.03), 0.75), *nostrils])


def _draw_mouth(canvas: _Canvas, looks: Looks) -> None:
    x, y, m, s, lip = looks.yaw * 1.2, looks.mouth_y, looks.mouth * (1 + 0.15 * looks.smile), looks.smile, max(0.012, looks.lip)
    gape = max(0.0, s - 0.45) * 0.16
    left, right = (x - m, y - 0.07 * s), (x + m, y - 0.07 * s)
    upper = _curve(left, (x - m * 0.5, y - 0.005), (x, y + 0.015 * s), (x + m * 0.5, y - 0.005), right)
    lower = _curve(left, (x - m * 0.5, y + gape * 0.8), (x, y + 0.015 * s + gape), (x + m * 0.5, y + gape * 0.8), right)
    natural = _blend(_shadow(looks, 0.18), LIPS[0], 0.5 - 0.25 * looks.sag)
    colour = _blend(natural, LIPS[2], looks.lipstick)
    bow = _curve(left, (x - m * 0.28, y - lip * 0.95), (x, y - lip * 0.7), (x + m * 0.28, y - lip * 0.95), right)
    full = _curve(left, (x - m * 0.45, y + gape + lip * 1.05), (x, y + gape + lip * 1.45), (x + m * 0.45, y + gape + lip * 1.05), right)
    canvas.fill(np.vstack([bow, upper[::-1]]), _blend(colour, (90, 30, 36), 0.15))
    canvas.fill(np.vstack([lower, full[::-1]]), colour)
    if gape > 0.01:
        canvas.fill(np.vstack([upper, lower[::-1]]), (110, 38, 42))
        inner = (upper - [x, y]) * [0.82, 1] + [x, y]
        teeth = np.vstack([inner, ((lower - [x, y]) * [0.8, 1] + [x, y] - [0, gape * 0.3])[::-1]])
        if looks.fuzz < 0.5:
            canvas.fill(teeth, _blend((252, 250, 246), (232, 214, 176), 0.6 * looks.sag))
        else:
            canvas.fill(np.array([[x - 0.04, y], [x + 0.04, y], [x + 0.035, y + gape * 0.55], [x - 0.035, y + gape * 0.55]]), (252, 250, 246))
    canvas.fill(_ribbon(upper, 0.022), _blend(colour, (60, 20, 26), 0.55))
    canvas.engrave(_shadow(looks, 0.45), [(_ribbon(_curve((x - 0.09, y + gape + lip * 1.6 + 0.045), (x, y + gape + lip * 1.6 + 0.055),
                                                          (x + 0.09, y + gape + lip * 1.6 + 0.045)), 0.03), 0.4)])  # fmt: skip


def _draw_beard(canvas: _Canvas, looks: Looks, head: Image.Image) -> None:
    colour = _blend(_blend(looks.hair, (40, 28, 24), 0.2), GREY, looks.grey)
    w, y, m, x = looks.width, looks.mouth_y, looks.mouth, looks.yaw
    outline = _head(looks)
    low = outline[outline[:, 1] > looks.eye_y + 0.2] * [1.03, 1.04]
    low = low[np.argsort(-low[:, 0])]
    cheeks = _curve((-w * 1.02, looks.eye_y + 0.2), (-w * 0.72, y - 0.05), (x - m * 1.25, y - 0.06), (x - m * 1.1, y + 0.12), (x, y + 0.17),
                    (x + m * 1.1, y + 0.12), (x + m * 1.25, y - 0.06), (w * 0.72, y - 0.05), (w * 1.02, looks.eye_y + 0.2))  # fmt: skip
    moustache = _curve((x - m * 1.2, y + 0.03), (x - m * 0.6, y - 0.09), (x, y - 0.10), (x + m * 0.6, y - 0.09), (x + m * 1.2, y + 0.03))
    shapes = [(np.vstack([cheeks, low]), looks.beard), (_ribbon(moustache, 0.09), looks.beard)]
    whole = Image.new("L", (CANVAS, CANVAS), 255) if looks.beard > 0.75 else head
    canvas.shade(colour, shapes, 1.2, whole)


def _hair_texture(canvas: _Canvas, looks: Looks, rng: np.random.Generator) -> Image.Image:
    """Strands falling from the parting, or curls, each dyed or grey: what the hair's shape is cut from."""
    image = Image.new("RGB", (CANVAS, CANVAS), _hair_colour(looks))
    draw = ImageDraw.Draw(image)
    n = 90
    grey = np.where(rng.random(n) < 1.05 * looks.grey - 0.05, 0.95, 0.2 * looks.grey)[:, None]
    tones = np.array(looks.hair) * (1 - grey) + np.array(GREY) * grey
    sheen = rng.uniform(0, 0.22, (n, 1))
    tones = tones * (1 - sheen) + np.where(rng.random((n, 1)) < 0.5, 250, 16) * sheen
    if looks.haircut == "curly":
        curl = CIRCLE[:28] * rng.uniform(0.03, 0.07, (n, 1, 1))
        strands = curl + rng.uniform([-1.2, -1.3], [1.2, 0.9 if looks.long else -0.2], (n, 1, 2))
    else:
        t, start = np.linspace(0, np.pi / 2, 12), looks.part * looks.width
        across = start + (rng.uniform(-1.3, 1.3, (n, 1)) * looks.width - start) * np.sin(t)
        down = (2.3 if looks.long else 1.4) * (1 - np.cos(t)) - 1.16
        strands = np.stack([across, np.broadcast_to(down, across.shape)], axis=-1)
    for strand, tone, width in zip(strands, tones.astype(int).tolist(), rng.integers(1, 2 + SCALE, n).tolist(), strict=True):
        draw.line(canvas.pixels(strand), fill=tuple(tone), width=width)
    return image


def _hair_colour(looks: Looks) -> Colour:
    return _blend(looks.hair, GREY, looks.grey * 0.85)


def _draw_back_hair(canvas: _Canvas, looks: Looks) -> None:
    """What is seen behind the head."""
    w = looks.width
    dark = _blend(_hair_colour(looks), (20, 14, 14), 0.28)
    if looks.long:
        canvas.fill(_mirrored((0, -1.08), (w * 0.8, -0.98), (w * 1.2, -0.3), (w * 1.26, 0.5), (w * 1.12, 1.3), (0, 1.5)), dark)
    if looks.haircut == "curly" and looks.recede < 0.7:
        for x, y in _arc(0, -0.28 if not looks.long else 0.05, w * 1.08, 0.84 if not looks.long else 1.0, 150, 390)[::3]:
            canvas.fill(_ellipse(x, y, 0.22, 0.22), dark)
    if looks.haircut == "bun":
        canvas.fill(_ellipse(looks.part * 0.3, -1.14, 0.27, 0.24), dark)
        canvas.fill(_ribbon(_arc(looks.part * 0.3, -1.16, 0.15, 0.13, 160, 350), 0.04), _hair_colour(looks))
    if looks.haircut == "pigtails":
        for side in (-1, 1):
            tail = _curve((side * w * 0.9, -0.45), (side * (w + 0.3), -0.5), (side * (w + 0.36), 0.1), (side * (w + 0.14), 0.42),
                          (side * (w + 0.06), -0.1), closed=True)  # fmt: skip
            canvas.fill(tail, _hair_colour(looks))
            canvas.fill(_ellipse(side * (w + 0.02), -0.38, 0.07, 0.1), looks.clothes)


def _draw_front_hair(canvas: _Canvas, looks: Looks, head: Image.Image, rng: np.random.Generator) -> None:
    shapes = _hair_shapes(looks)
    mask = canvas.mask(*shapes)
    if looks.fuzz > 0.02:
        mask = mask.filter(ImageFilter.BoxBlur(1 + 9 * looks.fuzz)).point([int(v * (1 - 0.62 * looks.fuzz)) for v in range(256)])
    else:
        canvas.shade(_shadow(looks, 0.5), [(shape + [0, 0.05], 0.45) for shape in shapes], 2.5, head)
    box = mask.getbbox()
    canvas.image.paste(_hair_texture(canvas, looks, rng).crop(box), box, mask.crop(box))
    if looks.fuzz > 0.3:
        tuft = _curve((0.02, -0.93), (0.1, -1.1), (0.0, -1.17), (-0.06, -1.08))
        canvas.fill(_ribbon(tuft, 0.045), _blend(looks.hair, looks.skin, 0.25))


def _hair_shapes(looks: Looks) -> list[Points]:
    w, low, back = looks.width, looks.eye_y + 0.04, looks.recede
    if back > 0.72:  # bald: what is left grows at the sides
        return [
            _curve((s * w * 0.99, low), (s * w * 1.08, -0.1), (s * w * 1.06, -0.42), (s * w * 0.9, -0.66 + 0.3 * (back - 0.72)),
                   (s * w * 0.88, -0.36), (s * w * 0.93, -0.08), closed=True)
            for s in (-1, 1)
        ]  # fmt: skip
    v = {"cropped": 0.06, "parted": 0.10, "fringe": 0.10, "curly": 0.10, "bun": 0.05, "pigtails": 0.07}[looks.haircut]
    outer = [(-w * 1.02, low), (-w * (1.02 + v * 0.6), -0.36), (-w * 0.84, -0.74 - v), (-w * 0.46, -0.98 - v), (0, -1.05 - v),
             (w * 0.46, -0.98 - v), (w * 0.84, -0.74 - v), (w * (1.02 + v * 0.6), -0.36), (w * 1.02, low)]  # fmt: skip
    side, temple, line = w * 0.93, -0.46 - 0.30 * back, -0.66 - 0.28 * back
    if looks.haircut == "fringe":
        inner = [(side, -0.1), (w * 0.84, -0.34), (w * 0.45, -0.40), (w * 0.2, -0.35), (-w * 0.1, -0.42), (-w * 0.5, -0.36), (-w * 0.84, -0.34), (-side, -0.1)]
    elif looks.haircut in ("parted", "pigtails"):
        part = looks.part * w
        inner = [(side, -0.12), (w * 0.84, temple), ((w + part) * 0.45, line - 0.02), (part, line - 0.18), ((part - w) * 0.45, line + 0.02), (-w * 0.84, temple), (-side, -0.12)]
    else:
        inner = [(side, -0.1), (w * 0.84, temple), (w * 0.56, line - 0.12 * back), (0, line + 0.06 * back), (-w * 0.56, line - 0.12 * back), (-w * 0.84, temple), (-side, -0.1)]
    shapes = [np.vstack([_curve(*outer), _curve(*inner)])]
    if looks.haircut == "curly":
        shapes += [_ellipse(x, y, 0.16, 0.16) for x, y in _arc(0, -0.30, w * 0.98, 0.72, 185, 355)[::3]]
    if looks.long and looks.haircut not in ("bun", "pigtails"):
        shapes += [
            _curve((s * w * 1.0, -0.45), (s * w * 1.2, -0.1), (s * w * 1.27, 0.5), (s * w * 1.08, 1.12), (s * w * 1.0, 0.6),
                   (s * w * 0.93, 0.1), closed=True)
            for s in (-1, 1)
        ]  # fmt: skip
    return shapes


def _draw_glasses(canvas: _Canvas, looks: Looks) -> None:
    half, thick = looks.eye * 1.55, 0.028
    y = looks.eye_y + 0.03
    for side in (-1, 1):
        x = looks.yaw + side * looks.eye_gap
        angle = np.radians(np.linspace(0, 360, 60))
        round_, power = np.column_stack([np.cos(angle), np.sin(angle)]), 1.0 if looks.glasses == "round" else 0.55
        rim = np.sign(round_) * np.abs(round_) ** power * [1, 0.92 if looks.glasses == "round" else 0.78]
        canvas.engrave((255, 255, 255), [(rim * half + [x, y], 0.10)])
        canvas.engrave(looks.frame, [(rim * (half + thick) + [x, y], 0.95), (rim * half + [x, y], 0)])
        canvas.fill(_ribbon(_curve((x + side * half, y - 0.02), (side * looks.width * 1.05, y - 0.05)), 0.04), looks.frame)
    inner = looks.eye_gap - half
    bridge = _curve((looks.yaw - inner - 0.02, y), (looks.yaw, y - 0.045), (looks.yaw + inner + 0.02, y))
    canvas.fill(_ribbon(bridge, 0.045), looks.frame)


def _photograph(image: Image.Image, looks: Looks, rng: np.random.Generator) -> Image.Image:
    """Reduce to the picture's size, then light, blur and grain as of some camera."""
    image = image.reduce(SCALE)
    if rng.random() < 0.35:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.9)))
    across = np.linspace(-1, 1, SIDE, dtype=np.float32)[:, None] * np.float32(0.07 * looks.light)
    gain = np.exp(across - 0.03 + rng.normal(0, 0.05)) * np.exp(rng.normal(0, 0.018, 3))
    grain = rng.standard_normal((SIDE, SIDE, 1), dtype=np.float32) * np.float32(rng.uniform(1, 4.5))
    pixels = np.asarray(image, dtype=np.float32) * gain.astype(np.float32) + grain
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
