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
SCALE = 2  # pictures are drawn this much larger, then reduced: Pillow's polygons have hard edges
CANVAS = SIDE * SCALE
SOFT = 6  # soft shadows are drawn this much smaller than the canvas, which makes blurring them cheap
JPEG_QUALITY = 90

# Quantiles of age in years in the set whose published statistics the sample follows: APPA-REAL (Agustsson et al. 2017).
AGE_QUANTILES = {0: 1, 0.05: 5, 0.1: 12, 0.25: 20, 0.5: 29, 0.75: 41, 0.9: 54, 0.95: 63, 0.99: 82, 1: 100}
GOLDEN_RATIO = (5**0.5 - 1) / 2

FACES, PLANTED = 0, 1  # what a random stream is for

Colour = tuple[int, int, int]
Points = np.ndarray  # (n, 2), in face units: the head reaches from y = -1 (crown) to y = 1 (chin)
Stain = tuple[Points, float]  # an outline and how strongly it is coloured, 0-1
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
    tone = int(rng.integers(len(SKINS)))
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
        recede=(_between(18, 64, cue()) if balding else 0.25 * _between(30, 90, cue())) + abs(vary(0.04)),
        grey=float(1 / (1 + np.exp(-(cue() - 51 - vary(5)) / 5.5))),
        beard=float(rng.uniform(0.35, 1)) if bearded else 0.0,
        lashes=0.2 if masculine else float(rng.uniform(0.4, 1)),
        lipstick=float(rng.uniform(0.3, 1)) if adult and not masculine and rng.random() < 0.55 else 0.0,
        glasses=str(rng.choice(["round", "square"])) if glasses else "",
        skin=_blend(SKINS[tone], SKINS[rng.integers(len(SKINS))], rng.uniform(0, 0.3)),
        hair=pick(HAIRS[: len(HAIRS) - max(0, tone - 1)]),
        iris=pick(IRISES[: len(IRISES) - max(0, tone - 1)]),
        clothes=pick(CLOTHES),
        wall=pick(WALLS),
        frame=pick(((44, 40, 44), (110, 60, 40), (150, 130, 90), (60, 80, 110))),
        part=float(rng.choice([-1, 1]) * rng.uniform(0.1, 0.45)),
        yaw=vary(0.05),
        tilt=vary(0.055),
        zoom=0.350 + vary(0.012),
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
    canvas.engrave(_blend(looks.skin, (255, 244, 228), 0.4), [(_ribbon(line + relief, w), 0.5 * s) for line, w, s in lines])
    canvas.engrave(_shadow(looks, 0.5), [(_ribbon(line, w), 0.75 * s) for line, w, s in lines])


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
    for _ in range(90):
        tone = _blend(looks.hair, GREY, 0.95 if rng.random() < 1.05 * looks.grey - 0.05 else 0.2 * looks.grey)
        tone = _blend(tone, (255, 240, 220) if rng.random() < 0.5 else (20, 14, 14), rng.uniform(0, 0.22))
        if looks.haircut == "curly":
            x, y, r = rng.uniform([-1.2, -1.3, 0.03], [1.2, 0.9 if looks.long else -0.2, 0.07])
            strand = _ellipse(x, y, r, r, 0, 250)
        else:
            t, tip = np.linspace(0, np.pi / 2, 12), rng.uniform(-1.3, 1.3)
            start = looks.part * looks.width
            fall = (2.3 if looks.long else 1.4) * (1 - np.cos(t))
            strand = np.column_stack([start + (tip * looks.width - start) * np.sin(t), fall - 1.16])
        draw.line(canvas.pixels(strand), fill=tone, width=int(rng.integers(1, 2 + SCALE)))
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
        for x, y in _ellipse(0, -0.28 if not looks.long else 0.05, w * 1.08, 0.84 if not looks.long else 1.0, 150, 390)[::3]:
            canvas.fill(_ellipse(x, y, 0.22, 0.22), dark)
    if looks.haircut == "bun":
        canvas.fill(_ellipse(looks.part * 0.3, -1.14, 0.27, 0.24), dark)
        canvas.fill(_ribbon(_ellipse(looks.part * 0.3, -1.16, 0.15, 0.13, 160, 350), 0.04), _hair_colour(looks))
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
        shapes += [_ellipse(x, y, 0.16, 0.16) for x, y in _ellipse(0, -0.30, w * 0.98, 0.72, 185, 355)[::3]]
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
