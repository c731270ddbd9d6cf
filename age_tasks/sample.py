"""A sample data set: drawn faces whose looks depend on their age, and on demand the faults that real sets have.

No person is pictured. Face `n` of a seed is the same whatever the count, so a larger set extends a smaller one.
"""

import csv
import io
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from age_tasks.errors import SettingsError

SIDE = 200  # pixels of a picture
SCALE = 3  # pictures are drawn this much larger, then reduced: Pillow's polygons have hard edges
CANVAS = SIDE * SCALE
SOFT = 6  # soft shadows are drawn this much smaller than the canvas, which makes blurring them cheap
JPEG_QUALITY = 90

# Quantiles of age in years in the set whose published statistics the sample follows: APPA-REAL (Agustsson et al. 2017).
AGE_QUANTILES = {0: 1, 0.05: 5, 0.1: 12, 0.25: 20, 0.5: 29, 0.75: 41, 0.9: 54, 0.95: 63, 0.99: 82, 1: 100}
GOLDEN_RATIO = (5**0.5 - 1) / 2

FACES, PLANTED = 0, 1  # what a random stream is for

Colour = tuple[int, int, int]
Points = np.ndarray  # (n, 2), in face units: the head reaches from y = -1 (crown) to y = 1 (chin)
Row = tuple[str, str]  # file name, age as written


@dataclass(frozen=True)
class SampleSummary:
    """What was drawn. `faults` and `oddities` say by kind how many rows are to be refused, and how many only look odd."""

    labels: Path
    images: Path
    count: int
    faults: dict[str, int]
    oddities: dict[str, int]


SKINS = ((255, 224, 202), (247, 208, 178), (236, 188, 150), (214, 160, 118), (182, 124, 84), (140, 90, 60), (98, 62, 44))
HAIRS = ((28, 23, 22), (44, 32, 26), (74, 48, 32), (112, 74, 44), (164, 112, 62), (216, 176, 112), (158, 74, 38))
IRISES = ((70, 44, 28), (96, 62, 34), (112, 96, 50), (88, 116, 82), (84, 122, 156), (110, 130, 142))
CLOTHES = ((206, 92, 84), (236, 178, 84), (92, 148, 128), (78, 112, 160), (122, 98, 150), (228, 222, 210), (70, 76, 92))
WALLS = ((226, 214, 198), (190, 206, 210), (214, 190, 184), (176, 190, 168), (150, 164, 186), (232, 222, 172), (120, 124, 136))
LIPS = ((196, 98, 92), (206, 112, 110), (178, 76, 84))
GREY = (222, 220, 216)
HAIRCUTS = {"cropped": 0.30, "parted": 0.22, "fringe": 0.16, "curly": 0.16, "bun": 0.08, "pigtails": 0.08}


@dataclass(frozen=True)
class Looks:
    """Everything that is drawn of one face; lengths in face units, strengths 0–1."""

    width: float  # half the head's
    jaw: float  # share of the width
    chin: float
    eye_y: float
    eye_gap: float  # from the middle to an eye
    eye: float  # half an eye's width
    openness: float
    lid: float  # how far the upper lid hangs
    brow: float
    nose_y: float
    nose: float
    mouth_y: float
    mouth: float
    lip: float
    smile: float
    ear: float
    forehead: float  # lines
    crow: float  # lines beside the eyes
    fold: float  # from nose to mouth
    bags: float
    sag: float
    spots: float
    blush: float
    haircut: str
    long: bool
    fuzz: float  # how thin a baby's hair is
    recede: float
    grey: float
    beard: float
    lashes: float
    lipstick: float
    glasses: str
    skin: Colour
    hair: Colour
    iris: Colour
    clothes: Colour
    wall: Colour
    frame: Colour
    part: float
    yaw: float
    tilt: float  # radians
    zoom: float
    shift: tuple[float, float]
    light: float  # -1 from the left, 1 from the right


def _grown(age: float) -> float:
    """0 at birth, 1 from about 20 on; quick at first, as heads grow."""
    return float(np.clip(age / 20, 0, 1) ** 0.7)


