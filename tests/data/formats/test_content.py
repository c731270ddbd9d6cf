"""What a file with an image's name really is."""

import io
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from age_tasks.data.decoding import UnreadableImageError, decoding_errors, load_rgb
from age_tasks.data.probes import probe_file

HEIC = b"\0\0\0\x24ftypheic\0\0\0\0mif1MiHEmiafMiHBheic" + bytes(64)


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.jpg", "x")
    return out.getvalue()


FILES = {
    "a web page": (b"<!DOCTYPE html><html><body>404</body></html>", "an HTML page.*download the image again"),
    "a web page after a comment": (b"<!-- cached --><html></html>", "an HTML page"),
    "a web page with a byte-order mark": (b"\xef\xbb\xbf<html></html>", "an HTML page"),
    "an answer of S3": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "answered with an error"),
    "a PDF": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "a PDF"),
    "a video": (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2mp41", "a video"),
    "a video of an iPhone": (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "a video"),
    "a WebM": (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81", "a video"),
    "an AVI": (b"RIFF\0\0\0\0AVI LIST", "a video"),
    "a pointer of Git LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
        "run git lfs pull",
    ),
    "a ZIP": (zipped(), "a ZIP archive"),
    "a gzip file": (b"\x1f\x8b\x08\0", "a gzip file"),
    "what macOS stores beside a file": (b"\0\5\x16\7\0\2\0\0Mac OS X", r"AppleDouble.*without \._"),
    "zero bytes": (bytes(4096), "only zero bytes"),
    "base64": (b"/9j/4AAQSkZJRgABAQAAAQABAAD", "written as text"),
    "a data address": (b"data:image/png;base64,iVBO", "written as text"),
    "JSON": (b'{"error": "not found"}', "a JSON file"),
    "text": (b"see attachment", "a text file"),
    "UTF-16": ("file".encode("utf-16"), "a text file"),
    "a JPEG XL": (b"\xff\x0a\xfa\x1f", "a JPEG XL"),
    "a Photoshop document": (b"8BPS\0\1", "a Photoshop document"),
    "a raw camera file": (b"II*\0\x10\0\0\0CR\2\0", "a raw camera file"),
    "a NumPy array": (b"\x93NUMPY\1\0", "a NumPy array"),
    "noise": (b"\x8f\x02\xe1\x91\x01\x02\x03\x04", "its first bytes are 8f 02 e1 91"),
}


@pytest.mark.parametrize("case", FILES)
def test_what_is_no_image_is_named(case: str, tmp_path: Path):
    data, says = FILES[case]
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    probe = probe_file(path)
    with pytest.raises(UnreadableImageError, match=f"^not an image: .*{says}") as caught, decoding_errors(path):
        load_rgb(path, 32)
    assert probe.problem == str(caught.value)


def test_an_empty_file_is_named(tmp_path: Path):
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(UnreadableImageError, match="empty file"), decoding_errors(tmp_path / "a.jpg"):
        load_rgb(tmp_path / "a.jpg", 32)


def test_heic_is_named_where_pillow_heif_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setitem(sys.modules, "pillow_heif.as_plugin", None)
    (tmp_path / "IMG_1.jpg").write_bytes(HEIC)
    problem = probe_file(tmp_path / "IMG_1.jpg").problem
    assert problem.startswith("not an image: a HEIC photograph; export it as JPEG, or install pillow-heif")


def test_heic_is_read_with_pillow_heif_whatever_its_name(tmp_path: Path):
    heif = pytest.importorskip("pillow_heif")
    image = Image.new("RGB", (80, 60), (200, 40, 40))
    heif.from_pillow(image).save(tmp_path / "IMG_1.heic")
    path = (tmp_path / "IMG_1.heic").rename(tmp_path / "IMG_1.jpg")
    probe = probe_file(path)
    assert (probe.problem, probe.width, probe.height) == ("", 80, 60)
    assert abs(load_rgb(path, 32).mean((0, 1)) - [200, 40, 40]).max() < 8
    path.write_bytes(path.read_bytes()[:300])
    assert probe_file(path).state == "unreadable"
    assert "\n" not in probe_file(path).problem
