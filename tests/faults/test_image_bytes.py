"""Generated image files: a problem of one line, or pixels that every reader of ours gets; metadata never decides."""

import importlib.util
import io
import random
import re
import time
import warnings
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from age_tasks.data.decoding import FORMATS, UnreadableImageError, load_rgb, upright_size
from age_tasks.data.probes import probe_file
from age_tasks.demo.synthetic_faces import draw_face
from tests.faults.generated import SECONDS, attempts, generated
from tests.faults.mutated_bytes import mutated
from tests.faults.tally import Tally

CHUNKS = [b"\0\0\0\0", b"\xff" * 4, b"\xff\xd8", b"\xff\xd9", b"\xff\xda", b"\x7f\xff\xff\xff", b"IHDR",
    b"IDAT", b"IEND", b"PLTE", b"Exif\0\0", b"II*\0", b"MM\0*", b"\0\0\0\1", b"\x80\0\0\0", b"\xff\xc0",
    b"\xff\xc2", b"\xff\xe1", b"ftyp", b"heic", b"avif", b"meta", b"iloc", b"ispe", b"VP8X", b"VP8L", b"ANIM",
    b"acTL", b"tRNS", b"eXIf", b"iCCP", b"\x20\0", b"\x40\0"]  # fmt: skip


@cache
def good_images() -> list[tuple[str, bytes]]:
    """A face in every format that is read, of several kinds of pixels."""
    face = draw_face(30, np.random.default_rng(1)).resize((64, 48))
    grey, palette, alpha = face.convert("L"), face.quantize(16), face.convert("RGBA")
    deep = Image.fromarray(np.asarray(grey, np.uint16) * 257)
    made: list[tuple[str, Image.Image, dict[str, object]]] = [(kind, face, {}) for kind in FORMATS]
    made += [("JPEG", grey, {}), ("JPEG", face, {"progressive": True}), ("JPEG", face.convert("CMYK"), {})]
    made += [("PNG", palette, {}), ("PNG", alpha, {}), ("PNG", deep, {}), ("WEBP", alpha, {"lossless": True})]
    made += [("TIFF", face, {"compression": kind}) for kind in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits")]
    made += [
        ("TIFF", deep, {}),
        ("TIFF", Image.fromarray(np.asarray(grey, np.float32) / 255), {}),
        ("GIF", palette, {}),
    ]
    exif = Image.Exif()
    exif[0x0112] = 6
    made += [(kind, face, {"exif": exif}) for kind in ("JPEG", "PNG", "WEBP", "TIFF")]
    if importlib.util.find_spec("pillow_heif"):
        importlib.import_module("pillow_heif").register_heif_opener()
        made.append(("HEIF", face, {"quality": 60}))
    found = []
    for kind, image, options in made:
        out = io.BytesIO()
        image.save(out, kind, **options)
        found.append((kind, out.getvalue()))
    return found


def check_image(data: bytes, path: Path, tally: Tally) -> None:
    with tally.attempt("image_bytes"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about odd metadata; a run shows them in its log
        path.write_bytes(data)
        began = time.thread_time()
        probe = probe_file(path)
        assert time.thread_time() - began < SECONDS
        assert path.read_bytes() == data
        if probe.problem:
            assert probe.state == "unreadable"
            assert not re.search("[\x00-\x1f\x7f-\x9f]", probe.problem), probe.problem
            assert len(probe.problem) < 400
            try:
                load_rgb(path, 64)
            except UnreadableImageError as error:
                assert str(error)  # noqa: PT017
        else:
            pixels = load_rgb(path, 64)
            assert pixels.shape == (64, 64, 3)
            assert np.array_equal(pixels, load_rgb(path, 64))
            assert upright_size(path) == (probe.width, probe.height)


def changed(good: bytes, rng: random.Random) -> bytes:
    """Headers matter more than pixels."""
    head = len(good) if rng.random() < 0.4 else rng.choice([40, 100, 400])
    return mutated(good[:head], rng, CHUNKS) + good[head:]


def mutations(
    many: int, rng: random.Random, request: pytest.FixtureRequest, path: Path, tally: Tally, part: int = 0
) -> None:
    good = good_images()
    for number in attempts(many, request, few=60):
        check_image(changed(good[(number + part) % len(good)][1], rng), path, tally)


def test_every_kind_of_image_is_read(tmp_path: Path, tally: Tally):
    for kind, data in good_images():
        check_image(data, tmp_path / "image", tally)
        assert probe_file(tmp_path / "image").state == "ok", kind


def test_some_mutated_images(rng: random.Random, request: pytest.FixtureRequest, tmp_path: Path, tally: Tally):
    mutations(0, rng, request, tmp_path / "image", tally)


@pytest.mark.faults
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(4))
def test_many_mutated_images(
    part: int, rng: random.Random, request: pytest.FixtureRequest, tmp_path: Path, tally: Tally
):
    mutations(10_000, rng, request, tmp_path / "image", tally, part)


def with_metadata(kind: str, exif: bytes, where: bytes) -> bytes:
    """The first image of a format with this block of metadata put into it as the format wants it."""
    good = next(data for found, data in good_images() if found == kind)
    if kind == "JPEG":
        block = b"Exif\0\0" + exif if where == b"eXIf" else where + exif
        return good[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + good[2:]
    if kind == "PNG":
        chunk = where + exif
        whole = len(exif).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
        return good[:33] + whole + good[33:]
    exif += b"\0" * (len(exif) % 2)
    canvas = (63).to_bytes(3, "little") + (47).to_bytes(3, "little")
    body = b"WEBPVP8X\x0a\0\0\0\x08\0\0\0" + canvas + good[12:] + b"EXIF" + len(exif).to_bytes(4, "little") + exif
    return b"RIFF" + len(body).to_bytes(4, "little") + body


@cache
def turned(kind: str) -> list[bytes]:
    """The pixels of the first image of a format in each of the eight orientations."""
    with Image.open(io.BytesIO(next(data for found, data in good_images() if found == kind))) as image:
        rgb = image.convert("RGB")
    ways = [rgb, *(rgb.transpose(way) for way in Image.Transpose)]
    return [each.resize((64, 64), Image.Resampling.BILINEAR, reducing_gap=2.0).tobytes() for each in ways]


def check_metadata(kind: str, exif: bytes, where: bytes, tmp_path: Path, tally: Tally) -> None:
    """Whatever stands in the metadata, the pixels are those of the image, in one of eight orientations."""
    with tally.attempt("image_bytes"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = tmp_path / "image"
        path.write_bytes(with_metadata(kind, exif, where))
        probe = probe_file(path)
        assert probe.state == "ok", probe.problem
        assert load_rgb(path, 64).tobytes() in turned(kind)


def exif_block(entries: list[tuple[int, int, int, bytes]], order: str) -> bytes:
    """EXIF with these entries: tag, type, count, value or offset."""
    big = order == "big"
    found = (b"MM\0*" if big else b"II*\0") + (8).to_bytes(4, order) + len(entries).to_bytes(2, order)  # type: ignore[arg-type]
    for tag, kind, count, value in entries:
        found += tag.to_bytes(2, order) + kind.to_bytes(2, order) + count.to_bytes(4, order) + value  # type: ignore[arg-type]
    return found + bytes(4) + b"\0\0\0\6\0\0\0\1 text of a camera \0"


entries = st.tuples(
    st.sampled_from([0x0112, 0x0112, 0x8769, 0x8825, 0x9003, 0x011A, 0x0131, 0x927C, 0xA005, 0x014A]),
    st.integers(0, 14),
    st.sampled_from([0, 1, 2, 4, 1000, 2**31, 2**32 - 1]),
    st.binary(min_size=4, max_size=4),
)
exifs = st.one_of(
    st.binary(max_size=60),
    st.builds(exif_block, st.lists(entries, max_size=5), st.sampled_from(["big", "little"])),
    st.builds(
        lambda block, at: block[:at],
        st.builds(exif_block, st.lists(entries, max_size=3), st.just("big")),
        st.integers(0, 60),
    ),
)
test_some_metadata, test_many_metadata = generated(
    6_000,
    kind=st.sampled_from(["JPEG", "PNG", "WEBP"]),
    exif=exifs,
    where=st.sampled_from(
        [b"eXIf", b"eXIf", b"eXIf", b"zTXt", b"tEXt", b"iTXt", b"tIME", b"pHYs", b"gAMA", b"iCCP", b"acTL"]
    ),
)(check_metadata)
