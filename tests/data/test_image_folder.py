from pathlib import Path

import pytest

from age_tasks.data.image_folder import ImageFolder, name_problem, require_unchanged
from age_tasks.demo.synthetic_faces import Sample
from age_tasks.errors import LabelsError
from age_tasks.store import open_store
from age_tasks.store.base import file_sha256
from age_tasks.store.s3 import S3Store


@pytest.mark.parametrize("name", ["../x.jpg", "/etc/x.jpg", "a/../../x.jpg", "a\\x.jpg", "C:x.jpg", "a\n.jpg", ""])
def test_invalid_file_names_have_a_problem(name: str):
    assert name_problem(name)


def test_names_in_sub_folders_are_valid():
    assert not name_problem("2026/a face.jpg")


def test_a_missing_folder_is_an_error_that_names_it(tmp_path: Path):
    with pytest.raises(LabelsError, match="nowhere"):
        ImageFolder(str(tmp_path / "nowhere"), tmp_path)


def test_images_on_s3_are_fetched_once(
    s3: dict[str, str], sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    open_store("s3://age/faces").put("00000.jpg", sample.images / "00000.jpg")
    fetched = []
    fetch = S3Store.fetch
    monkeypatch.setattr(S3Store, "fetch", lambda self, key, to: fetched.append(key) or fetch(self, key, to))
    for _ in range(2):
        folder = ImageFolder("s3://age/faces", tmp_path)
        assert folder.path("00000.jpg").read_bytes() == (sample.images / "00000.jpg").read_bytes()
    assert fetched == ["00000.jpg"]
    assert folder.stamp("gone.jpg") is None


def test_replaced_images_are_counted_and_the_first_is_named(tmp_path: Path):
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    folder = ImageFolder(str(tmp_path), tmp_path)
    sha256s = {name: file_sha256(tmp_path / name) for name in ("a", "b", "c")}
    require_unchanged(folder, sha256s)
    for name in ("b", "c"):
        (tmp_path / name).write_text("replaced")
    with pytest.raises(LabelsError, match=r"^b and 1 more were replaced in .* run snapshot again"):
        require_unchanged(folder, sha256s)
