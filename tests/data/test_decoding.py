import io
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from age_tasks.data.decoding import (
    FORMATS,
    TooManyPixelsError,
    UnreadableImageError,
    decoding_errors,
    load_rgb,
    open_image,
)
from age_tasks.data.image_folder import ImageFolder
from age_tasks.data.probes import probe_file
from age_tasks.demo.synthetic_faces import Sample
from tests.support.hostile import png_with_exploding_text


def problem_of(path: Path) -> str:
    with pytest.raises(UnreadableImageError) as caught, decoding_errors(path):
        load_rgb(path, 32)
    return str(caught.value)


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG whose header gives this size."""
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    data = buffer.getvalue()
    header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + data[24:29]
    return data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[33:]


def test_the_guard_of_pillow_against_decompression_bombs_stays_as_it_is():
    assert Image.MAX_IMAGE_PIXELS == 1024 * 1024 * 1024 // 4 // 3


@pytest.mark.parametrize(
    ("size", "millions"),
    [((10_000, 5_001), "50"), ((10_000, 9_000), "90"), ((20_000, 10_000), "200"), ((65_535, 65_535), "4,295")],
    ids=["beyond our bound", "where Pillow warns", "where Pillow refuses", "far beyond"],
)
def test_images_with_too_many_pixels_are_refused(tmp_path: Path, size: tuple[int, int], millions: str):
    (tmp_path / "bomb.png").write_bytes(png_that_claims(*size))
    with pytest.raises(TooManyPixelsError, match=f"^{millions} million pixels; at most 50"):
        open_image(tmp_path / "bomb.png")


@pytest.mark.parametrize("kind", ["zTXt", "iTXt", "iCCP"])
def test_exploding_metadata_is_refused_before_it_takes_memory(kind: str, tmp_path: Path):
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png_with_exploding_text(kind, megabytes=50))
    assert bomb.stat().st_size < 60_000
    tracemalloc.start()
    problems = [probe_file(bomb).problem, problem_of(bomb)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert all("Decompressed data too large" in problem for problem in problems)
    assert peak < 30e6


def test_only_formats_of_photographs_are_decoded(tmp_path: Path):
    """Pillow has decoders for many more; it passes EPS files to Ghostscript."""
    for kind in FORMATS:
        Image.new("RGB", (40, 40), (200, 30, 30)).save(tmp_path / kind, kind)
        assert load_rgb(tmp_path / kind, 32).shape == (32, 32, 3)
    Image.new("RGB", (40, 40)).save(tmp_path / "a.jpg", "EPS")
    assert "not an image" in probe_file(tmp_path / "a.jpg").problem
    assert "not an image" in problem_of(tmp_path / "a.jpg")


def test_a_missing_file_is_unreadable(tmp_path: Path):
    assert problem_of(tmp_path / "none.jpg") == "no such file"


@pytest.mark.parametrize("name", ["g-png.jpg", "g-grey.jpg", "g-cmyk.jpg", "g-16bit.jpg", "g-exif.jpg"])
def test_unusual_images_load_as_rgb(sample: Sample, tmp_path: Path, name: str):
    path = ImageFolder(str(sample.images), tmp_path).path(name)
    probe, pixels = probe_file(path), load_rgb(path, 64)
    assert (probe.state, probe.problem, probe.width, probe.height) == ("ok", "", 200, 200)
    assert (pixels.shape, pixels.dtype) == ((64, 64, 3), np.uint8)
    assert 40 < pixels.mean() < 230


def test_an_image_rotated_by_exif_is_loaded_upright(tmp_path: Path):
    upright = np.zeros((40, 20, 3), np.uint8)
    upright[:20] = 255  # light above, dark below
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(upright).rotate(90, expand=True).save(tmp_path / "a.png", exif=exif)
    pixels = load_rgb(tmp_path / "a.png", 32)
    assert pixels[:8].mean() > 240
    assert pixels[-8:].mean() < 15
