"""Brightness of images with more than 8 bits."""

import io
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from age_tasks.data.decoding import load_rgb
from age_tasks.data.probes import probe_file
from tests.support.deep_images import png_of_16_bits

RAMP = np.linspace(0, 1, 64 * 64).reshape(64, 64)  # its mean is a half of white


def mean_of(path: Path) -> float:
    probe = probe_file(path)
    assert probe.problem == ""
    assert set(probe.dhash) != {"0"}
    return float(load_rgb(path, 64).mean())


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_samples_of_16_bits_that_hold_fewer_are_scaled(bits: int, kind: str, tmp_path: Path):
    Image.fromarray((RAMP * (2**bits - 1)).astype(np.uint16)).save(tmp_path / "a", kind)
    assert 124 < mean_of(tmp_path / "a") < 131


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("channels", [3, 4])
def test_samples_of_16_bits_in_colour_are_scaled(bits: int, channels: int, tmp_path: Path):
    samples = np.stack([RAMP * (2**bits - 1)] * channels, axis=2)
    if channels == 4:
        samples[..., 3] = 65_535
    (tmp_path / "a").write_bytes(png_of_16_bits(samples))
    assert 124 < mean_of(tmp_path / "a") < 131


def test_black_of_16_bits_in_colour_stays_black(tmp_path: Path):
    (tmp_path / "a").write_bytes(png_of_16_bits(np.zeros((40, 40, 3))))
    assert probe_file(tmp_path / "a").problem == ""
    assert load_rgb(tmp_path / "a", 32).max() == 0


def test_grey_with_alpha_of_which_the_low_bytes_are_lost_is_refused(tmp_path: Path):
    (tmp_path / "a").write_bytes(png_of_16_bits(np.stack([RAMP * 4095, np.full_like(RAMP, 65_535)], axis=2)))
    assert probe_file(tmp_path / "a").problem == "its samples of 16 bits hold fewer; save it with 8 bits"


def test_a_dark_image_whose_samples_are_made_of_8_bits_stays_dark(tmp_path: Path):
    Image.fromarray((RAMP * 40).astype(np.uint16) * 257).save(tmp_path / "a.png")
    assert 18 < mean_of(tmp_path / "a.png") < 22


@pytest.mark.parametrize(
    ("white", "dtype"), [(1, "f4"), (255, "f4"), (65_535, "f4"), (255, "i4"), (4095, "i4"), (65_535, "i4")]
)
def test_floats_and_integers_of_32_bits_are_scaled(white: int, dtype: str, tmp_path: Path):
    Image.fromarray((RAMP * white).astype(dtype)).save(tmp_path / "a.tif")
    assert 124 < mean_of(tmp_path / "a.tif") < 131


def test_what_sharpening_leaves_outside_the_range_of_floats_is_cut_off(tmp_path: Path):
    Image.fromarray((RAMP * 1.02 - 0.01).astype("f4")).save(tmp_path / "a.tif")
    assert 124 < mean_of(tmp_path / "a.tif") < 131


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ((RAMP * 2 - 1).astype("f4"), "range from -1 to 1; expected none below 0"),
        ((RAMP * 1e6).astype("f4"), "range from 0 to 1e.06; expected at most 65535"),
        (np.where(RAMP > 0.5, np.nan, RAMP).astype("f4"), "NaN or infinite"),
        (np.where(RAMP > 0.5, np.inf, RAMP).astype("f4"), "NaN or infinite"),
        ((RAMP * 2**31 - 1).clip(0).astype("i4"), "expected at most 65535"),
        ((RAMP * 100 - 50).astype("i4"), "expected none below 0"),
    ],
    ids=["-1 to 1", "millions", "no numbers", "infinite", "31 bits", "negative"],
)
def test_values_of_no_known_range_are_refused(values: np.ndarray, says: str, tmp_path: Path):
    Image.fromarray(values).save(tmp_path / "a.tif")
    problem = probe_file(tmp_path / "a.tif").problem
    assert re.search(says, problem)
    assert problem.endswith("save it with 8 bits")


def test_a_tiff_that_counts_from_white_to_black_is_turned(tmp_path: Path):
    out = io.BytesIO()
    Image.fromarray((RAMP * 65_535).astype(np.uint16)).save(out, "TIFF")
    data = bytearray(out.getvalue())
    at = data.index(struct.pack("<HHL", TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, 3, 1))
    struct.pack_into("<H", data, at + 8, 0)
    (tmp_path / "a.tif").write_bytes(data)
    pixels = load_rgb(tmp_path / "a.tif", 64)
    assert pixels[0].mean() > 240
    assert pixels[-1].mean() < 15


def test_greyscale_of_12_bits_in_pgm_and_jpeg_2000_is_as_bright_as_their_headers_say(tmp_path: Path):
    samples = (RAMP * 4095).astype(">u2")
    (tmp_path / "a.pgm").write_bytes(b"P5 64 64 4095\n" + samples.tobytes())
    assert 124 < mean_of(tmp_path / "a.pgm") < 131


def tiff_of_16_bits(samples: np.ndarray, order: str, packed: bool) -> bytes:
    """In colour, of shape (rows, columns, 3), which Pillow doesn't write."""
    rows, columns, channels = samples.shape
    data = samples.astype(f"{order}u2").tobytes()
    data = zlib.compress(data) if packed else data
    fields = [
        (TiffImagePlugin.IMAGEWIDTH, 1, columns),
        (TiffImagePlugin.IMAGELENGTH, 1, rows),
        (TiffImagePlugin.BITSPERSAMPLE, channels, 0),
        (TiffImagePlugin.COMPRESSION, 1, 8 if packed else 1),
        (TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, 1, 2),
        (TiffImagePlugin.STRIPOFFSETS, 1, 0),
        (TiffImagePlugin.SAMPLESPERPIXEL, 1, channels),
        (TiffImagePlugin.ROWSPERSTRIP, 1, rows),
        (TiffImagePlugin.STRIPBYTECOUNTS, 1, len(data)),
    ]
    behind = 8 + 2 + 12 * len(fields) + 4
    places = {TiffImagePlugin.BITSPERSAMPLE: behind, TiffImagePlugin.STRIPOFFSETS: behind + 2 * channels}
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}LH", 8, len(fields))
    for tag, count, value in fields:
        kind = 3 if tag == TiffImagePlugin.BITSPERSAMPLE else 4
        head += struct.pack(f"{order}HHLL", tag, kind, count, places.get(tag, value))
    return head + bytes(4) + struct.pack(f"{order}{channels}H", *[16] * channels) + data


@pytest.mark.parametrize("bits", [8, 12, 14, 16])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_tiff_of_16_bits_in_colour_is_scaled(bits: int, order: str, packed: bool, tmp_path: Path):
    samples = np.stack([RAMP * (2**bits - 1)] * 3, axis=2)
    (tmp_path / "a.tif").write_bytes(tiff_of_16_bits(samples, order, packed))
    assert 124 < mean_of(tmp_path / "a.tif") < 131
