import hashlib
import io
import os
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from age_tasks.data.augmentation import load_augmented
from age_tasks.data.decoding import (
    FORMATS,
    MAX_BYTES,
    TooManyPixelsError,
    UnreadableImageError,
    decoding_errors,
    load_accepted,
    load_rgb,
    open_image,
    upright_size,
)
from age_tasks.data.image_folder import ImageFolder
from age_tasks.data.probes import probe_file
from age_tasks.demo.synthetic_faces import Sample
from age_tasks.errors import LabelsError
from tests.support.decoded_images import DECODED
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
    ("size", "pixels"),
    [
        ((8_193, 8_192), "8193 x 8192 = 67,117,056"),
        ((10_000, 9_000), "10000 x 9000 = 90,000,000"),
        ((20_000, 10_000), "20000 x 10000 = 200,000,000"),
        ((65_535, 65_535), "65535 x 65535 = 4,294,836,225"),
    ],
    ids=["beyond our bound", "where Pillow warns", "where Pillow refuses", "far beyond"],
)
def test_images_with_too_many_pixels_are_refused(tmp_path: Path, size: tuple[int, int], pixels: str):
    (tmp_path / "bomb.png").write_bytes(png_that_claims(*size))
    with pytest.raises(TooManyPixelsError, match=f"^{pixels} pixels; at most 67,108,864 are read of PNG images"):
        open_image(tmp_path / "bomb.png")


def jpeg_that_claims(width: int, height: int, progressive: bool = False) -> bytes:
    """A JPEG whose header gives this size."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "JPEG", progressive=progressive)
    data = bytearray(buffer.getvalue())
    at = data.index(b"\xff\xc2" if progressive else b"\xff\xc0") + 5
    data[at : at + 4] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(data)


@pytest.mark.parametrize(
    ("size", "progressive", "says"),
    [
        ((8_192, 6_144), False, ""),
        ((12_000, 9_000), False, ""),
        ((16_320, 12_240), False, ""),
        ((16_384, 12_288), False, ""),
        ((16_385, 12_288), False, "16385 x 12288 = 201,338,880 pixels; at most 201,326,592 are read of JPEG images"),
        ((65_000, 65_000), False, "4,225,000,000 pixels"),
        ((8_192, 6_144), True, ""),
        ((12_000, 9_000), True, "at most 67,108,864 are read of progressive JPEG images"),
    ],
)
def test_photographs_of_phones_are_not_too_large(tmp_path: Path, size: tuple[int, int], progressive: bool, says: str):
    (tmp_path / "a.jpg").write_bytes(jpeg_that_claims(*size, progressive))
    if not says:
        assert upright_size(tmp_path / "a.jpg") == size
        return
    with pytest.raises(TooManyPixelsError, match=says):
        open_image(tmp_path / "a.jpg")


@pytest.mark.parametrize(("size", "mode"), [((8_192, 6_144), "RGB"), ((16_320, 12_240), "L")])
def test_large_photographs_are_read_whole_in_bounded_memory(size: tuple[int, int], mode: str, tmp_path: Path):
    """Measured in a process of its own; 50 million pixels of any other format take as much."""
    Image.new("L", size, 128).convert(mode).save(tmp_path / "a.jpg")
    program = (
        "import resource, sys; from pathlib import Path; from age_tasks.data.decoding import load_rgb;"
        "from age_tasks.data.probes import probe_file; path = Path(sys.argv[1]);"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; probe = probe_file(path);"
        "print(probe.state, probe.width, probe.height, load_rgb(path, 224).mean(),"
        "      resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "a.jpg")], capture_output=True, text=True, check=True
    )
    *found, kilobytes = ran.stdout.split()
    assert found == ["ok", str(size[0]), str(size[1]), "128.0"]
    assert int(kilobytes) < 450_000
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-5000])
    assert "truncated" in probe_file(tmp_path / "a.jpg").problem


@pytest.mark.parametrize("name", DECODED)
def test_pixels_and_hashes_are_those_of_version_0_1(name: str, tmp_path: Path):
    """Cached features stay valid: the cache's key does not change."""
    data, pixels, dhash = DECODED[name]
    (tmp_path / "a").write_bytes(data)
    found = load_rgb(tmp_path / "a", 32).tobytes() + load_rgb(tmp_path / "a", 20).tobytes()
    assert hashlib.sha256(found).hexdigest()[:16] == pixels
    assert probe_file(tmp_path / "a").dhash == dhash


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (PermissionError(13, "Permission denied"), "permission denied; let the user that runs the stages read it"),
        (OSError(5, "Input/output error"), "Input/output error; check the disk or the mount"),
        (OSError(116, "Stale file handle"), "Stale file handle; check the disk or the mount"),
        (OSError(107, "Transport endpoint is not connected"), "not connected; check the disk or the mount"),
    ],
)
def test_a_file_that_cannot_be_read_has_a_reason(
    error: OSError, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Path, "open", fail)
    assert problem_of(tmp_path / "a.png").startswith("can't be read: ")
    assert says in problem_of(tmp_path / "a.png")


def test_a_pipe_and_a_folder_are_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    assert problem_of(tmp_path / "pipe") == "a pipe, no file; put the image in its place"
    assert problem_of(tmp_path) == "a folder, no file; put the image in its place"


def test_a_file_that_is_too_large_is_not_read_for_prediction_either(tmp_path: Path):
    with (tmp_path / "a.jpg").open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # no disk is used
    assert problem_of(tmp_path / "a.jpg") == "100 MB; at most 100 MB are read: scale it down"


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
    assert problem_of(tmp_path / "none.jpg") == "no such file; check its name"


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


def test_an_accepted_image_that_is_lost_meanwhile_is_named(tmp_path: Path):
    (tmp_path / "a.jpg").write_bytes(b"<html>")
    for act in (lambda: load_accepted(tmp_path / "a.jpg", 32), lambda: load_augmented(tmp_path / "a.jpg", 32, 3, "ab")):
        with pytest.raises(LabelsError, match=r"a\.jpg: not an image: an HTML page.*; run snapshot with --again"):
            act()


def test_every_reason_is_an_error_of_the_labels(tmp_path: Path):
    """Such as for the thumbnails of rows that are set aside, on the validation page."""
    Image.fromarray(np.full((40, 40), -1, np.float32)).save(tmp_path / "a.tif")
    for act in (lambda: load_rgb(tmp_path / "a.tif", 32), lambda: upright_size(tmp_path / "none.tif")):
        with pytest.raises(UnreadableImageError):
            act()
