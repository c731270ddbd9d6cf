from pathlib import Path

import pytest

from benchmarks.s3_images import draw, measured, measured_tars, slow_bucket


def test_images_are_fetched_and_probed_from_a_bucket_that_answers_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "")  # restored afterwards
    with slow_bucket(draw(tmp_path, 20), late=0.001):
        found = measured("s3://bucket/faces", tmp_path) | measured_tars("s3://bucket/tars/*.tar", tmp_path)
    assert all(found.values())
    copies = [path.read_bytes() for path in (tmp_path / "fetched" / "images").rglob("*") if path.is_file()]
    assert sorted(copies) == sorted(path.read_bytes() for path in (tmp_path / "bucket" / "faces").iterdir())