def _between(start: float, end: float, age: float) -> float:
    return float(np.clip((age - start) / (end - start), 0, 1.15))


def _blend(one: Colour, other: Colour, share: float) -> Colour:
    return tuple(round(a + (b - a) * share) for a, b in zip(one, other, strict=True))


def _looks(age: float, rng: np.random.Generator) -> Looks:
    """Draw how somebody of that age looks.

    People look older or younger than they are, and each trait ages at a pace of its own: both are drawn here, and make
    the age unreadable beyond about 4 years.
    """
    seeming = age + rng.normal() * (0.5 + 0.085 * age)

    def cue() -> float:
        return max(0.0, seeming + rng.normal() * (0.4 + 0.10 * age))

    def pick(choices: tuple) -> Colour:
        return _blend(choices[rng.integers(len(choices))], choices[rng.integers(len(choices))], rng.uniform(0, 0.35))

    def vary(sd: float) -> float:
        return float(rng.normal() * sd)

    grown, child, adult = _grown(cue()), age < 13, age > 17
    masculine = rng.random() < 0.5
    bearded = adult and masculine and rng.random() < 0.45
    eye_y = 0.20 - 0.24 * grown + vary(0.02)
    worn = [_between(20, 85, cue()) for _ in range(6)]
    balding = masculine and rng.random() < 0.6
    cuts = list(HAIRCUTS)
    odds = np.array([*HAIRCUTS.values()]) * [2.2 if masculine else 0.25, 1, 1, 1, not masculine, child and not masculine]
    glasses = rng.random() < np.interp(age, [3, 12, 40, 60], [0.01, 0.1, 0.22, 0.5])
    return Looks(
        width=0.93 - 0.17 * grown + vary(0.025),
        jaw=0.86 - (0.08 if masculine else 0.13) * grown + 0.10 * worn[0] + vary(0.025),
        chin=0.48 - 0.10 * grown + (0.06 * grown if masculine else 0) + vary(0.03),
        eye_y=eye_y,
        eye_gap=0.40 - 0.07 * grown + vary(0.012),
        eye=0.195 - 0.055 * grown - 0.02 * worn[1] + vary(0.006),
        openness=0.86 - 0.22 * grown - 0.10 * worn[1] + vary(0.05),
        lid=0.75 * worn[1] + abs(vary(0.06)),
        brow=(0.020 + 0.024 * grown) * (1.25 if masculine else 0.8) * (1 - 0.25 * worn[2]) + vary(0.004),
        nose_y=eye_y + 0.24 + 0.15 * grown + 0.05 * worn[3] + vary(0.02),
        nose=0.085 + 0.05 * grown + 0.03 * worn[3] + vary(0.01),
        mouth_y=eye_y + 0.46 + 0.17 * grown + 0.03 * worn[3] + vary(0.02),
        mouth=0.17 + 0.09 * grown + vary(0.02),
        lip=(0.052 + 0.022 * min(1, 2 * grown)) * (1 - 0.62 * worn[4]) + vary(0.006),
        smile=float(rng.uniform(-0.15, 1)),
        ear=0.17 + 0.05 * worn[3] + vary(0.01),
        forehead=max(0.0, worn[5] * 0.95 + vary(0.05)),
        crow=max(0.0, _between(23, 75, cue()) + vary(0.05)),
        fold=max(0.0, _between(14, 72, cue()) + vary(0.05)),
        bags=max(0.0, 0.9 * _between(18, 80, cue()) + vary(0.08)),
        sag=_between(38, 92, cue()),
        spots=max(0.0, _between(45, 95, cue()) + vary(0.1)),
        blush=max(0.0, 0.75 - 0.6 * grown + vary(0.15)),
        haircut=str(rng.choice(cuts, p=odds / odds.sum())),
        long=not masculine and age > 2 and rng.random() < np.interp(age, [2, 8, 40, 80], [0.2, 0.75, 0.6, 0.1]),
        fuzz=1 - _between(0.2, 3.5, age + abs(vary(0.5))),
        recede=(0.95 * _between(18, 66, cue()) if balding else 0.25 * _between(30, 90, cue())) + abs(vary(0.04)),
        grey=float(1 / (1 + np.exp(-(cue() - 51 - vary(5)) / 5.5))),
        beard=float(rng.uniform(0.35, 1)) if bearded else 0.0,
        lashes=0.2 if masculine else float(rng.uniform(0.4, 1)),
        lipstick=float(rng.uniform(0.3, 1)) if adult and not masculine and rng.random() < 0.55 else 0.0,
        glasses=str(rng.choice(["round", "square"])) if glasses else "",
        skin=pick(SKINS),
        hair=pick(HAIRS),
        iris=pick(IRISES),
        clothes=pick(CLOTHES),
        wall=pick(WALLS),
        frame=pick(((44, 40, 44), (110, 60, 40), (150, 130, 90), (60, 80, 110))),
        part=float(rng.choice([-1, 1]) * rng.uniform(0.1, 0.45)),
        yaw=vary(0.05),
        tilt=vary(0.055),
        zoom=0.335 + vary(0.012),
        shift=(vary(0.012), 0.045 + vary(0.012)),
        light=float(rng.uniform(-1, 1)),
    )


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

    def shade(self, colour: Colour, shapes: list[tuple[Points, float]], blur: float, within: Image.Image) -> None:
        """Lay colour over soft-edged shapes. Each has a strength 0–1; `blur` is in picture pixels."""
        mask = Image.new("L", (CANVAS // SOFT, CANVAS // SOFT))
        draw = ImageDraw.Draw(mask)
        for points, strength in shapes:
            draw.polygon([value / SOFT for value in self.pixels(points)], fill=round(255 * min(1, max(0, strength))))
        mask = mask.filter(ImageFilter.GaussianBlur(blur * SCALE / SOFT))
        mask = mask.resize((CANVAS, CANVAS), Image.Resampling.BILINEAR)
        self.image.paste(colour, mask=ImageChops.multiply(mask, within))

    def engrave(self, colour: Colour, shapes: list[tuple[Points, float]]) -> None:
        """Lay colour over sharp, fine shapes, each of a strength 0–1: wrinkles."""
        mask = Image.new("L", (CANVAS, CANVAS))
        draw = ImageDraw.Draw(mask)
        for points, strength in shapes:
            if strength > 0.02:
                draw.polygon(self.pixels(points), fill=round(255 * min(1, strength)))
        self.image.paste(colour, mask=mask)


def _ellipse(x: float, y: float, rx: float, ry: float, start: float = 0, end: float = 360) -> Points:
    """Angles in degrees, clockwise from the right as y points down."""
    angle = np.radians(np.linspace(start, end, 40))
    return np.column_stack([x + rx * np.cos(angle), y + ry * np.sin(angle)])


def _curve(*points: tuple[float, float], closed: bool = False) -> Points:
    """A smooth line through the points (Catmull-Rom)."""
    knots = np.array(points, dtype=float)
    padded = np.vstack([knots[-1:], knots, knots[:2]]) if closed else np.vstack([knots[:1], knots, knots[-1:]])
    p0, p1, p2, p3 = (padded[i : len(padded) - 3 + i, None] for i in range(4))
    t = np.linspace(0, 1, 9)[:-1, None]
    line = p1 + 0.5 * t * (p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0)))
    line = line.reshape(-1, 2)
    return line if closed else np.vstack([line, knots[-1:]])


def _ribbon(line: Points, width: float) -> Points:
    """A stroke along the line, `width` at its middle and pointed at its ends."""
    along = np.gradient(line, axis=0)
    across = np.column_stack([-along[:, 1], along[:, 0]]) / (np.linalg.norm(along, axis=1, keepdims=True) + 1e-9)
    half = width / 2 * np.sqrt(np.sin(np.linspace(0, np.pi, len(line))).clip(0))[:, None] * across
    return np.vstack([line + half, (line - half)[::-1]])


def _mirrored(*right: tuple[float, float]) -> Points:
    """A closed smooth outline from its right half, top to bottom; the ends lie on the middle."""
    left = [(-x, y) for x, y in right[-2:0:-1]]
    return _curve(*right, *left, closed=True)
