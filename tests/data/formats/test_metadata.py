"""Good pixels with odd metadata."""

import io
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from age_tasks.data.decoding import UnreadableImageError, decoding_errors, load_rgb, upright_size
from age_tasks.data.formats.metadata import as_orientation, without_metadata
from age_tasks.data.probes import probe_file
from age_tasks.serving.input_checks import training_floor, warnings_for

ORIENTATION, DATE, RESOLUTION, UNIT, PHOTO = 0x0112, 0x0132, 0x011A, 0x0128, 0x8769
Entry = tuple[int, int, int, bytes]  # tag, type, count, data


def turned() -> Image.Image:
    """Light above, dark below, and stored so that orientation 6 puts it upright."""
    upright = np.zeros((60, 40, 3), np.uint8)
    upright[:30] = 240
    return Image.fromarray(upright).rotate(90, expand=True)


def exif_block(*entries: Entry) -> bytes:
    """A block of EXIF with these entries, whatever they say."""
    head, body = struct.pack("<H", len(entries)), b""
    for tag, kind, count, data in entries:
        value = data.ljust(4, b"\0")
        if len(data) > 4:
            value = struct.pack("<L", 8 + 2 + 12 * len(entries) + 4 + len(body))
            body += data
        head += struct.pack("<HHL", tag, kind, count) + value
    return b"Exif\0\0II*\0" + struct.pack("<L", 8) + head + bytes(4) + body


def picture(kind: str, exif: bytes) -> bytes:
    out = io.BytesIO()
    turned().save(out, kind, exif=exif)
    return out.getvalue()


SIX: Entry = (ORIENTATION, 3, 1, struct.pack("<H", 6))
RATIONAL_DATE: Entry = (DATE, 5, 1, struct.pack("<LL", 20_240_501, 1))
ODD = {
    "a rational date": (exif_block(SIX, RATIONAL_DATE), True),
    "a negative resolution": (
        exif_block(SIX, (RESOLUTION, 10, 1, struct.pack("<ll", -72, 1)), (UNIT, 3, 1, b"\2\0")),
        True,
    ),
    "a resolution of nothing by nothing": (exif_block(SIX, (RESOLUTION, 5, 1, bytes(8)), (UNIT, 3, 1, b"\2\0")), True),
    "a folder of tags outside the file": (exif_block(SIX, (PHOTO, 4, 1, b"\xff\xff\xff\x7f")), True),
    "EXIF twice": (b"Exif\0\0" + exif_block(SIX), True),
    "orientation as text": (exif_block((ORIENTATION, 2, 2, b"6\0")), True),
    "orientation in words": (exif_block((ORIENTATION, 2, 13, b"Rotate 90 CW\0")), True),
    "orientation as a fraction": (exif_block((ORIENTATION, 5, 1, struct.pack("<LL", 6, 1))), True),
    "orientation as a byte": (exif_block((ORIENTATION, 1, 1, b"\6")), True),
    "orientation as bytes without a type": (exif_block((ORIENTATION, 7, 1, b"\6")), True),
    "orientation as a list": (exif_block((ORIENTATION, 3, 2, struct.pack("<HH", 6, 6))), True),
    "orientation 0": (exif_block((ORIENTATION, 3, 1, b"\0\0")), False),
    "orientation 9": (exif_block((ORIENTATION, 3, 1, b"\x09\0")), False),
    "orientation 6.5": (exif_block((ORIENTATION, 5, 1, struct.pack("<LL", 13, 2))), False),
    "orientation by zero": (exif_block((ORIENTATION, 5, 1, struct.pack("<LL", 6, 0))), False),
    "orientation as nonsense": (exif_block((ORIENTATION, 2, 6, b"north\0")), False),
    "junk": (b"Exif\0\0 this is no EXIF at all", False),
    "half a header": (exif_block(SIX)[:11], False),
    "nothing": (b"Exif\0\0", False),
}


@pytest.mark.filterwarnings("ignore")  # Pillow's, about the metadata
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("case", ODD)
def test_odd_metadata_decides_nothing(kind: str, case: str, tmp_path: Path):
    exif, is_turned = ODD[case]
    path = tmp_path / "a.jpg"
    path.write_bytes(picture(kind, exif))
    probe, pixels = probe_file(path), load_rgb(path, 32)
    size = (40, 60) if is_turned else (60, 40)
    assert (probe.problem, probe.width, probe.height) == ("", *size)
    assert upright_size(path) == size
    dark = pixels[-8:] if is_turned else pixels[:, -8:]
    assert dark.mean() < 20 or pixels[:, :8].mean() < 20
    floor = training_floor([path], 32)
    assert floor["side"] == 40
    assert warnings_for(path, pixels, floor | {"side": 41}).startswith(f"{size[0]} x {size[1]} pixels")


