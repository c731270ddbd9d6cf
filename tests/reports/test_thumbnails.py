"""Small images for pages."""

import hashlib
import io
import os
from pathlib import Path

import pytest
from PIL import Image

from age_tasks.data import decoding
from age_tasks.data.image_folder import ImageFolder
from age_tasks.reports import thumbnails
from age_tasks.reports.thumbnails import Faces, thumbnail
from tests.support.answering_server import Answer, answering_s3

BOUND = 50_000  # bytes


def face() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of more than 50 kB are too large."""
    for module in (thumbnails, decoding):
        monkeypatch.setattr(module, "MAX_BYTES", BOUND)


@pytest.mark.usefixtures("bounded")
def test_of_a_bucket_s_large_files_nothing_is_fetched_and_no_face_takes_two_requests(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    with answering_s3(monkeypatch, tmp_path / "home") as server:
        server.objects["faces/a.png"] = face()
        film = Answer(200, {"ETag": '"0"'}, bytes(BOUND + 1), cut=BOUND)  # who reads it finds the connection reset
        server.plan = lambda request: film if "film" in request.path else None
        faces = Faces("s3://bucket/faces", {})
        assert faces.uri("a.png", 8, hashlib.sha256(face()).hexdigest())
        assert [faces.uri("film.mp4", 8) for _ in range(5)] == [None] * 5
        assert faces.uri("a.png", 8), "a large file was taken for a failure of the store"
        assert [request.method for request in server.asked] == ["GET"] * 7


@pytest.mark.usefixtures("bounded")
def test_a_thumbnail_of_a_bucket_s_large_file_is_not_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with answering_s3(monkeypatch, tmp_path / "home") as server:
        server.objects |= {"faces/a.png": face(), "faces/film.mp4": face() + bytes(BOUND)}
        folder = ImageFolder("s3://bucket/faces", tmp_path / "cache")
        server.asked = []
        assert thumbnail("film.mp4", folder, 8) is None
        assert server.asked == []


@pytest.mark.usefixtures("bounded")
@pytest.mark.timeout(60)
def test_of_large_local_files_and_pipes_no_digest_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "film.mp4").write_bytes(face() + bytes(BOUND))
    os.mkfifo(tmp_path / "pipe.png")  # reading it would wait for ever
    monkeypatch.setattr(thumbnails, "file_sha256", lambda path: pytest.fail(f"{path} was read"))
    faces = Faces(str(tmp_path), {})
    assert [faces.uri(name, 8, "0" * 64) for name in ("film.mp4", "pipe.png")] == [None, None]