def tiff_with(*entries: Entry) -> bytes:
    """A TIFF with further tags, which may be any."""
    out = io.BytesIO()
    turned().save(out, "TIFF")
    data = bytearray(out.getvalue())
    (start,) = struct.unpack_from("<L", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    own, more, body = bytes(data[start + 2 : start + 2 + 12 * count]), b"", b""
    for tag, kind, number, value in entries:
        field = value.ljust(4, b"\0")
        if len(value) > 4:
            field = struct.pack("<L", len(data) + 6 + 12 * (count + len(entries)) + len(body))
            body += value
        more += struct.pack("<HHL", tag, kind, number) + field
    struct.pack_into("<L", data, 4, len(data))
    return bytes(data) + struct.pack("<H", count + len(entries)) + own + more + bytes(4) + body


@pytest.mark.parametrize(
    ("entries", "is_turned"),
    [
        ([SIX], True),
        ([SIX, RATIONAL_DATE], True),
        ([(ORIENTATION, 2, 2, b"6\0")], True),
        ([(ORIENTATION, 5, 1, struct.pack("<LL", 6, 1))], True),
        ([(ORIENTATION, 2, 6, b"north\0")], False),
        ([SIX, (PHOTO, 9, 1, struct.pack("<l", -117))], True),
        ([(700, 4, 1, bytes(4))], False),
    ],
    ids=["plain", "rational date", "text", "fraction", "nonsense", "tags before the file", "a number for XMP"],
)
def test_a_tiff_with_odd_tags_is_turned_once(entries: list[Entry], is_turned: bool, tmp_path: Path):
    path = tmp_path / "a.tif"
    path.write_bytes(tiff_with(*entries))
    probe = probe_file(path)
    size = (40, 60) if is_turned else (60, 40)
    assert (probe.problem, probe.width, probe.height) == ("", *size)
    assert upright_size(path) == size
    if is_turned:
        assert load_rgb(path, 32)[:8].mean() > 200


def test_the_preview_in_a_raw_camera_file_is_not_taken_for_the_photograph(tmp_path: Path):
    (tmp_path / "a.jpg").write_bytes(tiff_with((254, 4, 1, b"\1\0\0\0"), (330, 4, 1, b"\x08\0\0\0")))
    assert probe_file(tmp_path / "a.jpg").problem == "not an image: a raw camera file; export it as JPEG"
    (tmp_path / "a.jpg").write_bytes(tiff_with((330, 4, 1, b"\x08\0\0\0")))  # a pyramid: the full image comes first
    assert probe_file(tmp_path / "a.jpg").problem == ""


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK", "RGBA"])
def test_a_turned_tiff_has_the_same_pixels_in_every_mode(mode: str, tmp_path: Path):
    """Pillow maps some modes into memory, and then takes the turned size for that of the stored rows."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    turned().convert(mode).save(tmp_path / "a.tif", exif=exif)
    pixels = load_rgb(tmp_path / "a.tif", 32)
    assert pixels[:8].mean() > 200
    assert pixels[-8:].mean() < 20


def test_a_png_with_a_damaged_chunk_of_text_is_read(tmp_path: Path):
    png = picture("PNG", exif_block(SIX))
    chunk = struct.pack(">L", 5) + b"tEXtc\0abc" + b"\0\0\0\0"  # a wrong checksum
    (tmp_path / "a.png").write_bytes(png[:33] + chunk + png[33:])
    assert (probe_file(tmp_path / "a.png").problem, probe_file(tmp_path / "a.png").width) == ("", 40)
    assert upright_size(tmp_path / "a.png") == (40, 60)


def test_an_avif_with_junk_for_exif_is_read(tmp_path: Path):
    avif = picture("AVIF", exif_block((DATE, 2, 20, b"2024:05:01 00:00:00\0")))
    assert avif.count(b"II*\0") == 1
    (tmp_path / "a.avif").write_bytes(avif.replace(b"II*\0", b"JUNK"))
    assert probe_file(tmp_path / "a.avif").problem == ""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (6, 6), (6.0, 6), ("6", 6), (b"6\0", 6), (b"\x08", 8), ((3, 1), 3), (IFDRational(6, 1), 6), ("12/2", 6),
        ("right-top", 6), ("Horizontal (normal)", 1), (0, 1), (9, 1), (-6, 1), (None, 1), ("", 1), ((), 1), (b"", 1),
        (float("nan"), 1), (float("inf"), 1), (IFDRational(6, 0), 1), ({}, 1), ("9" * 5000, 1), (Fraction(13, 2), 1),
    ],
)  # fmt: skip
def test_an_orientation_of_any_type_is_read(value: object, expected: int):
    assert as_orientation(value) == expected


def test_a_file_without_metadata_stays_as_it_is():
    out = io.BytesIO()
    turned().save(out, "PNG")
    assert without_metadata(out.getvalue()) is None
    assert without_metadata(b"GIF89a") is None


GOOD = {kind: picture(kind, exif_block(SIX, RATIONAL_DATE)) for kind in ("JPEG", "PNG", "WEBP")}
GOOD |= {"TIFF": tiff_with(SIX, RATIONAL_DATE), "AVIF": picture("AVIF", exif_block(SIX))}


def _right_or_one_line(path: Path) -> None:
    """Everything that opens images agrees: upright pixels, or a reason in one line."""
    probe = probe_file(path)
    if not probe.problem:
        assert load_rgb(path, 32).shape == (32, 32, 3)
        assert upright_size(path) == (probe.width, probe.height)
        return
    assert "\n" not in probe.problem
    assert len(probe.problem) < 300
    for act in (lambda: load_rgb(path, 32), lambda: upright_size(path)):
        try:
            with decoding_errors(path):
                act()
        except UnreadableImageError as error:
            assert "\n" not in str(error)  # noqa: PT017


entries = st.tuples(
    st.sampled_from([ORIENTATION, DATE, RESOLUTION, UNIT, PHOTO, 0x0100, 0x8825, 0xC4A5, 0x010F]),
    st.integers(0, 13),
    st.sampled_from([0, 1, 1, 2, 20, 2**31]),
    st.binary(max_size=24),
)
fuzzed = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.filterwarnings("ignore")
@fuzzed
@given(kind=st.sampled_from(["JPEG", "PNG", "WEBP"]), tags=st.lists(entries, max_size=6), cut=st.integers(0, 300))
def test_any_exif_decides_nothing(kind: str, tags: list[Entry], cut: int, tmp_path: Path):
    block = exif_block(*tags)
    (tmp_path / "a").write_bytes(picture(kind, block[: len(block) - cut] if cut < len(block) else block))
    assert probe_file(tmp_path / "a").problem == ""
    _right_or_one_line(tmp_path / "a")


@pytest.mark.filterwarnings("ignore")
@fuzzed
@given(tags=st.lists(entries.filter(lambda entry: entry[0] not in (0x0100, ORIENTATION)), max_size=6))
def test_any_tag_of_a_tiff_beside_the_pixels_decides_nothing(tags: list[Entry], tmp_path: Path):
    (tmp_path / "a").write_bytes(tiff_with(SIX, *tags))
    assert probe_file(tmp_path / "a").problem == ""
    _right_or_one_line(tmp_path / "a")


@pytest.mark.filterwarnings("ignore")
@fuzzed
@given(kind=st.sampled_from(sorted(GOOD)), share=st.floats(0, 1))
def test_a_file_that_ends_anywhere_has_pixels_or_a_reason(kind: str, share: float, tmp_path: Path):
    (tmp_path / "a").write_bytes(GOOD[kind][: int(share * len(GOOD[kind]))])
    _right_or_one_line(tmp_path / "a")


@pytest.mark.filterwarnings("ignore")
@fuzzed
@given(kind=st.sampled_from(sorted(GOOD)), at=st.integers(0, 400), put=st.binary(min_size=1, max_size=8))
def test_a_file_with_changed_headers_has_pixels_or_a_reason(kind: str, at: int, put: bytes, tmp_path: Path):
    data = GOOD[kind]
    (tmp_path / "a").write_bytes(data[:at] + put + data[at + len(put) :])
    _right_or_one_line(tmp_path / "a")
